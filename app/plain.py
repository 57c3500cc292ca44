"""The chat line by line: for a terminal that can't show the screen, and for who prefers lines, as screen readers do."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic

from app.ask import opened, say, shown
from app.conversation import Conversation, Node, Turn, new_id
from app.engine.protocol import Load
from app.footer import footer
from app.store.saver import Saver
from app.thinking import Thinking
from app.tui.commands import COMMANDS, parse
from mlx_model.errors import GptossError
from mlx_model.events import Event, MessageEnd, MessageStart, Stats
from mlx_model.harmony import fold
from mlx_model.harmony.message import Effort
from mlx_model.options import Options
from mlx_model.session import Session

CHECKPOINT_S = 1.0
"""How often a growing answer is saved."""
HERE = ("effort", "new", "help", "quit")
"""The slash commands of the full-screen chat that this one has."""


def chat(
    wanted: Load, options: Options, instructions: str | None, *, why: str, show_analysis: bool, edit_lines: bool
) -> int:
    """Say `why` this is no full-screen chat, then ask and answer until the person leaves; returns 0.

    `edit_lines`: the terminal can move its cursor, so a line can be edited and earlier ones called back. Raises
    GptossError if the model can't be loaded.
    """
    print(f"{why} Ctrl-D or /quit leaves, Ctrl-C stops an answer, /help says more.", flush=True)
    if edit_lines:
        with contextlib.suppress(ImportError):
            import readline  # from now on `input` edits lines

            # Else every line of a paste is sent at once. GNU readline 8.1 and newer know it, libedit ignores it.
            readline.parse_and_bind("set enable-bracketed-paste on")
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]  # a stray byte must not end the chat
    session = opened(wanted, instructions)
    with contextlib.closing(Saver(say)) as saver:
        PlainChat(session, options, saver, show_analysis=show_analysis).run()
    return 0


class PlainChat:
    """One conversation at a time. Prompts are on the disk before the model sees them, a long answer once a second."""

    def __init__(self, session: Session, options: Options, saver: Saver, *, show_analysis: bool) -> None:
        self._session = session
        self._options = options
        self._saver = saver
        self._show_analysis = show_analysis
        self._conversation = Conversation()

    def run(self) -> None:
        """Ask and answer until Ctrl-D, /quit, or a second Ctrl-C in a row."""
        interrupted = False
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                try:
                    text = _message()
                except EOFError:
                    print()
                    return
                except KeyboardInterrupt:  # what was typed of this message is dropped, as in a shell
                    print()
                    if interrupted:
                        return
                    interrupted = True
                    print("Ctrl-C once more leaves.")
                    continue
                interrupted = False
                if (command := parse(text)) == ("quit", ""):
                    return
                if command is not None:
                    print(self._command(*command))
                elif text.strip():
                    interrupted = self._ask(text)

    def _command(self, name: str, argument: str) -> str:
        """Carry out a slash command; what to say about it."""
        if name not in HERE:
            return f"There is no command /{name} here; /help lists those there are."
        if name == "effort":
            order = list(Effort)
            if argument and argument.lower() not in order:
                return "The effort is low, medium or high."
            following = order[(order.index(self._options.effort) + 1) % len(order)]
            self._options = replace(self._options, effort=Effort(argument.lower()) if argument else following)
            return f"The effort of the next answer is {self._options.effort}."
        if argument:
            return f"/{name} takes nothing after it."
        if name == "new":
            self._conversation = Conversation()
            return "This is a new conversation."
        return _help()

    def _ask(self, text: str) -> bool:
        """Ask and print the answer; whether Ctrl-C has stopped it. A second Ctrl-C raises KeyboardInterrupt."""
        conversation, before = self._conversation, self._conversation.leaf
        prompt = conversation.add_prompt(text, before)
        self._saver.save(conversation)
        answer = _Answer(prompt, self._session.model.name, self._options.effort)
        failure: GptossError | None = None
        with _stoppable() as stopped:
            try:
                events = self._session.stream(conversation.for_engine(prompt.id), self._options, stopped)
                saved = monotonic()
                for event in shown(events, self._show_analysis):
                    answer.take(event)
                    if not self._show_analysis:
                        answer.say_thinking(event)
                    if monotonic() - saved >= CHECKPOINT_S:
                        answer.keep_in(conversation, None)
                        self._saver.save(conversation)
                        saved = monotonic()
            except GptossError as error:
                failure = error
            finally:
                if answer.has_begun:
                    answer.keep_in(conversation, "cancelled" if stopped() else "died")
                else:  # nothing came of it: as if it had not been asked
                    conversation.withdraw(prompt.id, before)
                self._saver.save(conversation)
                answer.end_lines()
            if failure is not None:
                say(str(failure))
            return stopped()


class _Answer:
    """One answer as it comes, and what a conversation keeps of it."""

    def __init__(self, prompt: Node, model: str, effort: Effort) -> None:
        self._prompt = prompt
        self._turn = Turn(model, effort)
        self._id = new_id()
        self._fold = fold.Turn()
        self._thinking = Thinking()

    @property
    def has_begun(self) -> bool:
        """Whether anything has come that is worth keeping."""
        return bool(self._fold.messages or self._fold.finished)

    def take(self, event: Event) -> None:
        """Add an event."""
        self._fold.take(event)
        self._thinking.take(event, monotonic())

    def say_thinking(self, event: Event) -> None:
        """Say on standard error that the model thinks, and then how long it has."""
        match event:
            case MessageStart(channel="analysis"):
                print("thinking ... ", end="", file=sys.stderr, flush=True)
            case MessageEnd(message=message) if message.channel == "analysis":
                thought = self._thinking
                print(f"{thought.seconds(monotonic()):.1f} s, {thought.tokens:,} tokens", file=sys.stderr, flush=True)

    def end_lines(self) -> None:
        """Break the line if what was shown last has not, and say on standard error what the answer has cost."""
        if self._thinking.under_way or (self._fold.text and not self._fold.text.endswith("\n")):
            print(flush=True)
        if self.has_begun:
            stats = self._fold.finished.stats if self._fold.finished else None
            line = footer(self._turn.effort, self._turn.reason or "", stats)
            print(line, end="\n\n", file=sys.stderr, flush=True)

    def keep_in(self, conversation: Conversation, otherwise: str | None) -> None:
        """Put what has come into the conversation; `otherwise` is its reason to end if the model gave none."""
        finished = self._fold.finished
        self._turn = replace(
            self._turn,
            reason=finished.reason if finished else otherwise,
            stats=finished.stats if finished else Stats(),
            analysis_s=self._thinking.seconds(monotonic()),
            analysis_tokens=self._thinking.tokens,
        )
        if self._id in conversation.nodes:
            conversation.update_answer(self._id, self._turn, self._fold.messages)
        else:
            conversation.add_answer(self._prompt.id, self._turn, self._fold.messages, self._id)


@contextlib.contextmanager
def _stoppable() -> Iterator[Callable[[], bool]]:
    """Within it the first Ctrl-C only makes the function it gives return true; a second one interrupts as ever."""
    stopped = threading.Event()

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        stopped.set()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _message() -> str:
    """What the person writes: a line, and those after it for as long as they end in a backslash. Raises EOFError."""
    lines = [_line("> ")]
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        lines.append(_line(". "))
    return "\n".join(lines)


def _line(prompt: str) -> str:
    if "readline" in sys.modules:
        return input(prompt)  # it has to know the prompt, to draw the line anew
    print(prompt, end="", flush=True)  # `input` alone would write it to standard error
    return input()


def _help() -> str:
    rows = [(command.usage, command.help) for command in COMMANDS if command.slash in HERE]
    rows += [
        ("Ctrl-C, Ctrl-D", "stop the answer; leave"),
        ("a line that ends in \\", "the message goes on in the next"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {text}" for name, text in rows)
