"""What the screen costs: `python -m tests.benchmarks.tui [--streams prose ...]` prints two Markdown tables.

Each stream is replayed by an engine process at 100 tokens a second below forty earlier answers: to the chat, to a naive
one (a Markdown widget an answer, updated at every token), and to no screen at all. Lag is how much later than asked a
sleep of 10 ms ends, which is how long a key press would have waited. A screen that is far behind is not waited for.

The second table has waits: until a conversation of two hundred messages is on the screen, and until a new process shows
where to type, for which the naive way is a Textual app with nothing but an input. Both are started in turn, and the
best of their times counts: what else a machine does only adds to them.
"""

import argparse
import asyncio
import contextlib
import os
import pty
import signal
import sys
import tempfile
import termios
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Markdown

from app.chat.conversation import AnswerFacts, Conversation
from app.engine.client import EngineClient
from app.engine.protocol import Load
from app.paths import conversations_file
from app.store.store import Store
from app.tui.app import ChatApp
from app.tui.widgets.messages import AnswerView
from mlx_model.events import Finished, TextDelta
from mlx_model.harmony.message import assistant, user
from mlx_model.request import Request
from tests.fixtures import streams
from tests.fixtures.fakes import send, wait_until

EARLIER_ANSWERS = 40
IDLE_S = 3.0
LONGEST_S = 40.0
SIZE = (120, 40)
LONG_CONVERSATION = 200
"""Messages."""
STARTS = 8
"""Of each process, after one that reads the files for the first time."""
PLACEHOLDER = "Ask anything"
BARE = f"""
from textual.app import App
from textual.widgets import TextArea
class Bare(App):
    def compose(self):
        yield TextArea(placeholder={PLACEHOLDER!r})
Bare().run()
"""


@dataclass(frozen=True)
class Cost:
    """Of one replay: tokens a second that the engine sent (None: not to the end in LONGEST_S), share of a core, lags in
    seconds, widgets, and the share of a core that it costs to stand idle."""

    tokens_s: float | None
    cpu: float
    lags: list[float]
    widgets: int
    idle_cpu: float

    def row(self, stream: str, screen: str, alone: float) -> str:
        """A line of the table; `alone` is the speed without a screen."""
        lags = sorted(self.lags)
        p95, most = lags[int(0.95 * len(lags))], lags[-1]
        slowed = f"{max(0.0, 1 - self.tokens_s / alone):.1%}" if self.tokens_s else f"not done in {LONGEST_S:.0f} s"
        return (
            f"| {stream} | {screen} | {1e3 * p95:.0f} ms | {1e3 * most:.0f} ms | {self.cpu:.0%} | "
            f"{slowed} | {self.widgets:,} | {self.idle_cpu:.1%} |"
        )


class NaiveChat(App[None]):
    """The obvious way: one Markdown widget an answer, brought up to date at every token."""

    def compose(self) -> ComposeResult:
        """An empty conversation."""
        yield VerticalScroll(id="chat")

    async def show(self, text: str) -> Markdown:
        """Put a whole answer at the end."""
        chat = self.query_one("#chat")
        body = Markdown(text)
        await chat.mount(body)
        chat.anchor()
        return body

    async def answer(self, engine: EngineClient, prompt: str) -> Finished:
        """Show an answer as it comes."""
        body = await self.show("")
        async for answer in engine.ask(Request((user(prompt),))):
            match answer.event:
                case TextDelta(text=text):
                    await body.append(text)
                case Finished() as finished:
                    return finished
        raise AssertionError("an answer ends with Finished")


def engine() -> EngineClient:
    """An engine process that replays streams."""
    return EngineClient((sys.executable, "-P", str(Path(streams.__file__))))


async def measured(app: App[None], replay: Callable[[], Awaitable[Finished]]) -> Cost:
    """Replays one stream and watches the event loop meanwhile, and for some seconds after."""
    lags: list[float] = []

    async def watch() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.01)
            lags.append(time.perf_counter() - start - 0.01)

    watching = asyncio.create_task(watch())
    start, cpu = time.perf_counter(), time.process_time()
    try:
        finished = await asyncio.wait_for(replay(), LONGEST_S)
    except TimeoutError:
        finished = None
    share = (time.process_time() - cpu) / (time.perf_counter() - start)
    watching.cancel()
    await asyncio.sleep(1)
    cpu = time.process_time()
    await asyncio.sleep(IDLE_S)
    idle = (time.process_time() - cpu) / IDLE_S
    return Cost(finished.stats.decode_tok_s if finished else None, share, lags, len(app.query("*")), idle)


async def with_the_chat(stream: str) -> Cost:
    """Our own screen."""
    app = ChatApp(Load("replay"), engine=engine())
    async with app.run_test(size=SIZE) as pilot:
        await wait_until(pilot, lambda: app.desk.status.state == "ready")
        for number in range(EARLIER_ANSWERS):
            await ask(pilot, f"question {number}")

        async def replay() -> Finished:
            return await ask(pilot, stream)

        return await measured(app, replay)


