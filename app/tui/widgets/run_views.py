"""What came of the code blocks of one answer, each below its block."""

from collections.abc import Callable, Iterator, Sequence

from textual.widget import Widget

from app.chat.code_blocks import CodeBlock, code_blocks
from app.chat.conversation import BlockRun
from app.digests import digest_of
from app.tui.text.answer_parts import Running
from app.tui.widgets.code_run import CodeRun
from app.tui.widgets.markdown import MarkdownText
from mlx_model.text import clean


class RunViews:
    """Places them among the widgets of an `answer`; `texts` are those whose code blocks count, in their order. Blocks
    are counted from 1 on."""

    def __init__(self, answer: Widget, texts: Callable[[], Sequence[MarkdownText]]) -> None:
        self._answer = answer
        self._texts = texts
        self._views: dict[int, CodeRun] = {}

    def __iter__(self) -> Iterator[CodeRun]:
        """Those that are there."""
        return iter(self._views.values())

    def with_blocks(self) -> Iterator[tuple[MarkdownText, Sequence[CodeBlock]]]:
        """The texts, each with its code blocks."""
        for text in self._texts():
            yield text, code_blocks(clean(text.source))

    def number_of(self, text: MarkdownText, number: int) -> int:
        """The number of a code block of one text among those of all; 0 if they don't count."""
        before = 0
        for each, blocks in self.with_blocks():
            if each is text:
                return before + number
            before += len(blocks)
        return 0

    def place(self, kept: BlockRun, running: Running | None = None) -> MarkdownText | None:
        """The text that has a place for it now; None if the block isn't there, or is another by now."""
        at = kept.block
        for text, blocks in self.with_blocks():
            if at > len(blocks):
                at -= len(blocks)
            elif digest_of(blocks[at - 1].code) == kept.code:
                self._views[kept.block] = CodeRun(kept, running)
                text.put_below(at, self._views[kept.block])
                return text
            else:
                break
        return None

    async def show(self, kept: BlockRun, running: Running | None = None) -> CodeRun | None:
        """Show it in place of what came of the block before; None if the block isn't there."""
        view = self._views.get(kept.block)
        if view is not None:
            await view.update_run(kept, running)
        elif (text := self.place(kept, running)) is not None:
            view, below = self._views[kept.block], text.below
            at = below.index(view)
            await self._answer.mount(*below[at : at + 2], after=below[at - 1] if at else text)
        return view

    async def drop(self, block: int) -> None:
        """Nothing came of it after all."""
        if (view := self._views.pop(block, None)) is not None:
            for text in self._texts():
                for widget in text.take_away(view):
                    await widget.remove()

    async def drop_old(self) -> None:
        """Drop those whose code block is another by now, since the answer was continued."""
        if not self._views:
            return
        digests = [digest_of(block.code) for _, blocks in self.with_blocks() for block in blocks]
        for block, view in list(self._views.items()):
            if digests[block - 1 : block] != [view.kept.code]:
                await self.drop(block)
