"""The first run in the chat: the offer, the download beside the demo, what can go wrong, switching to the model."""

import errno
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import constants
from textual.pilot import Pilot

from app.engine.engine import EngineDied, EngineError
from app.engine.protocol import Load
from app.tui.parts import greeting, models
from app.tui.parts.background_download import Download
from app.tui.screens import download
from app.tui.screens.download import DownloadScreen
from app.tui.text.computer import ComputerFacts
from mlx_model.hub import names as hub
from mlx_model.hub import transfer
from mlx_model.hub.progress import Phase
from tests.fixtures.fakes import COMPUTER, FakeEngine, app_of, ask, chat, desk_of, idle, send, text_on, wait_until
from tests.fixtures.hub_server import Fault, HubServer

MB = 1_000_000
SHARD = "model-00001-of-00002.safetensors"


@pytest.fixture(autouse=True)
def facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same computer everywhere; figures are shown without delay."""

    async def known() -> ComputerFacts:
        return COMPUTER

    monkeypatch.setattr(greeting, "examine", known)
    monkeypatch.setattr(models, "POLL_S", 0.1)


def demo(**more: object) -> FakeEngine:
    return FakeEngine(model="demo", **more)  # type: ignore[arg-type]


def words_on(pilot: Pilot[None]) -> str:
    """What stands on the screen, wherever its lines break."""
    return " ".join(text_on(pilot).replace("▌", " ").split())


async def shows(pilot: Pilot[None], *texts: str) -> None:
    """Wait until all of these stand on the screen."""
    await wait_until(pilot, lambda: all(text in words_on(pilot) for text in texts), f"{texts}")


async def downloading(pilot: Pilot[None], server: HubServer, at: int = 150_000) -> None:
    """Start the download, and let it come to a stand after so many bytes."""
    server.hold(at)
    await idle(pilot)
    await pilot.press("f6")
    await confirm(pilot)
    panel = desk_of(pilot).download_panel
    await wait_until(pilot, lambda: panel.state.done >= 100_000 and "of 0.3 MB" in text_on(pilot), "the bar")


async def confirm(pilot: Pilot[None]) -> None:
    """Agree to the download that is asked about."""
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, DownloadScreen), "the question")
    await pilot.press("enter")
    await wait_until(pilot, lambda: len(pilot.app.screen_stack) == 1)


async def done(pilot: Pilot[None]) -> None:
    await shows(pilot, "complete and verified", "100%", "F6 switch to this model")


async def test_the_first_run_offers_the_download_and_the_demo_answers(server: HubServer) -> None:
    engine = demo()
    async with chat(engine) as pilot:
        await shows(pilot, "Apple M2, 16 GB: gpt-oss-20b fits, 4-bit", "F6 Get gpt-oss-20b, 13.8 GB", "not gpt-oss")
        assert not desk_of(pilot).download_panel.display and server.requests == []
        await ask(pilot, engine, "hi", "hello")
        await shows(pilot, "hello")
        assert "Apple M2" not in words_on(pilot) and "Get gpt-oss" not in words_on(pilot)


async def test_nothing_is_fetched_before_a_person_agrees(server: HubServer) -> None:
    """By key, by click and by command: a question first, with what it takes; Esc and F6 leave it."""
    async with chat(demo()) as pilot:
        await shows(pilot, "Get gpt-oss-20b")
        for begin in ("key", "click", "/download", "/download gpt-oss-20b"):
            if begin == "key":
                await pilot.press("f6")
            elif begin == "click":
                await pilot.click("#action")
            else:
                await send(pilot, begin)
            await shows(pilot, "Download gpt-oss-20b", "Size 13.8 GB", "Free disk", "Folder /", "up to 12k context")
            await shows(pilot, "The demo keeps answering meanwhile", "Enter Download", "Esc Not now")
            await pilot.press("escape" if begin != "key" else "f6")
            await wait_until(pilot, lambda: len(pilot.app.screen_stack) == 1)
        assert server.requests == [] and not desk_of(pilot).download_panel.display
        await pilot.press("f6")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, DownloadScreen), "the question")
        await pilot.click("#yes")
        await done(pilot)


async def test_enter_that_was_meant_for_something_else_does_not_agree(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one burst Escape and a letter are Alt and the letter, and the rest goes to the question."""
    monkeypatch.setattr(download, "GRACE_S", 1000.0)
    async with chat(demo()) as pilot:
        await shows(pilot, "Get gpt-oss-20b")
        await pilot.press("f6")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, DownloadScreen), "the question")
        await pilot.press("alt+h", *"ello", "enter")
        await shows(pilot, "Enter Download")
        await pilot.press("escape")
        await wait_until(pilot, lambda: len(pilot.app.screen_stack) == 1)
        assert server.requests == []


