"""What the person does with a code block: saves it, and runs it, which shows its output below the answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

from app.chat.conversation import CallFacts
from app.lines import one_line, sentence
from app.tools.code import run_by, suffix_of
from app.tools.code_runs import NAME, CodeRunner
from app.tools.permission import Wish
from app.tools.switched_on import Verdict
from app.tui.parts.desk import Desk
from app.tui.parts.tools import Tools
from app.tui.text.answer_parts import LIVE_TAIL, Kind, Part, Running, State
from mlx_model.errors import GptossError, RequestError
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message, Role
from mlx_model.tools.base import ToolResult

if TYPE_CHECKING:  # loaded with the first answer
    from app.tui.widgets.calls import CodeRun
    from app.tui.widgets.messages import AnswerView

TICK_S = 0.25
RUNS = "A code block is being run. Esc stops it."
FILE_NAME_S = 15.0


@dataclass(frozen=True, slots=True)
class Block:
    """A code block; `number` is its place in the message from 1 on, 0 for the only one."""

    code: str
    language: str
    number: int = 0


def blocks_of(text: str) -> Sequence[Block]:
    """The code blocks of a message's text."""
    from app.tui.text.markdown_layout import code_blocks, code_languages

    codes = code_blocks(text)
    pairs = zip(codes, code_languages(text), strict=True)
    return [Block(code, language, number * (len(codes) > 1)) for number, (code, language) in enumerate(pairs, 1)]


class CodeRuns:
    """One block is run at a time; nothing is before the person says so. What came of it is not kept."""

    def __init__(self, desk: Desk, tools: Tools) -> None:
        self._desk = desk
        self._tools = tools
        self._runner = CodeRunner(self._ask)
        self._is_asked = False
        self._output = ""
        self._task: asyncio.Task[ToolResult] | None = None

    async def save(self, block: Block) -> None:
        """Write a block to a new file in the current folder, and say what it is called."""
        from app.store.exchange.export import write_new

        try:
            path = await asyncio.to_thread(write_new, f"{block.code}\n", "", "code", suffix_of(block.language))
        except GptossError as error:
            self._desk.notify(sentence(str(error)), severity="error")
        else:
            self._desk.notify(f"Wrote {one_line(str(path))}", timeout=FILE_NAME_S)

    def start(self, conversation: str, block: Block, answer: "AnswerView") -> None:
        """Run a block of an answer that is on the screen."""
        if self._task is not None:
            self._desk.warn(RUNS)
            return
        by = run_by(block.language)
        running = self._runner.run(conversation, block.code, block.language, by, self._take)
        self._output, self._task = "", asyncio.create_task(running)
        self._desk.run(self._show(self._task, block, answer), group="code")

    def stop(self) -> bool:
        """Stop what is run, or refuse it while the person is asked; false if there is nothing to stop."""
        if self._is_asked:
            self._tools.answer(None)
            return True
        return self._task is not None and self._task.cancel()

    async def close(self) -> None:
        """The chat ends."""
        if self._task is not None and self._task.cancel():
            await asyncio.wait({self._task})
        await self._runner.close()

    async def _show(self, task: asyncio.Task[ToolResult], block: Block, answer: "AnswerView") -> None:
        """Show how a run goes, until it ends."""
        from app.tui.widgets.calls import CodeRun

        started, call = monotonic(), ToolCall(NAME, block.code, "commentary")
        asked = Message(Role.ASSISTANT, block.code, None, call.channel, NAME)
        view = CodeRun(Part(Kind.CALL, (asked,), State.RUNNING, running=Running()), block.number)
        try:
            await answer.show_run(view)
            self._bring_into_sight(view)
            while not task.done():
                await asyncio.wait({task}, timeout=TICK_S)
                if not view.is_attached:  # the answer is no longer on the screen
                    task.cancel()
                running = Running(self._is_asked, int(monotonic() - started), self._output)
                if view.is_attached and not task.done() and running != view.part.running:
                    await view.show(replace(view.part, running=running))
            result = _result(task, self._output, monotonic() - started)
        except RequestError as error:
            self._desk.warn(sentence(str(error)))
            await view.remove()
            return
        finally:
            task.cancel()
            self._task = None
        text = "" if result.outcome == "no output" else result.text
        if view.is_attached:
            part = Part(Kind.CALL, (asked, call.result(text)), facts=(CallFacts.of(result, ""),))
            await view.show(part)
            self._bring_into_sight(view)

    def _take(self, text: str) -> None:
        self._output = (self._output + text)[-LIVE_TAIL:]

    async def _ask(self, call: ToolCall, wish: Wish) -> Verdict:
        self._is_asked = True
        try:
            return await self._tools.ask(call, wish, self._hint)
        finally:
            self._is_asked = False
            await self._hint()

    async def _hint(self) -> None:
        self._desk.hint()

    def _bring_into_sight(self, view: "CodeRun") -> None:
        if not self._desk.transcript.follows:
            self._desk.transcript.release_anchor()
            view.call_after_refresh(view.scroll_visible, animate=False)


def _result(task: "asyncio.Task[ToolResult]", output: str, seconds: float) -> ToolResult:
    """What came of a run; of one that was stopped, what it had written. Raises RequestError."""
    if task.cancelled():
        return ToolResult(output, error=True, seconds=seconds, outcome="stopped")
    return task.result()
