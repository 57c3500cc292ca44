"""The list of models: what it says of each, what Enter does, and that names are completed."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from app.tui.parts import greeting
from app.tui.screens.download import DownloadScreen
from app.tui.screens.models import NONE, ModelScreen
from app.tui.text.computer import ComputerFacts, ModelFacts
from app.tui.text.model_rows import matching, model_rows
from tests.app.tui.test_first_run import complete_download
from tests.fixtures.fakes import (
    COMPUTER,
    FakeEngine,
    app_of,
    chat,
    desk_of,
    idle,
    notified,
    on_screen,
    send,
    text_on,
    wait_until,
)
from tests.fixtures.hub_server import HubServer

MODELS = (
    *COMPUTER.models,
    ModelFacts("org/gpt-oss-mine", 13_000_000_000, 5_200_000_000),
    ModelFacts("/Volumes/a very long name of a disk/models/of/mine/gpt-oss-20b", 12 * 10**9, 12 * 10**9, complete=True),
)


@pytest.fixture(autouse=True)
def gate(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The same computer everywhere, known at once unless the event is cleared."""
    known = asyncio.Event()
    known.set()

    async def examine() -> ComputerFacts:
        await known.wait()
        return replace(COMPUTER, models=MODELS)

    monkeypatch.setattr(greeting, "examine", examine)
    monkeypatch.setattr("app.tui.parts.background_download.free_space", lambda folder: 10**12)
    return known


def test_the_rows() -> None:
    rows = model_rows(MODELS, "gpt-oss-20b", 91)
    assert [row.text.rstrip() + "|" + row.fit for row in rows] == [
        "  demo                              3 MB  on this computer|fits, up to 131k context",
        "\u2022 gpt-oss-20b                    13.8 GB  not here|fits, 4-bit, up to 12k context",
        "  gpt-oss-120b                   65.2 GB  not here|needs 58 GB of memory",
        "  org/gpt-oss-mine                 13 GB  5.2 GB of it here|",
        "  \u2026k/models/of/mine/gpt-oss-20b    12 GB  on this computer|",
    ]
    assert {len(row.text) + 30 for row in rows} == {91}
    assert model_rows(MODELS, "", 10)[3].text.split()[0] == "org/gpt-oss-mine"
    assert model_rows(MODELS[-1:], "", 200)[0].text.split("  ")[1].strip() == MODELS[-1].name
    assert [model.name for model in matching(MODELS, "-20B  GPT")] == ["gpt-oss-20b", MODELS[-1].name]
    assert model_rows([], "", 80) == [] and matching(MODELS, "") == list(MODELS)


async def opened(pilot: Pilot[None]) -> ModelScreen:
    await send(pilot, "/model")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, ModelScreen), "the list")
    assert isinstance(pilot.app.screen, ModelScreen)
    return pilot.app.screen


async def closed(pilot: Pilot[None]) -> None:
    await wait_until(pilot, lambda: len(pilot.app.screen_stack) == 1, "the chat")


async def test_the_list_is_there_at_once_and_what_fits_comes_when_it_is_known(gate: asyncio.Event, cache: Path) -> None:
    gate.clear()
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        await opened(pilot)
        await on_screen(pilot, "\u2022 gpt-oss-20b")
        assert "fits" not in text_on(pilot)
        gate.set()
        await on_screen(pilot, "needs 58 GB of memory")
        await on_screen(pilot, "5.2 GB of it here")
        await pilot.press("up", "enter")
        await on_screen(pilot, "Switched to demo")
        assert not app_of(pilot).conversation.nodes and not desk_of(pilot).transcript.query("Notice")


async def test_typed_letters_filter_and_enter_takes_the_first(server: HubServer) -> None:
    complete_download()
    engine = FakeEngine(model="demo")
    async with chat(engine) as pilot:
        await idle(pilot)
        screen = await opened(pilot)
        await on_screen(pilot, "org/gpt-oss-mine")
        await pilot.press(*"nothing", "enter")
        assert pilot.app.screen is screen
        await on_screen(pilot, NONE)
        await pilot.press("up", "down", "enter")
        assert pilot.app.screen is screen
        await pilot.press(*["backspace"] * 7, *"120", "enter")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, DownloadScreen), "the question")
        await on_screen(pilot, "This computer has too little memory to run it.")
        await pilot.press("escape")
        await closed(pilot)
        await opened(pilot)
        await pilot.press("enter")  # the one in use
        await closed(pilot)
        assert engine.models == [None] and not notified(pilot, "Switched")
        await opened(pilot)
        await pilot.press("escape")
        await closed(pilot)


async def test_adapters_by_name(home: Path) -> None:
    """Answers are by the model with its adapter; another model has none."""
    for name in ("french", "short"):
        folder = home / "adapters" / name
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, "/adapter")
        await wait_until(pilot, lambda: notified(pilot, "Adapters here: french, short."))
        await send(pilot, "/adapter frensh")
        await wait_until(pilot, lambda: notified(pilot, 'There is no adapter "frensh" (did you mean french?)'))
        await pilot.press(*"/adapter fr", "tab", "enter")
        await wait_until(pilot, lambda: notified(pilot, "gpt-oss-20b + french answers from now on."))
        assert engine.adapters == [None, str(home / "adapters" / "french")]
        assert desk_of(pilot).status.model == "gpt-oss-20b + french"
        await send(pilot, "/adapter off")
        await wait_until(pilot, lambda: notified(pilot, "gpt-oss-20b answers from now on."))
        assert engine.adapters[-1] is None and engine.models[1:] == ["gpt-oss-20b"] * 2


async def test_an_adapter_may_be_asked_for_while_the_model_is_loading(home: Path) -> None:
    folder = home / "adapters" / "french"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    engine = FakeEngine(hold=True)
    async with chat(engine) as pilot:
        await wait_until(pilot, lambda: desk_of(pilot).status.state == "loading")
        await send(pilot, "/adapter french")
        engine.release()
        await wait_until(pilot, lambda: notified(pilot, "gpt-oss-20b + french answers from now on."))
        assert (engine.models, engine.adapters) == ([None, "gpt-oss-20b"], [None, str(folder)])


async def test_it_opens_during_an_answer_but_the_switch_waits(cache: Path) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, "hi")
        await wait_until(pilot, lambda: engine.asked)
        await opened(pilot)
        await pilot.press("up", "enter")
        await closed(pilot)
        await wait_until(pilot, lambda: notified(pilot, "An answer is under way"))
        assert engine.models == [None]
        engine.answer("done")


async def test_names_are_completed(server: HubServer) -> None:
    complete_download()
    async with chat(FakeEngine(model="demo")) as pilot:
        await idle(pilot)
        assert app_of(pilot).models.names[:3] == ["demo", "gpt-oss-20b", "gpt-oss-120b"]
        await pilot.press(*"/model gpt-oss-1", "tab")
        assert desk_of(pilot).composer.text == "/model gpt-oss-120b"
        desk_of(pilot).composer.clear_prompt()
        await pilot.press(*"/download pa", "tab")
        assert desk_of(pilot).composer.text == "/download pause"


async def test_a_model_without_weights_to_download_is_refused_with_what_to_take(cache: Path) -> None:
    async with chat(FakeEngine(model="demo")) as pilot:
        await idle(pilot)
        await send(pilot, "/model unsloth/gpt-oss-20b-GGUF")
        await wait_until(pilot, lambda: notified(pilot, "take gpt-oss-20b or gpt-oss-120b"))
        assert not notified(pilot, "/download")