async def test_of_another_model_the_hub_is_asked_for_the_size(server: HubServer) -> None:
    server.repos["org/gpt-oss-mine"] = server.repos["openai/gpt-oss-20b"]
    async with chat(demo()) as pilot:
        await idle(pilot)
        await send(pilot, "/download org/gpt-oss-mine")
        await shows(pilot, "Download org/gpt-oss-mine", "Size 0.3 MB")
        assert all("/api/" in request for request in server.requests)
        await pilot.press("enter")
        await done(pilot)


@pytest.mark.parametrize("size", [(80, 24), (120, 35)])
async def test_the_download_beside_the_chat_and_the_switch_after_it(server: HubServer, size: tuple[int, int]) -> None:
    engine = demo()
    async with chat(engine, size) as pilot:
        await downloading(pilot, server)
        await shows(pilot, "━━", "of 0.3 MB", "F6 pause hide")
        assert "Get gpt-oss-20b" not in words_on(pilot)
        await ask(pilot, engine, "hi", "hello meanwhile")
        assert "hello meanwhile" in words_on(pilot)
        server.release()
        await done(pilot)
        await pilot.press("f6")
        await wait_until(pilot, lambda: engine.models == [None, "gpt-oss-20b"])
        await shows(pilot, "gpt-oss-20b · ready")
        await wait_until(pilot, lambda: not desk_of(pilot).download_panel.display)
        await ask(pilot, engine, "again", "from the large one")
        assert "hello meanwhile" in words_on(pilot)
        assert [message.text for message in engine.asked[1][0]] == ["hi", "hello meanwhile", "again"]
        await send(pilot, "/model demo")
        await wait_until(pilot, lambda: engine.models[-1] == "demo")
        await pilot.press("ctrl+n")
        await shows(pilot, "F6 Get gpt-oss-20b")  # the facts of these tests never change


async def test_pause_and_going_on(server: HubServer) -> None:
    async with chat(demo()) as pilot:
        await downloading(pilot, server)
        before = desk_of(pilot).download_panel.state
        await pilot.press("f6")
        await shows(pilot, "paused", "F6 resume")
        await wait_until(pilot, lambda: all(each.name != "download" for each in threading.enumerate()))
        sent = server.sent
        server.release()
        await pilot.pause(0.2)
        assert server.sent == sent
        await send(pilot, "/download")
        await done(pilot)
        assert desk_of(pilot).download_panel.state.done > before.done >= 100_000
        assert server.asked < 2 * before.total  # it went on, and did not begin anew


async def test_hidden_it_goes_on_and_its_end_shows_it(server: HubServer) -> None:
    async with chat(demo()) as pilot:
        await downloading(pilot, server)
        panel = desk_of(pilot).download_panel
        await pilot.click("#download-hide")
        assert not panel.display
        await shows(pilot, "The download continues")
        await pilot.press("f6")  # shows it, and pauses nothing
        assert panel.display and panel.state.phase is Phase.FETCHING
        await send(pilot, "/download hide")
        await wait_until(pilot, lambda: not panel.display)
        server.release()
        await wait_until(pilot, lambda: panel.display)
        assert panel.state.phase is Phase.DONE


