"""The chat line by line: for a terminal that can't show the screen, and for who prefers lines, as screen readers do."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic

from app.chat.commands import COMMANDS, parse
from app.chat.conversation import UNFINISHED, AnswerFacts, Conversation, Node, new_id
from app.chat.footer import footer
from app.chat.thinking import Thinking
from app.cli.ask import opened, say, shown
from app.engine.protocol import Load
from app.store.saver import Saver
from mlx_model.errors import GptossError
from mlx_model.events import Event, Stats
from mlx_model.generation.session import Session
from mlx_model.harmony import fold
from mlx_model.harmony.message import Effort
from mlx_model.options import Options
from mlx_model.request import Request

CHECKPOINT_S = 1.0
"""How often a growing answer is saved."""
HERE = ("effort", "continue", "new", "help", "quit")
"""The slash commands of the full-screen chat that this one has."""


def chat(
    wanted: Load, options: Options, instructions: str | None, *, why: str, show_analysis: bool, edit_lines: bool
) -> int:
    """Say `why` this is no full-screen chat, then ask and answer until the person leaves; returns 0.

    `edit_lines`: the terminal can move its cursor, so a line can be edited and earlier ones called back. Raises
    GptossError if the model can't be loaded.
    """
    print(f"{why}\nCtrl-D or /quit leaves, Ctrl-C stops an answer, /help says more.", flush=True)
    edit_lines = edit_lines and _readline_edits()
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]  # a stray byte must not end the chat
    session = opened(wanted)
    with contextlib.closing(Saver(say)) as saver:
        PlainChat(session, options, instructions, saver, show_analysis=show_analysis, edit_lines=edit_lines).run()
    return 0


class PlainChat:
    """One conversation at a time. Prompts are on the disk before the model sees them, a long answer once a second."""

    def __init__(
        self,
        session: Session,
        options: Options,
        instructions: str | None,
        saver: Saver,
        *,
        show_analysis: bool,
        edit_lines: bool,
    ) -> None:
        self._session = session
        self._options = options
        self._instructions = instructions
        self._saver = saver
        self._show_analysis = show_analysis
        self._edit_lines = edit_lines
        self._conversation = Conversation()

    def run(self) -> None:
        """Ask and answer until Ctrl-D, /quit, or a second Ctrl-C in a row."""
        interrupted = False
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                try:
                    text = _message(self._edit_lines)
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
                if command == ("continue", ""):
                    interrupted = self._go_on()
                elif command is not None:
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
        """Ask and print the answer; whether Ctrl-C has stopped it."""
        conversation, before = self._conversation, self._conversation.leaf
        prompt = conversation.add_prompt(text, before)
        self._saver.save(conversation)
        try:
            return self._answer(prompt)
        finally:
            if conversation.leaf == prompt.id:  # nothing came of it: as if it had not been asked
                conversation.withdraw(prompt.id, before)
                self._saver.save(conversation)

    def _go_on(self) -> bool:
        """Go on with an answer that was cut off, inside its last message; whether Ctrl-C has stopped it again."""
        last = next(reversed(self._conversation.path), None)
        if last is None or last.turn is None or last.turn.reason not in UNFINISHED:
            print("The last answer was not cut off.")
            return False
        return self._answer(last)

    def _answer(self, node: Node) -> bool:
        """Print the answer to a prompt, or how a cut-off answer goes on, and keep it; whether Ctrl-C has stopped it.

        A second Ctrl-C raises KeyboardInterrupt.
        """
        conversation = self._conversation
        answer = _Answer(node, self._session.model.name, self._options.effort)
        options = replace(self._options, effort=answer.effort)
        failure: GptossError | None = None
        with _stoppable() as stopped:
            try:
                request = Request(conversation.for_engine(node.id), options, self._instructions)
                events = self._session.stream(request, stopped)
                saved = monotonic()
                for event in shown(events, self._show_analysis):
                    answer.take(event)
                    if not self._show_analysis:
                        answer.say_thinking()
                    if answer.has_begun and monotonic() - saved >= CHECKPOINT_S:
                        answer.keep_in(conversation, None)
                        self._saver.save(conversation)
                        saved = monotonic()
            except GptossError as error:
                failure = error
            finally:
                if answer.has_begun:
                    answer.keep_in(conversation, "cancelled" if stopped() else "died")
                    self._saver.save(conversation)
                answer.end_lines()
            if failure is not None:
                say(str(failure))
            return stopped()


class _Answer:
    """One answer as it comes, and what a conversation keeps of it.

    `node` is the prompt, or an answer that was cut off and goes on: its messages and figures are the beginning, and it
    keeps its effort.
    """

    def __init__(self, node: Node, model: str, effort: Effort) -> None:
        begun = node.turn
        self._prompt = node.id if begun is None else node.parent
        self._id = new_id() if begun is None else node.id
        self._begun = () if begun is None else node.messages
        self._before = Stats() if begun is None else begun.stats
        self.effort = effort if begun is None or begun.effort is None else begun.effort
        self._turn = AnswerFacts(model, self.effort)
        self._fold = fold.Turn(self._begun)
        self._thinking = Thinking() if begun is None else Thinking(begun.analysis_s, begun.analysis_tokens)
        self._says_thinking = False

    @property
    def has_begun(self) -> bool:
        """Whether anything has come that is worth keeping."""
        return bool(self._fold.finished) or tuple(self._fold.messages) != self._begun

    def take(self, event: Event) -> None:
        """Add an event."""
        self._fold.take(event)
        self._thinking.take(event, monotonic())

    def say_thinking(self) -> None:
        """Say on standard error that the model thinks, and then how long it has."""
        thought = self._thinking
        if thought.under_way != self._says_thinking:
            self._says_thinking = thought.under_way
            took = f"{thought.seconds(monotonic()):.1f} s, {thought.tokens:,} tokens\n"
            print("thinking ... " if thought.under_way else took, end="", file=sys.stderr, flush=True)

    def end_lines(self) -> None:
        """Break the line if what was shown last has not, and say on standard error what the answer has cost."""
        text = self._fold.text if self.has_begun else ""
        if self._thinking.under_way or (text and not text.endswith("\n")):
            print(flush=True)
        if self.has_begun:
            line = footer(self.effort, self._turn.reason or "", self._turn.stats if self._fold.finished else None)
            print(line, end="\n\n", file=sys.stderr, flush=True)

    def keep_in(self, conversation: Conversation, otherwise: str | None) -> None:
        """Put what has come into the conversation; `otherwise` is its reason to end if the model gave none."""
        finished = self._fold.finished
        self._turn = replace(
            self._turn,
            reason=finished.reason if finished else otherwise,
            stats=self._before.followed_by(finished.stats) if finished else self._before,
            analysis_s=self._thinking.seconds(monotonic()),
            analysis_tokens=self._thinking.tokens,
        )
        if self._id in conversation.nodes:
            conversation.update_answer(self._id, self._turn, self._fold.messages)
        else:
            assert self._prompt is not None
            conversation.add_answer(self._prompt, self._turn, self._fold.messages, self._id)


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


def _readline_edits() -> bool:
    """Let `input` edit lines from now on; false where Python has no readline."""
    try:
        import readline
    except ImportError:
        return False
    # Else every line of a paste is sent at once. GNU readline 8.1 and newer know it, libedit ignores it.
    readline.parse_and_bind("set enable-bracketed-paste on")
    return True


def _message(edit_lines: bool) -> str:
    """What the person writes: a line, and those after it for as long as they end in a backslash. Raises EOFError."""
    lines = [_line("> ", edit_lines)]
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        lines.append(_line(". ", edit_lines))
    return "\n".join(lines)


def _line(prompt: str, edit_lines: bool) -> str:
    if edit_lines:
        return input(prompt)  # readline has to know the prompt, to draw the line anew
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
