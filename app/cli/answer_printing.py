"""An answer as `ask` and the plain chat print it, as it comes: its text, and a line for each call of a tool."""

import sys
from collections.abc import Iterable
from time import monotonic
from typing import TextIO

from app.chat.loop import TurnEvent
from app.chat.thinking import Thinking
from app.chat.waiting import others_first
from app.cli.printing import DIM, PLAIN, TerminalLine, shows_styles
from app.engine.protocol import Answer
from app.lines import counted, one_line, took
from mlx_model.events import Event, MessageEnd, PrefillProgress, Queued, TextDelta, Warned
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message, Role
from mlx_model.text import clean
from mlx_model.tools.citations import Citations, CitationWriter, Source, plain_number
from mlx_model.tools.loop import ToolDenied, ToolEvent, ToolFinished, ToolStarted
from mlx_model.tools.shown_pages import pages_of

_MOST_OF_A_CALL = 60
"""Characters of a call in its line."""


def call_line(call: ToolCall) -> str:
    """A call in short: the tool, and what it is asked, or how many lines of code."""
    code = str(call.arguments.get("code", call.text)).strip()
    text = one_line(code)
    if call.name == "python" and "\n" in code:
        text = f"{len(code.splitlines())} lines"
    return f"{one_line(call.name)}  {text[:_MOST_OF_A_CALL]}{'...' if len(text) > _MOST_OF_A_CALL else ''}"


class AnswerPrinter:
    """Prints one answer: its final text on standard output, its commentary for the user on standard error, both with
    the numbers of the sources that they cite.

    `show_analysis` adds analysis and calls, dimmed on a terminal. Else `thinking`, if there is one, is followed: when
    the model begins to think, and how long it did. No control character but newline and tab is printed.
    """

    def __init__(
        self,
        *,
        show_analysis: bool,
        thinking: Thinking | None = None,
        earlier: Iterable[Message] = (),
        begun: Iterable[Message] = (),
        is_data: bool = False,
    ) -> None:
        """`earlier` is the conversation before the answer, `begun` what there is of an answer that goes on."""
        self._progress = TerminalLine(sys.stderr)
        """What takes a while before the answer begins."""
        self._pages = pages_of(earlier)
        self._citations = Citations(self._pages)
        self._call: Message | None = None
        self._text, self._text_stream = self._new_text(), sys.stdout
        self._take_begun(begun)
        self._show_analysis = show_analysis
        self._is_data = is_data
        self._thinking = None if show_analysis else thinking
        self._says_thinking = False
        self._dims = shows_styles(sys.stderr)
        self._is_running = False  # a call of a tool, whose line has not ended
        self._open_line: TextIO | None = None  # the stream whose last line has not ended

    def show(self, event: TurnEvent) -> None:
        """Print what is to be seen of an event."""
        if isinstance(event, Answer):
            self._show_event(event.event)
        else:
            self._show_tool(event)

    @property
    def sources(self) -> list[Source]:
        """What the answer has cited so far."""
        return self._citations.sources

    def _take_begun(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._see(message)
            if message.role is Role.ASSISTANT and message.channel in ("final", "commentary") and not message.calls_tool:
                self._text = self._new_text()
                self._text.take(clean(message.text))  # printed then

    def _see(self, message: Message) -> None:
        """Remember which pages the model gets to see: a result shows one, and which it is its call may say."""
        if message.role is Role.TOOL:
            self._citations.know(pages_of([self._call, message] if self._call else [message], self._pages))
        self._call = message if message.calls_tool else None

    def _show_event(self, event: Event) -> None:
        if isinstance(event, MessageEnd):
            self._end_text()
            self._see(event.message)
        match event:
            case Queued(before=before):
                self._progress.show(f"waiting: {others_first(before)}")
            case PrefillProgress(done=done, total=total) if done < total:
                self._progress.show(f"reading the prompt: {done:,} of {total:,} tokens")
            case PrefillProgress():
                self._progress.end()
            case Warned(text=text):
                self._print(f"{one_line(text)}\n", sys.stderr)
            case TextDelta(channel="final", text=text, recipient=None):
                if self._is_data:
                    self._print(clean(text) if sys.stdout.isatty() else text, sys.stdout)
                else:
                    self._print_text(text, sys.stdout)
            case TextDelta(channel="commentary", text=text, recipient=None):
                self._print_text(text, sys.stderr)
            case TextDelta(text=text) if self._show_analysis:
                self._print_dimmed(text)
            case MessageEnd(message=message) if message.channel != "final":
                if self._show_analysis or (message.channel == "commentary" and message.recipient is None):
                    self._print("\n", sys.stderr)
        self._show_thinking()

    def _show_tool(self, event: ToolEvent) -> None:
        """A line for each call, which ends when the call does; its result where the analysis is shown."""
        match event:
            case ToolStarted(call):
                self._print(f"{call_line(call)} ... ", sys.stderr)
                self._is_running = True
            case ToolFinished(call, result):
                self._see(event.message)
                if self._is_running:
                    end = f"{'failed, ' if result.error else ''}{took(result.seconds)}"
                else:
                    end = f"{call_line(call)} ... {'can not be run' if result.error else 'not run again'}"
                self._is_running = False
                self._print(f"{end}\n", sys.stderr)
                if self._show_analysis:
                    self.print_aside(result.text.rstrip("\n"))
                for file in result.files:
                    self._print(f"file: {one_line(str(file))}\n", sys.stderr)
            case ToolDenied(call, reason):
                self._print(f"{call_line(call)} ... not allowed\n", sys.stderr)
                if self._show_analysis:
                    self.print_aside(reason)

    def print_aside(self, text: str) -> None:
        """Lines of the model's that are no answer, on standard error."""
        self._print_dimmed(text)
        self._print("\n", sys.stderr)

    def end_line(self) -> None:
        """The answer is over: print what was held back, and break the line if that has not."""
        self._end_text()
        if self._open_line is not None:
            self._print("\n", self._open_line)

    def _show_thinking(self) -> None:
        thinking = self._thinking
        if thinking is None or thinking.under_way == self._says_thinking:
            return
        self._says_thinking = thinking.under_way
        ended = f"{took(thinking.seconds(monotonic()))}, {counted(thinking.tokens, 'token')}\n"
        self._print("thinking ... " if thinking.under_way else ended, sys.stderr)

    def _print_text(self, text: str, stream: TextIO) -> None:
        self._text_stream = stream
        self._print(self._text.take(clean(text)), stream)

    def _end_text(self) -> None:
        self._print(self._text.end(), self._text_stream)
        self._text = self._new_text()

    def _new_text(self) -> CitationWriter:
        return CitationWriter(self._citations, plain_number)

    def _print_dimmed(self, text: str) -> None:
        # The dimming is closed with every piece: Ctrl-C may come between any two.
        self._print(f"{DIM}{clean(text)}{PLAIN}" if self._dims else clean(text), sys.stderr)

    def _print(self, text: str, stream: TextIO) -> None:
        if text:
            self._progress.end()
            print(text, end="", file=stream, flush=True)
            self._open_line = None if text.endswith("\n") else stream
