"""What the person does with a code block: saves it, and runs it; its output stands below the block, and is kept."""

import asyncio
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from app.chat.answer import CHECKPOINT_S
from app.chat.block_runs import kept_output
from app.chat.code_blocks import CodeBlock
from app.chat.conversation import BlockRun, CallFacts, Conversation
from app.digests import digest_of
from app.lines import one_line, sentence
from app.tools.code import run_by, suffix_of
from app.tools.code_runs import CodeRunner
from app.tools.permission import Wish
from app.tools.verdict import Verdict
from app.tui.parts.conversation import ConversationKeeper
from app.tui.parts.desk import Desk
from app.tui.parts.tools import Tools
from app.tui.text.answer_parts import LIVE_TAIL, Running
from mlx_model.errors import GptossError, RequestError
from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import MOST_SHOWN, ToolResult

if TYPE_CHECKING:  # loaded with the first answer
    from app.tui.widgets.code_run import CodeRun
    from app.tui.widgets.messages import AnswerView

TICK_S = 0.25
RUNS = "A code block is being run. Esc stops it."
FILE_NAME_S = 15.0
NO_MORE = f"[... what came after {MOST_SHOWN:,} characters was not kept ...]"


class Written:
    """What a run has written so far, of which the beginning and the end are kept."""

    def __init__(self) -> None:
        from mlx_model.tools.python.result import CellOutput  # only now: most chats need none of it

        self._output = CellOutput()
        self._count = 0

    def add(self, text: str) -> None:
        """Take some more."""
        self._count += len(text)
        self._output.add(text.encode("utf-8", "replace"))

    @property
    def text(self) -> str:
        """Without a terminal's escapes and overwritten lines; says what is left out."""
        text = self._output.text()
        return f"{text}\n{NO_MORE}" if self._count >= MOST_SHOWN else text