async def test_without_a_mouse(server: HubServer) -> None:
    async with chat(demo()) as pilot:
        await downloading(pilot, server)
        panel = desk_of(pilot).download_panel
        panel.query_one("#download-step").focus()
        await pilot.press("enter")
        await wait_until(pilot, lambda: panel.state.phase is Phase.PAUSED)
        await pilot.press("tab", "enter")
        await wait_until(pilot, lambda: not panel.display)
        assert desk_of(pilot).composer.has_focus
        server.release()


async def test_a_connection_that_is_cut_is_said_and_tried_again(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "WAITS", (0.4,) * 5)
    server.faults[SHARD].append(Fault(cut_after=30_000))
    async with chat(demo()) as pilot:
        await idle(pilot)
        await send(pilot, "/download")
        await confirm(pilot)
        await shows(pilot, "the connection was lost; trying again")
        await done(pilot)


@contextmanager
def no_network(server: HubServer) -> Iterator[str]:
    with socket.socket() as closed, pytest.MonkeyPatch.context() as patch:
        closed.bind(("127.0.0.1", 0))
        patch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        yield "can't be reached"


@contextmanager
def no_login(server: HubServer) -> Iterator[str]:
    server.token = "secret"
    yield "the Hub refuses your token"
    server.token = None


@contextmanager
def small_disk(server: HubServer) -> Iterator[str]:
    usage = shutil.disk_usage("/")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=MB))
        yield "the disk has 1 MB free"


@contextmanager
def disk_that_becomes_full(server: HubServer) -> Iterator[str]:
    def write(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "_write", write)
        yield "the disk is full: free some space"


async def test_every_trouble_is_one_clear_line_and_can_be_tried_again(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "WAITS", (0.1,) * 5)  # a busy machine may lose a connection besides
    engine = demo()
    async with chat(engine) as pilot:
        await idle(pilot)
        for trouble in (no_network, no_login, small_disk, disk_that_becomes_full):
            with trouble(server) as says:
                await pilot.press("f6")
                if trouble is no_network:  # after that what this chat has begun goes on
                    await confirm(pilot)
                await wait_until(pilot, lambda: says in words_on(pilot).replace("F6 try again hide ", ""), says)
                assert "Traceback" not in words_on(pilot)
            await ask(pilot, engine, "hi", "still here")
        await pilot.press("f6")
        await done(pilot)


async def test_at_the_end_it_is_said_how_to_go_on(server: HubServer) -> None:
    async with chat(demo()) as pilot:
        await downloading(pilot, server)
        farewell = app_of(pilot).models.close()
        assert "of 0.3 MB" in farewell and farewell.endswith("gptoss-chat download gpt-oss-20b")
        assert desk_of(pilot).download_panel.state.total > 0
    server.release()
    assert hub.default_model() == "demo"


async def test_what_names_no_model_is_one_line_and_inert(server: HubServer) -> None:
    async with chat(demo()) as pilot:
        await idle(pilot)
        await send(pilot, "/download [bold]x")
        await shows(pilot, '"[bold]x" is no model on the Hub')
        assert server.requests == [] and not desk_of(pilot).download_panel.display  # nothing to try again
        await send(pilot, "/download org/none")
        await shows(pilot, "there is no org/none on the Hub")
        await send(pilot, "/download gpt-oss-20b")
        await confirm(pilot)
        await done(pilot)


async def test_one_download_at_a_time(server: HubServer) -> None:
    async with chat(demo()) as pilot:
        await send(pilot, "/download pause")
        await shows(pilot, "No download is under way")
        await downloading(pilot, server)
        await send(pilot, "/download gpt-oss-120b")
        await shows(pilot, "gpt-oss-20b is being downloaded")
        await send(pilot, "/download pause")
        await wait_until(pilot, lambda: desk_of(pilot).download_panel.state.phase is Phase.PAUSED)
        server.release()


# Switching