async def ask(pilot: Pilot[None], prompt: str) -> Finished:
    """Send a prompt and wait for the end of its answer."""
    app = pilot.app
    assert isinstance(app, ChatApp)
    before = len(app.query(AnswerView))
    await send(pilot, prompt)
    while len(app.query(AnswerView)) == before or (finished := app.query(AnswerView).last().finished) is None:
        await asyncio.sleep(0.05)
    return finished


async def with_the_naive_way(stream: str) -> Cost:
    """The peer."""
    app, cost = NaiveChat(), None
    with contextlib.suppress(asyncio.CancelledError):  # an update cut off at LONGEST_S is in the app's way when it ends
        async with app.run_test(size=SIZE) as pilot:
            process = engine()
            async for _ in process.load(Load("replay")):
                pass
            for _ in range(EARLIER_ANSWERS):
                await app.show(streams.EARLIER)
            await pilot.pause()
            cost = await measured(app, lambda: app.answer(process, stream))
            await process.close()
    assert cost is not None
    return cost


async def without_a_screen(stream: str) -> float:
    """Tokens a second."""
    process = engine()
    async for _ in process.load(Load("replay")):
        pass
    last = None
    async for answer in process.ask(Request((user(stream),))):
        last = answer.event
    await process.close()
    assert isinstance(last, Finished)
    return last.stats.decode_tok_s


async def opening_the_chat() -> float:
    """Seconds from the choice of a long conversation in the list until it is on the screen."""
    conversation = Conversation()
    for number in range(LONG_CONVERSATION // 2):
        prompt = conversation.add_prompt(f"question {number}", conversation.leaf)
        conversation.add_answer(prompt.id, AnswerFacts("replay", None, "stop"), [assistant(streams.EARLIER)])
    store = Store(conversations_file())
    store.insert(conversation)
    store.close()
    app = ChatApp(Load("replay"), engine=engine())
    async with app.run_test(size=SIZE) as pilot:
        await wait_until(pilot, lambda: app.desk.status.state == "ready")
        start = time.perf_counter()
        await app.conversations.open(conversation.id)
        await painted(app)
        return time.perf_counter() - start


async def opening_the_naive_way() -> float:
    """Seconds until as many messages are on the screen as one widget each."""
    app = NaiveChat()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        start = time.perf_counter()
        widgets = [Markdown(streams.EARLIER if number % 2 else "question") for number in range(LONG_CONVERSATION)]
        with app.batch_update():
            await app.query_one("#chat").mount_all(widgets)
        await painted(app)
        return time.perf_counter() - start


async def painted(app: App[None]) -> None:
    """Wait until the next screen is laid out."""
    done = asyncio.Event()
    app.call_after_refresh(done.set)
    await done.wait()


def first_screen(*command: str) -> tuple[float, float]:
    """Seconds from the start of a process on a terminal of its own until it shows where to type, and of them on a
    processor."""
    start = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        # As for a person who has started it before: what is compiled is kept, of both.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = os.environ["GPTOSS_CHAT_HOME"]
        termios.tcsetwinsize(0, SIZE[::-1])
        os.execv(sys.executable, [sys.executable, *command])
    seen = b""
    while PLACEHOLDER[1:].encode() not in seen:  # the cursor stands on its first letter
        seen += os.read(terminal, 1 << 16)
    taken = time.perf_counter() - start
    os.kill(pid, signal.SIGKILL)
    used = os.wait4(pid, 0)[2]
    os.close(terminal)
    return taken, used.ru_utime + used.ru_stime


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.tui", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--streams", nargs="*", choices=streams.STREAMS, default=list(streams.STREAMS))
    chosen = parser.parse_args().streams
    print("| stream | screen | lag p95 | most | CPU | generation slowed | widgets | idle CPU |")
    print("|---|---|---|---|---|---|---|---|")
    for stream in chosen:
        alone = asyncio.run(without_a_screen(stream))
        with tempfile.TemporaryDirectory() as home:
            os.environ["GPTOSS_CHAT_HOME"] = home
            print(asyncio.run(with_the_chat(stream)).row(stream, "gptoss-chat", alone), flush=True)
        print(asyncio.run(with_the_naive_way(stream)).row(stream, "naive", alone), flush=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ["GPTOSS_CHAT_HOME"] = home
        print("\n| until | gptoss-chat | naive |\n|---|---|---|")
        opened = asyncio.run(opening_the_chat()), asyncio.run(opening_the_naive_way())
        print(f"| a conversation of {LONG_CONVERSATION} messages is open | {opened[0]:.2f} s | {opened[1]:.2f} s |")
        commands = ("-m", "app", "--model", "demo"), ("-c", BARE)
        starts = [[first_screen(*command) for command in commands] for _ in range(STARTS + 1)][1:]
        for number, what in enumerate(("a new process can be typed into", "of that, on a processor")):
            ours, bare = (min(start[which][number] for start in starts) for which in range(2))
            print(f"| {what} | {ours:.2f} s ({ours / bare:.2f} times) | {bare:.2f} s |")


if __name__ == "__main__":
    main()
