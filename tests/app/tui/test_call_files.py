"""Files of calls on the screen: their lines and figures, how they are opened, and that nothing else moves."""

import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event

import pytest
from PIL import Image
from rich.color import ColorSystem
from rich.style import Style
from textual.pilot import Pilot

from app.chat.conversation import CallFacts, Conversation
from app.paths import pages_folder, work_folder
from app.tools import written_files
from app.tui.app import ChatApp
from app.tui.parts.selection import NO_FILES
from app.tui.text.file_lines import INSTALL
from app.tui.text.half_blocks import UPPER_HALF
from app.tui.theme import long_name
from app.tui.widgets import call_files
from app.tui.widgets.call_files import CallFiles
from app.tui.widgets.messages import AnswerView
from mlx_model.harmony.message import assistant
from tests.fixtures.fakes import (
    FakeEngine,
    app_of,
    ask,
    chat,
    desk_of,
    idle,
    notifications,
    notified,
    on_screen,
    text_on,
    wait_until,
)
from tests.fixtures.trees import TURN, keep


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that has them."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def work() -> Path:
    """The folder of a conversation."""
    folder = work_folder("c1")
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system that writes down, here, what it is asked to open."""
    name, log = "open" if sys.platform == "darwin" else "xdg-open", tmp_path / "opened"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {log}\n')
    (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    log.touch()
    return log


def figure(path: Path, size: tuple[int, int] = (640, 480)) -> str:
    """A picture that is red above and blue below."""
    image = Image.new("RGB", size, "red")
    image.paste("blue", (0, size[1] // 2, *size))
    image.save(path)
    return str(path)


async def with_files(pilot: Pilot[None], *paths: str) -> CallFiles:
    """An answer whose call has written these files."""
    tree = Conversation()
    prompt = tree.add_prompt("Draw it.", None)
    tree.add_answer(prompt.id, replace(TURN, calls=(CallFacts(files=paths),)), [assistant("Here it is.")])
    keep(tree)
    await app_of(pilot).conversations.open(tree.id)
    await on_screen(pilot, "Here it is.")
    return await mounted(pilot, *paths)


async def mounted(pilot: Pilot[None], *paths: str) -> CallFiles:
    """The files, above everything in the last answer, and looked at."""
    files = CallFiles(paths)
    answer = app_of(pilot).query(AnswerView).last()
    await answer.mount(files, before=0)
    await wait_until(pilot, lambda: None not in files._facts, "the files")
    await pilot.pause()
    return files


def colours_at(pilot: Pilot[None], text: str) -> set[tuple[str, str]]:
    """The colours of all pieces that consist of this sign."""
    found = set()
    for strip in pilot.app.screen._compositor.render_strips():
        for piece, style, _ in strip:
            if piece.strip(text) == "" and isinstance(style, Style) and style.bgcolor:
                found.add((style.color.name if style.color else "", style.bgcolor.name))
    return found


async def test_a_figure_stands_below_its_line_and_is_made_for_the_column(work: Path) -> None:
    async with chat(FakeEngine(), (100, 40)) as pilot:
        await idle(pilot)
        files = await with_files(pilot, figure(work / "plot.png"), figure(work / "thin.png", (60, 2)), "/gone/a.csv")
        lines = [line.rstrip() for line in text_on(pilot).splitlines()]
        at = next(i for i, line in enumerate(lines) if line.endswith("plot.png  640x480  open  copy path"))
        assert files.size.height == 1 + 22 + 1 + 1 + 1 + 1 + 1
        assert lines[at + 24].endswith("thin.png  60x2  open  copy path")
        assert lines[at + 25].endswith(UPPER_HALF * 60) and lines[at + 27].endswith("a.csv  it is gone")
        assert ("#ff0000", "#0000ff") in colours_at(pilot, UPPER_HALF)
        for theme in ("light", "ansi"):
            app_of(pilot).theme = long_name(theme)
            await pilot.pause()
            assert ("#ff0000", "#0000ff") in colours_at(pilot, UPPER_HALF), theme
        await pilot.resize_terminal(40, 20)
        await wait_until(pilot, lambda: files.size.height == 1 + 10 + 1 + 1 + 1 + 1 + 1, "a smaller figure")
        assert not files._narrowed[0].width > files.size.width and files._narrowed[0].height == 20


async def test_where_no_figure_can_be_recognised_there_is_its_line(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLORTERM")
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        files = await with_files(pilot, figure(work / "plot.png"))
        assert files.size.height == 1 and "plot.png  640x480" in text_on(pilot)
        monkeypatch.setattr(app_of(pilot).console, "_color_system", ColorSystem.TRUECOLOR)
        assert (await mounted(pilot, figure(work / "a.png"))).size.height > 1
        monkeypatch.setattr(app_of(pilot), "no_color", True)
        assert (await mounted(pilot, figure(work / "b.png"))).size.height == 1


async def test_many_figures_and_no_pillow(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [figure(work / f"{number}.png", (4, 2)) for number in range(6)]
    async with chat(FakeEngine(), (100, 48)) as pilot:
        await idle(pilot)
        files = await with_files(pilot, *names, *(str(work / f"{number}.csv") for number in range(20)))
        assert [facts.pixels is not None for facts in files._facts[:6] if facts] == [True] * 4 + [False] * 2
        assert files.size.height == 20 + 4 * 2 + 1 and "and 6 more" in text_on(pilot)
        await files.remove()
        for module in (written_files, call_files):
            monkeypatch.setattr(module, "can_read_pictures", lambda: False)
        await mounted(pilot, names[0], *["/gone/a.csv"] * 19)
        await mounted(pilot, names[1])
        assert (
            text_on(pilot).count("to see figures here") == 1
            and INSTALL.split()[-1] in text_on(pilot)
            and UPPER_HALF not in text_on(pilot)
        )
        assert "more" not in text_on(pilot)


async def test_a_click_opens_a_copy_and_another_copies_the_path(
    work: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[str] = []
    monkeypatch.setattr(ChatApp, "copy_to_clipboard", lambda self, text: copies.append(text))
    (work / "page.html").write_text("<script>")
    plot, page = figure(work / "plot (1).png"), str(work / "page.html")
    async with chat(FakeEngine(), (100, 40)) as pilot:
        await idle(pilot)
        files = await with_files(pilot, plot, page)
        line = "plot (1).png  640x480  open  copy path"
        await pilot.click(files, offset=(line.index("open"), 0))
        await wait_until(pilot, lambda: "Opened a copy of plot (1).png" in notifications(pilot))
        opened = Path(programs.read_text().strip())
        assert opened.name == "plot_1_.png" and opened.read_bytes() == Path(plot).read_bytes()
        assert work not in opened.parents
        await pilot.click(files, offset=(line.index("copy"), 0))
        assert copies == [plot] and desk_of(pilot).transcript.selected is None
        await pilot.click(files, offset=(len("page.html  8 bytes  "), 24))
        await wait_until(pilot, lambda: "page.html was not opened" in notifications(pilot))
        expected = ["-R", page] if sys.platform == "darwin" else [str(work)]
        assert programs.read_text().splitlines()[1:] == expected
        for variable, value, why in (("SSH_CONNECTION", "x", "over ssh"), ("PATH", "/nowhere", "not installed")):
            monkeypatch.delenv("SSH_CONNECTION", raising=False)
            monkeypatch.setenv(variable, value)
            app_of(pilot).selection.open_file(Path(plot))
            await wait_until(pilot, partial(notified, pilot, why), why)
        (work / "plot (1).png").unlink()
        app_of(pilot).selection.open_file(Path(plot))
        await wait_until(pilot, lambda: "can't be opened: No such file" in notifications(pilot))
        assert len(programs.read_text().splitlines()) == 1 + len(expected)


async def test_keys_of_an_answer_with_files(work: Path, programs: Path) -> None:
    first, second = figure(work / "plot-1.png"), figure(work / "plot-2.png")
    async with chat(FakeEngine(), (100, 40)) as pilot:
        await idle(pilot)
        await with_files(pilot, first, second, first)
        await pilot.press("shift+tab")
        await on_screen(pilot, "f open file")
        await pilot.press("f")
        await on_screen(pilot, "1 plot-1.png  2 plot-2.png")
        assert not programs.read_text()
        for key in ("f", "escape"):  # both go back
            await pilot.press(key)
            await on_screen(pilot, "f open file")
            await pilot.press("f")
            await on_screen(pilot, "1 plot-1.png")
        await pilot.press("2")
        await wait_until(pilot, lambda: "plot-2.png" in programs.read_text())
        await on_screen(pilot, "f open file")
        await pilot.press("f", "up", "f")  # another message, which has none
        await wait_until(pilot, lambda: NO_FILES in notifications(pilot))
        assert "f open file" not in text_on(pilot)


async def test_the_key_of_an_answer_with_a_web_page(
    home: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chat(FakeEngine(), (100, 40)) as pilot:
        await idle(pilot)
        tree = Conversation()
        prompt = tree.add_prompt("Write a page.", None)
        tree.add_answer(prompt.id, TURN, [assistant("One:\n\n```html\n<p>A & B</p>\n```")])
        keep(tree)
        await app_of(pilot).conversations.open(tree.id)
        await on_screen(pilot, "One:")
        assert not programs.read_text()  # nothing is opened by itself
        await pilot.press("shift+tab")
        await on_screen(pilot, "p open page")
        await pilot.press("p")
        await wait_until(pilot, lambda: bool(programs.read_text()))
        path = Path(programs.read_text().strip())
        assert path.parent == pages_folder() and 'srcdoc="&lt;p&gt;A &amp; B' in path.read_text()
        monkeypatch.setenv("SSH_CONNECTION", "1")
        await pilot.press("p")
        await wait_until(pilot, lambda: f"It is in {path}" in notifications(pilot))
        await pilot.press("up", "p")  # another message, which has none: a letter that is typed
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "p")


async def test_a_figure_above_what_is_in_sight_moves_nothing(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, gate, facts_of = FakeEngine(), Event(), written_files.facts_of
    monkeypatch.setattr(call_files, "facts_of", lambda path, box: facts_of(path, box) if gate.wait(120) else None)
    async with chat(engine, (100, 24)) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "Tell me.", "\n\n".join(f"Line {number}." for number in range(60)))
        transcript, files = desk_of(pilot).transcript, CallFiles([figure(work / "plot.png")])
        await app_of(pilot).query(AnswerView).last().mount(files, before=0)
        transcript.release_anchor()
        transcript.scroll_to(y=40, animate=False, immediate=True, force=True)
        await wait_until(pilot, lambda: files.size.height == 1)
        before = text_on(pilot)
        gate.set()
        await wait_until(pilot, lambda: files.size.height == 16 and transcript.scroll_y == 55, "the figure")
        assert [line[:97] for line in text_on(pilot).splitlines()] == [line[:97] for line in before.splitlines()]