class CodeRuns:
    """One block is run at a time; nothing is before the person says so. What comes of it is kept with the answer, once
    a second while it runs. It ends with the conversation that is on the screen."""

    def __init__(self, desk: Desk, conversations: ConversationKeeper, tools: Tools) -> None:
        self._desk = desk
        self._conversations = conversations
        self._tools = tools
        self._runner = CodeRunner(self._ask)
        self._is_asked = False
        self._written: Written | None = None
        self._task: asyncio.Task[ToolResult] | None = None
        self._shown = asyncio.Event()  # how the last run ended
        conversations.before_leaving = self.end

    async def save(self, block: CodeBlock) -> None:
        """Write a block to a new file in the current folder, and say what it is called."""
        from app.store.exchange.export import write_new

        try:
            path = await asyncio.to_thread(write_new, f"{block.code}\n", "", "code", suffix_of(block.language))
        except GptossError as error:
            self._desk.notify(sentence(str(error)), severity="error")
        else:
            self._desk.notify(f"Wrote {one_line(str(path))}", timeout=FILE_NAME_S)

    def start(self, node: str, block: CodeBlock) -> None:
        """Run a block of an answer of the conversation, which has the number that it has in the whole answer."""
        if self._task is not None:
            self._desk.warn(RUNS)
            return
        conversation = self._conversations.conversation
        by = run_by(block.language)
        running = self._runner.run(conversation.id, block.code, block.language, by, self._take)
        self._written, self._task = Written(), asyncio.create_task(running)
        self._shown.clear()
        self._desk.hint()
        self._desk.run(self._show(self._task, conversation, node, block), group="code")

    @property
    def is_running(self) -> bool:
        """Whether Esc has something to stop here."""
        return self._task is not None

    def stop(self) -> bool:
        """Stop what is run, or refuse it while the person is asked; false if there is nothing to stop."""
        if self._is_asked:
            self._tools.answer(None)
            return True
        return self._task is not None and self._task.cancel()

    async def end(self) -> None:
        """Stop what is run, and keep what came of it."""
        if self._task is not None:
            self._task.cancel()
            await self._shown.wait()

    async def close(self) -> None:
        """The chat ends."""
        await self.end()
        await self._runner.close()

    async def _show(
        self, task: asyncio.Task[ToolResult], conversation: Conversation, node: str, block: CodeBlock
    ) -> None:
        """Show and keep how a run goes, until it has ended."""
        before = next((run for run in conversation.nodes[node].runs if run.block == block.number), None)
        kept, written = BlockRun(block.number, digest_of(block.code)), self._written or Written()
        started = saved = monotonic()
        await self._show_below(node, kept, Running())
        try:
            self._bring_into_sight(node, kept.block)
            while not task.done():
                await asyncio.wait({task}, timeout=TICK_S)
                now, output = monotonic(), written.text
                if not task.done():
                    running = Running(self._is_asked, int(now - started), output[-LIVE_TAIL:])
                    await self._show_below(node, kept, running)
                if now - saved >= CHECKPOINT_S and not self._is_asked and (saved == started or output != kept.output):
                    kept, saved = replace(kept, output=kept_output(output)), now
                    await self._conversations.keep_run(conversation.id, node, kept)
            result = _result(task, written.text, monotonic() - started)
            text = "" if result.outcome == "no output" else result.text
            kept = replace(kept, output=kept_output(text), facts=CallFacts.of(result, ""))
            await self._conversations.keep_run(conversation.id, node, kept)
            await self._show_below(node, kept, None)
            self._bring_into_sight(node, kept.block)
        except RequestError as error:
            self._desk.warn(sentence(str(error)))
            await self._put_back(conversation.id, node, kept.block, before)
        finally:
            task.cancel()
            self._task = None
            self._shown.set()
            self._desk.hint()

    async def _put_back(self, conversation: str, node: str, block: int, before: BlockRun | None) -> None:
        """Nothing came of it: show and keep what came of the block before."""
        answer = self._answer(node)
        if before is not None:
            await self._conversations.keep_run(conversation, node, before)
            await self._show_below(node, before, None)
        else:
            await self._conversations.drop_run(conversation, node, block)
            if answer is not None:
                await answer.runs.drop(block)

    def _answer(self, node: str) -> "AnswerView | None":
        """The answer, if it is on the screen: it may have been mounted anew meanwhile, or not be there at all."""
        from app.tui.widgets.messages import AnswerView

        views = self._desk.transcript.views_of(node)
        return next((view for view in views if isinstance(view, AnswerView) and view.is_attached), None)

    async def _show_below(self, node: str, kept: BlockRun, running: Running | None) -> None:
        if (answer := self._answer(node)) is not None:
            await answer.runs.show(kept, running)

    def _take(self, text: str) -> None:
        if self._written is not None:
            self._written.add(text)

    async def _ask(self, call: ToolCall, wish: Wish) -> Verdict:
        self._is_asked = True
        try:
            return await self._tools.ask(call, wish, self._hint)
        except asyncio.CancelledError:  # the conversation is left before there is an answer
            return Verdict(allowed=False)
        finally:
            self._is_asked = False
            await self._hint()

    async def _hint(self) -> None:
        self._desk.hint()

    def _bring_into_sight(self, node: str, block: int) -> None:
        """Show the output, also in place of the conversation's end if that doesn't show it."""
        answer, transcript = self._answer(node), self._desk.transcript
        view = next((run for run in answer.runs if run.kept.block == block), None) if answer is not None else None

        def scroll(view: "CodeRun") -> None:
            if not transcript.follows or view.region.y < transcript.region.y:
                transcript.release_anchor()
                view.scroll_visible(animate=False)

        if view is not None:
            view.call_after_refresh(scroll, view)


def _result(task: "asyncio.Task[ToolResult]", output: str, seconds: float) -> ToolResult:
    """What came of a run; of one that was stopped, what it had written. Raises RequestError."""
    if task.cancelled():
        return ToolResult(output, error=True, seconds=seconds, outcome="stopped")
    return task.result()