async def test_switching_to_what_is_here_and_back(server: HubServer) -> None:
    complete_download()
    engine = demo()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "one", "from the demo")
        await send(pilot, "/model gpt-oss-20b")
        await shows(pilot, "Switched to gpt-oss-20b")
        assert "from the demo" in words_on(pilot)
        await send(pilot, "/model demo")
        await wait_until(pilot, lambda: engine.models == [None, "gpt-oss-20b", "demo"])
        await idle(pilot)


async def test_a_model_that_is_not_here_leaves_the_present_one(cache: Path) -> None:
    engine = demo()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, "/model gpt-oss-20b")
        await shows(pilot, "The model gpt-oss-20b is missing or")
        await send(pilot, "/model /nowhere/at all")
        await shows(pilot, '"/nowhere/at')
        await send(pilot, "/model [bold]nonsense")
        await shows(pilot, '"[bold]nonsense"')
        await ask(pilot, engine, "hi", "still here")
        assert engine.models == [None]


async def test_a_model_that_can_not_be_loaded_gives_way_to_the_present_one(server: HubServer) -> None:
    complete_download()
    engine = demo()
    async with chat(engine) as pilot:
        await idle(pilot)
        for error in (EngineError("it needs 40 GB"), EngineDied("it ran out of memory")):
            engine.load_errors.append(error)
            await send(pilot, "/model gpt-oss-20b")
            await shows(pilot, str(error)[3:])  # which may begin a sentence
            await idle(pilot)
            await ask(pilot, engine, "hi", "still here")
        assert engine.models == [None, "gpt-oss-20b", "demo", "gpt-oss-20b", "demo"]
        assert "Switched to" not in words_on(pilot)


async def test_no_switch_under_an_answer_and_questions_wait_for_a_switch(server: HubServer) -> None:
    complete_download()
    engine = demo()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, "hi")
        await wait_until(pilot, lambda: len(engine.asked) == 1)
        await send(pilot, "/model gpt-oss-20b")
        await shows(pilot, "An answer is under way")
        assert engine.models == [None]
        engine.answer("done")
        await wait_until(pilot, app_of(pilot).conversations.idle.is_set)
        engine.hold()
        await pilot.press("up", "enter")  # the line comes back
        await wait_until(pilot, lambda: engine.models == [None, "gpt-oss-20b"])
        await send(pilot, "and now?")
        await shows(pilot, "waiting for the model")
        engine.answer("from the large one")
        engine.release()
        await shows(pilot, "from the large one")


async def test_a_model_that_was_named_and_is_not_here_can_be_fetched_from_the_chat(server: HubServer) -> None:
    engine = FakeEngine(load_errors=[EngineError("gpt-oss-20b is not on this computer"), EngineError("it is too big")])
    async with chat(engine, load=Load("gpt-oss-20b")) as pilot:
        await wait_until(pilot, lambda: desk_of(pilot).status.state == "no model")
        await pilot.press("f6")
        await confirm(pilot)
        await done(pilot)
        await pilot.press("f6")
        await shows(pilot, "it is too big")
        assert "Switched to" not in words_on(pilot)
        await pilot.press("f6")
        await idle(pilot)
        await ask(pilot, engine, "hi", "here now")
        assert engine.models == 3 * ["gpt-oss-20b"]


async def test_where_the_model_answers_already_nothing_is_offered_and_nothing_loaded_again(server: HubServer) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        assert "F6" not in words_on(pilot)
        await pilot.press("f6")
        await shows(pilot, "No download is under way")
        assert server.requests == []
        await send(pilot, "/download")
        await confirm(pilot)
        await done(pilot)
        await pilot.press("f6")
        await wait_until(pilot, lambda: not desk_of(pilot).download_panel.display)
        assert engine.models == [None]


def complete_download() -> None:
    """What the chat finds after a download that came to its end."""
    download = Download("gpt-oss-20b")
    download.start()
    while download.active:
        time.sleep(0.01)
    assert download.state.phase is Phase.DONE
