"""Documents that are read by parts before a prompt is answered: the cost, the person's yes, progress, the notes.

The prompt has the notes as they come, and is on the disk before the next part begins. So it is with it as with an
answer that was cut off: ^G goes on, here and after a kill.
"""

import asyncio
from contextlib import aclosing
from time import monotonic
from typing import TYPE_CHECKING

from app.chat.conversation import Node, new_id
from app.chat.plan import Plan
from app.engine.engine import EngineDied
from app.lines import sentence
from app.tui.parts.several import Several
from app.tui.parts.tools import unless
from app.tui.text.coalesce import Coalescer
from app.tui.text.progress import Progress
from app.tui.widgets.status import ASKING
from mlx_model.errors import GptossError

if TYPE_CHECKING:  # what reads files is loaded with the first prompt
    from app.chat.by_parts import ReadingByParts
    from app.tui.widgets.notes import ReadingView

NOTES_KEPT = "The notes so far are kept: ^G reads on, ^S answers from them."
NO_NOTES = "There are no notes yet."
ASKS = "Reading by parts"


class ByParts(Several):
    """Reads the documents of a prompt that are to be read by parts, before it is answered in whatever way."""

    is_reading = False
    """Whether a part is being read."""
    _reading: "ReadingByParts | None" = None  # the one under way, its counting and the question included
    _is_enough = False  # whether the person wants the answer from what was noted so far

    @property
    def reading_waits(self) -> bool:
        """Whether the last prompt has a document that is still to be read, and no answer."""
        last = self.cut_off
        if last is None or not last.is_prompt:
            return False
        from app.chat.by_parts import unread

        return unread(last.text())

    @property
    def notes_wait(self) -> bool:
        """Whether it has notes on a part of one."""
        if (last := self.cut_off) is None or not self.reading_waits:
            return False
        from app.chat.by_parts import has_notes

        return has_notes(last.text())

    async def answer_now(self) -> None:
        """As for a thought; a reading ends, and what was noted is answered from, also later."""
        if self._reading is not None:
            from app.chat.by_parts import has_notes

            if has_notes(self._reading.prompt):
                self._is_enough = True
                await self._engine.process.cancel()
            else:
                self._desk.warn(NO_NOTES)
        elif self.notes_wait:
            self._is_enough = True
            self.again()
        else:
            await super().answer_now()

    async def _answer(self, prompt: Node, before: str | None, *, is_new: bool, unfinished: Node | None = None) -> None:
        if unfinished is not None or not self._is_to_be_read(prompt):
            await super()._answer(prompt, before, is_new=is_new, unfinished=unfinished)
        elif await self._read(prompt, before, is_new=is_new):
            await super()._answer(self.conversation.nodes[prompt.id], prompt.id, is_new=False)

    async def _answer_several(self, plan: Plan, prompt: Node, before: str | None, *, is_new: bool) -> None:
        if not self._is_to_be_read(prompt):
            await super()._answer_several(plan, prompt, before, is_new=is_new)
        elif await self._read(prompt, before, is_new=is_new):
            await super()._answer_several(plan, self.conversation.nodes[prompt.id], prompt.id, is_new=False)

    def _is_to_be_read(self, prompt: Node) -> bool:
        """A prompt that was answered from some notes already is answered from them again."""
        from app.chat.by_parts import unread

        is_enough, self._is_enough = self._is_enough, False
        is_answered = any(node.parent == prompt.id for node in self.conversation.nodes.values())
        return not (is_enough or is_answered) and unread(prompt.text())

    async def _read(self, prompt: Node, before: str | None, *, is_new: bool) -> bool:
        """Read, and show it; whether the prompt is to be answered now. If nothing comes of it, `before` is the leaf
        again."""
        from app.chat.by_parts import has_notes
        from app.chat.reading_texts import forget_texts
        from app.tui.widgets.notes import NotesView, ReadingView

        await self._titles.stop()
        desk, view, place = self._desk, ReadingView(prompt.text()), Node(new_id(), prompt.id, 0.0, ())
        await self._show_question(prompt, place, view, is_new=is_new)
        for each in desk.transcript.views_of(prompt.id):
            if isinstance(each, NotesView):  # until all is shown anew: the view has them meanwhile
                each.display = False
        desk.hint()
        await self._asked(prompt, is_new=is_new)
        is_read = has_failed = False
        began = monotonic()
        try:
            is_read = await self._read_all(prompt, view)
        except EngineDied as death:
            has_failed = True
            await self._engine.bury(death)
        except GptossError as error:
            has_failed = True
            kept = NOTES_KEPT if has_notes(self.conversation.nodes[prompt.id].text()) else ""
            await desk.notice(f"{sentence(str(error))} {kept}".rstrip(), "error")
        finally:
            self._reading, self.is_reading, self._is_enough, desk.status.progress = None, False, False, None
        if is_read or has_failed:
            self._announce(f"The reading has {'failed' if has_failed else 'ended'}", monotonic() - began)
        notices, noted = self._notices_below(place), has_notes(self.conversation.nodes[prompt.id].text())
        if is_read and not self.stopped.is_set():
            await self.show(keep=notices)
            return True
        if is_new and not noted:
            await self._withdraw(self.conversation.nodes[prompt.id], place, before, is_new=True)
            if not self.conversation.nodes:  # else it goes with the conversation
                await asyncio.to_thread(forget_texts, self.conversation.id)
        else:
            await self.show(keep=notices)
            if noted and not has_failed:
                desk.notify(NOTES_KEPT)
        await self._save()
        await self._after(holds=has_failed)
        return False

    async def _read_all(self, prompt: Node, view: "ReadingView") -> bool:
        """Whether all was read, or enough. Raises what the engine raises, and RequestError."""
        from app.chat.by_parts import ReadingByParts, has_notes, unread
        from app.chat.reading_texts import find_texts, keep_texts

        engine, conversation, desk = self._engine, self.conversation, self._desk
        if not await engine.opened(view, self.stopped):
            return False
        used, _ = conversation.tokens_to(prompt.parent)
        reading = ReadingByParts(engine.process, prompt.text(), self._preferences.options, used)
        self._reading = reading
        view.wait("counting tokens")
        await asyncio.to_thread(find_texts, reading, desk.composer.folder)
        if not await unless(self.stopped, reading.plan()) or engine.leaving:
            return False
        for name in reading.fits:
            desk.notify(f"{name} fits into the context: it goes into the prompt as it is.")
        self._take(prompt, reading)
        if not reading.cost.parts:
            return True
        if not has_notes(prompt.text()) and not await self._is_wanted(reading, view):
            return False
        await asyncio.to_thread(keep_texts, reading, conversation.id)
        self.is_reading = True
        desk.hint()
        coalescer = Coalescer(lambda: self._show_reading(reading, view))
        try:
            async with aclosing(reading.events(lambda: self.stopped.is_set() or self._is_enough)) as events:
                async for is_new in events:
                    if is_new:
                        self._take(prompt, reading)
                        await self._journal.save(conversation)
                        desk.hint()
                    coalescer.poke()
        finally:
            await coalescer.close()
        return self._is_enough or not unread(reading.prompt)

    async def _is_wanted(self, reading: "ReadingByParts", view: "ReadingView") -> bool:
        """Ask the person, who is told what it costs."""
        from app.chat.reading_cost import speed_in
        from app.tools.permission import Decision, Wish
        from mlx_model.harmony.calls import ToolCall

        cost, speed = reading.cost, speed_in(self.conversation, self._engine.label)
        names = ", ".join(each.removesuffix("*") for each in reading.names)
        time = cost.time(speed) or "how long it takes is not known before the first part"
        shown = f"{cost}\n{time}\nEsc stops it at any time; notes that were made are kept."
        wish = Wish(("read",), Decision.ASK, f"read all of {names}?", shown, always=False)
        view.wait("")
        self._desk.status.state = ASKING
        verdict = await self._tools.ask(ToolCall(ASKS, shown), wish, self._asks)
        return verdict.allowed and not self.stopped.is_set()

    async def _asks(self) -> None:
        """The question is in sight."""
        self._desk.hint()
        self._desk.attention.wanted(f"{ASKS} asks: {self.conversation.title}")

    def _take(self, prompt: Node, reading: "ReadingByParts") -> None:
        if self.conversation.nodes[prompt.id].text() != reading.prompt:
            self.conversation.update_prompt(prompt.id, reading.prompt)

    async def _show_reading(self, reading: "ReadingByParts", view: "ReadingView") -> None:
        progress, status = reading.progress, self._desk.status
        if status.state == "stopping":
            status.progress = None
        elif progress.parts:
            status.state = f"{progress.doing}:"
            status.progress = Progress(progress.share, progress.figures, f"{progress.share:.0%}")
            view.wait(f"{progress.doing}: {progress.figures}")
        view.show(reading.prompt, reading.text)
