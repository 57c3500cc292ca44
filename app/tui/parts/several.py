"""Several answers to one prompt on the screen, and what is made of them: each of them stays as a version."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from app.chat.conversation import Node
from app.chat.plan import Plan
from app.engine.protocol import Answer
from app.lines import sentence
from app.tui.parts.asking import Asking, Growing
from mlx_model.errors import RequestError
from mlx_model.request import Request

if TYPE_CHECKING:  # loaded when several answers are asked for
    from app.chat.answer import AnswerRecord
    from app.chat.pro import Further, Pro
    from app.tui.parts.pro_stream import ProStream
    from app.tui.widgets.pro import ProView

TOOLS_OFF = "tools are off meanwhile"


class Several(Asking):
    """Asks for several answers at once, and for what is made of them."""

    plan = Plan()
    """How many and in which way where nobody says so: as the last time."""
    _pro: "Pro | None" = None  # the answers under way

    def abandon(self) -> None:
        """The conversation is being left: what is stopped now is all there is."""
        if self._pro is not None:
            self._pro.is_abandoned = True

    def again_several(self, plan: Plan, prompt: Node | None = None) -> None:
        """Answer a prompt of the path again, by default the last; previous answers stay as other versions."""
        self.again(prompt, partial(self._answer_several, plan))

    async def _answer_several(self, plan: Plan, prompt: Node, before: str | None, *, is_new: bool) -> None:
        """See AnswerWay."""
        from app.chat.answer import AnswerRecord
        from app.chat.pro import Pro, alone_speed
        from app.tui.parts.pro_stream import ProStream
        from app.tui.widgets.pro import ProView

        await self._titles.stop()
        desk, engine, conversation = self._desk, self._engine, self.conversation
        effort = desk.effort_switch.effort
        options = replace(self._preferences.options, effort=effort)
        instructions = self._preferences.instructions_of(conversation.id)
        records = [AnswerRecord(effort, prompt) for _ in range(plan.count)]
        first = Node(records[0].id, prompt.id, 0.0, ())
        try:
            pro = Pro(Request(conversation.for_engine(prompt.id), options, instructions), records, plan.combine)
        except RequestError as error:  # the options have changed since it was asked for
            desk.warn(sentence(str(error)))
            await self._withdraw(prompt, first, before, is_new=is_new)
            await self._after(holds=True)
            return
        self._pro, view = pro, ProView(plan.count)
        notes = [TOOLS_OFF] if self._tools.names_of(conversation.id) else []
        stream = ProStream(pro, view, desk.status, engine.alone_tok_s or alone_speed(conversation, engine.label), notes)
        await self._show_question(prompt, first, view, is_new=is_new)
        desk.hint()
        await self._asked(prompt, is_new=is_new)
        growing = Growing(
            partial(self._save_several, pro, stream),
            lambda: [message for record in pro.all_records for message in record.messages],
            lambda: pro.answer is not None,
        )
        work = self._show_several(pro, stream, view, partial(AnswerRecord, effort, prompt))
        has_failed = await self._carry_out(work, growing, is_new=is_new)
        self._pro = None
        if pro.answer is not None:
            self._keep_several(pro, stream, None if engine.leaving else "died")
            await self.show(keep=self._notices_below(first))
        else:
            await self._withdraw(prompt, first, before, is_new=is_new)
        await self._save()
        await self._after(holds=has_failed)

    async def _show_several(
        self, pro: "Pro", stream: "ProStream", view: "ProView", new_record: "partial[AnswerRecord]"
    ) -> None:
        """Ask, and show what comes. Raises what the engine raises."""
        from app.chat.pro import Further

        if not await self._engine.opened(view, self.stopped):
            return
        view.wait("")
        stream.begin()
        try:
            async with aclosing(pro.events(self._engine.process, new_record, self.stopped.is_set)) as events:
                async for event in events:
                    if isinstance(event, Further):
                        await self._show_further(pro, stream, event, events)
                    else:
                        if event in pro.ended:  # it is on the disk before it is on the screen
                            await self._save_several(pro, stream)
                        stream.show(event)
        finally:
            await stream.close()

    async def _show_further(
        self, pro: "Pro", stream: "ProStream", first: "Further", others: "AsyncGenerator[int | Further, None]"
    ) -> None:
        """Show the answer that is written from the others as any other, and a choice by what it does alone."""
        from app.chat.pro import Further
        from app.tui.parts.answering import AnswerStream
        from app.tui.widgets.messages import AnswerView

        stream.begin_further()
        if pro.is_choosing or pro.further is None:
            return
        record, prompt = pro.further, self.conversation.last_prompt()
        view = AnswerView(record.effort, analysis=self._preferences.analysis)
        view.sources.earlier = self.conversation.path_to(prompt.id if prompt else None)
        await self._desk.transcript.add(view)

        async def answers() -> AsyncGenerator[Answer, None]:
            yield first.answer
            async for event in others:
                assert isinstance(event, Further)
                stream.poke()
                yield event.answer

        await AnswerStream(view, self._desk.status, record, partial(self._save_several, pro, stream)).run(answers())

    def _keep_several(self, pro: "Pro", stream: "ProStream", unfinished: str | None = None) -> None:
        for record in pro.all_records:
            record.model = self._engine.label
        pro.keep_in(self.conversation, stream.alone_tok_s, unfinished)

    async def _save_several(self, pro: "Pro", stream: "ProStream") -> None:
        self._keep_several(pro, stream)
        await self._journal.save(self.conversation)
