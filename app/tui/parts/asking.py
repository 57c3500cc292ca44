"""Asking and answering in the conversation on the screen: prompts, answers anew or continued, stopping, the queue."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from textual.widget import Widget

from app.chat.commands import BUSY
from app.chat.conversation import NOT_CUT_OFF, Conversation, Node
from app.engine.engine import EngineDied
from app.lines import sentence
from app.tui.parts.desk import Desk
from app.tui.parts.engine import EngineKeeper
from app.tui.parts.journal import Journal
from app.tui.parts.preferences import Preferences
from app.tui.parts.titles import Titles
from app.tui.parts.tools import Tools
from app.tui.widgets.notice import Notice
from app.tui.widgets.status import ASKING, READY, RUNNING
from mlx_model.errors import GptossError
from mlx_model.harmony.message import Message
from mlx_model.options import Options
from mlx_model.request import Request

if TYPE_CHECKING:  # loaded with the first answer
    from app.chat.answer import AnswerRecord
    from app.tui.parts.answering import AnswerStream
    from app.tui.widgets.messages import AnswerView

WRITTEN_KEPT = "What the answer has so far is kept: ^G continues it, ^R begins another."
PROMPT_BACK = "Your message is back in the input."
PREPARING = "getting the tools ready; Esc takes the message back"
HAS_BEGUN = "The answer has begun already."


class AnswerWay(Protocol):
    """How a prompt is answered; `before` is the leaf again if nothing comes of it."""

    def __call__(self, prompt: Node, before: str | None, *, is_new: bool) -> Coroutine[None, None, None]:
        """From the prompt to the footer."""
        ...


@dataclass(frozen=True, slots=True)
class Growing:
    """What comes of the engine, be it one answer or several: how it is saved, its messages, whether it has begun."""

    save: Callable[[], Awaitable[None]]
    messages: Callable[[], Iterable[Message]]
    has_begun: Callable[[], bool]

    @property
    def size(self) -> int:
        """Its characters."""
        return sum(len(message.text) for message in self.messages())


class Asking:
    """Has the conversation on the screen, and asks and answers in it. `welcome` puts the greeting into an empty one.

    Prompts are on the disk before the model sees them, and what it writes is saved once a second. The journal reports
    what goes wrong while saving; here everything continues.
    """

    def __init__(
        self,
        desk: Desk,
        journal: Journal,
        engine: EngineKeeper,
        preferences: Preferences,
        tools: Tools,
        welcome: Callable[[], Awaitable[None]],
    ) -> None:
        self._desk = desk
        self._journal = journal
        self._engine = engine
        self._preferences = preferences
        self._tools = tools
        self._welcome = welcome
        self.conversation = Conversation()
        self.idle = asyncio.Event()
        self.idle.set()
        self.stopped = asyncio.Event()
        """Set from the moment the person stops an answer until it has ended."""
        self._titles = Titles(engine, preferences, tools, self._name)
        self._branched_from: str | None = None
        """The leaf before the person went back to an answer, for the next message to follow that; None otherwise."""
        self._left: list[str] | None = None
        """While the conversation is being left for another: what of it is unsent, for its draft; None otherwise."""

    async def send(self, text: str) -> None:
        """A prompt that does not come from the input: asked now, or later if an answer is under way."""
        if self.idle.is_set():
            self._ask(text, self.conversation.leaf)
        else:
            await self._desk.queue.put(text)

    def again(self, prompt: Node | None = None, answer: AnswerWay | None = None) -> None:
        """Answer a prompt of the path again, by default the last; the previous answer stays as another version."""
        prompt = prompt or self.conversation.last_prompt()
        if prompt is None:
            self._desk.warn("There is no message to answer yet.")
            return
        self._desk.toast.on_sent()
        self.idle.clear()
        self._desk.run((answer or self._answer)(prompt, self._end_branch(), is_new=False), group="answer")

    def go_on(self) -> None:
        """Continue an answer that was cut off, inside the same message; or answer a prompt that has no answer."""
        last = self.cut_off
        if last is None:
            self._desk.warn(NOT_CUT_OFF)
        elif self.is_unanswered or last.parent is None:
            self.again()
        else:
            self._desk.toast.on_sent()
            self.idle.clear()
            prompt = self.conversation.nodes[last.parent]
            self._desk.run(self._answer(prompt, last.id, is_new=False, unfinished=last), group="answer")

    @property
    def cut_off(self) -> Node | None:
        """The answer at the end that can be continued, or the prompt there that has none; None while one is coming."""
        return self.conversation.unfinished if self.idle.is_set() else None

    @property
    def is_unanswered(self) -> bool:
        """Whether there is such a prompt at the end."""
        return self.cut_off is not None and self.cut_off.facts is None

    def _ask(self, text: str, parent: str | None, answer: AnswerWay | None = None) -> None:
        """Ask a new prompt, by default for one answer."""
        self.idle.clear()
        self._desk.queue.go_on()
        before = self._end_branch()
        prompt = self.conversation.add_prompt(text, parent)
        self._desk.run((answer or self._answer)(prompt, before, is_new=True), group="answer")

    def _end_branch(self) -> str | None:
        """Something is asked, in a branch or not; returns the leaf to go back to if nothing comes of it."""
        before, self._branched_from = self._branched_from or self.conversation.leaf, None
        return before

    async def _ask_queued(self) -> None:
        """Ask the first prompt of the queue. Idle only if it is empty: else a new prompt could overtake it."""
        self.idle.clear()
        if (queued := await self._desk.queue.pop()) is not None:
            self._ask(queued, self.conversation.leaf)
        else:
            self.idle.set()

    async def _answer(self, prompt: Node, before: str | None, *, is_new: bool, unfinished: Node | None = None) -> None:
        """Ask and show, from the prompt to the footer; `unfinished` is an answer to continue. If nothing comes of
        it, `before` is the leaf again."""
        from app.chat.answer import AnswerRecord
        from app.tui.parts.answering import AnswerStream
        from app.tui.widgets.messages import AnswerView, switch_of

        await self._titles.stop()
        desk, engine, conversation = self._desk, self._engine, self.conversation
        record = AnswerRecord(desk.effort_switch.effort, unfinished or prompt)
        options = replace(self._preferences.options, effort=record.effort)
        view = AnswerView(record.effort, analysis=self._preferences.analysis, stored=unfinished)
        view.sources.earlier = conversation.path_to(prompt.id)
        stream = AnswerStream(view, desk.status, record, lambda: self._checkpoint(record))
        answer = unfinished or Node(record.id, prompt.id, 0.0, ())
        reasons = self._notices_below(answer)  # of why it was cut off
        if engine.answers:
            stream.begin()
        await self._show_question(prompt, answer, view, is_new=is_new)
        await desk.transcript.remove_children(reasons)
        desk.hint()
        await self._asked(prompt, is_new=is_new)
        growing = Growing(lambda: self._checkpoint(record), lambda: record.messages, lambda: record.has_begun)
        work = self._show_answer(unfinished or prompt, options, record, stream, view)
        has_failed = await self._carry_out(work, growing, is_new=is_new)
        if record.has_begun:
            # An answer that the end of the program has cut off has not failed: its end stays open.
            self._keep(record, None if engine.leaving else "died")
            if record.call_facts:  # most of what it has read leaves the prompt
                desk.status.used, desk.status.estimated = self.conversation.tokens
            engine.alone_tok_s = record.stats.decode_tok_s or engine.alone_tok_s
            await view.finish(record.finished)
            await view.switch(switch_of(conversation, conversation.nodes[answer.id]))
        else:  # nothing came of it: the prompt goes back where it can be changed
            await self._withdraw(prompt, answer, before, is_new=is_new)
        await self._save()
        await self._after(holds=has_failed)

    async def _asked(self, prompt: Node, *, is_new: bool) -> None:
        """Have the prompt on the disk before the model sees it."""
        if is_new:
            await self._save()
            if prompt.parent is None:
                await self._journal.set_draft("", "")  # it is no longer a draft, and this conversation has its own

    async def _show_answer(
        self, node: Node, options: Options, record: "AnswerRecord", stream: "AnswerStream", view: "AnswerView"
    ) -> None:
        """Ask for the answer to a prompt, or for the rest of one, and show it. Raises what the engine raises."""
        from app.chat.loop import turn

        engine, conversation = self._engine, self.conversation
        if not await engine.opened(view, self.stopped):
            return
        messages = conversation.for_engine(node.id)
        if self._tools.names_of(conversation.id):
            view.wait(PREPARING)
        tools = await self._tools.in_turn(conversation, self.stopped)
        instructions = self._tools.instructions(self._preferences.instructions_of(conversation.id))
        self._tools.asks, self._tools.answered = partial(self._person_asked, stream, record), stream.answered
        if not self.stopped.is_set():  # a tool may take its time to get ready
            await stream.run(turn(engine.process, Request(messages, options, instructions), record, tools))

    async def _carry_out(self, work: Coroutine[None, None, None], growing: Growing, *, is_new: bool) -> bool:
        """Does work that asks the engine, and saves once a second what comes; whether it failed, which is said."""
        saving, began, how = asyncio.create_task(self._checkpoints(growing)), monotonic(), "ended"
        try:
            await work
        except EngineDied as death:
            how = "failed"
            await self._engine.bury(death)
        except GptossError as error:
            how = "failed"
            kept = WRITTEN_KEPT if growing.has_begun() else PROMPT_BACK if is_new else ""
            await self._desk.notice(f"{sentence(str(error))} {kept}".rstrip(), "error")
        finally:
            saving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await saving
        self._announce(f"The answer has {how}", monotonic() - began)
        return how == "failed"

    async def _after(self, *, holds: bool) -> None:
        """An answer has ended: ask what is queued next, unless that `holds`, or give the conversation its title."""
        desk, engine = self._desk, self._engine
        holds = holds or self.stopped.is_set() or engine.leaving
        self.stopped.clear()
        desk.unsay(BUSY, HAS_BEGUN)
        if engine.process.alive and desk.status.state not in ("loading", "preparing the kernels", "no model"):
            desk.status.state = READY
        if holds:
            desk.queue.hold()
            self.idle.set()
        else:
            await self._ask_queued()
        if self.idle.is_set():
            self._titles.begin(self.conversation)
        desk.hint()

    def _announce(self, what: str, seconds: float) -> None:
        if not (self.stopped.is_set() or self._engine.leaving):
            self._desk.attention.ended(f"{what}: {self.conversation.title}", seconds)

    async def _show_question(self, prompt: Node, answer: Node, view: Widget, *, is_new: bool) -> None:
        """Bring the prompt and the empty answer to the end of the screen; what follows the prompt now is removed."""
        from app.tui.widgets.messages import Prompt, switch_of

        transcript, path = self._desk.transcript, self.conversation.path_to(prompt.id)
        await self._end_with(path[:-1] if is_new else path)
        if is_new:
            versions = switch_of(self.conversation, prompt)
            await transcript.append(prompt, Prompt(prompt), *([versions] if versions else []))
        await transcript.append(answer, view)
        transcript.follow()

    def _notices_below(self, node: Node) -> list[Notice]:
        return [each for each in self._desk.transcript.below(node.id) if isinstance(each, Notice)]

    async def _withdraw(self, prompt: Node, answer: Node, before: str | None, *, is_new: bool) -> None:
        why = self._notices_below(answer)
        path = self.conversation.path_to(prompt.id)
        if is_new:
            await self._end_with(path[:-1])
            self.conversation.withdraw(prompt.id, before)
            if self._left is None:
                self._desk.composer.put_back(prompt.text())
            else:
                self._left.append(prompt.text())
        if self.conversation.path != path[:-1]:  # an edit, or another version: show again what was there
            await self.show(keep=why)

    async def _end_with(self, path: list[Node]) -> None:
        """Show this path and nothing after it."""
        if not await self._desk.transcript.cut(path):
            await self._desk.transcript.show(path, self._build)

    async def _person_asked(self, stream: "AnswerStream", record: "AnswerRecord", tool: str) -> None:
        """A call waits for the person."""
        await self._checkpoint(record)
        stream.ask()
        self._desk.attention.wanted(f"{tool} asks: {self.conversation.title}")

    async def _checkpoint(self, record: "AnswerRecord") -> None:
        self._keep(record)
        await self._journal.save(self.conversation)

    async def _checkpoints(self, growing: Growing) -> None:
        from app.chat.answer import CHECKPOINT_S

        saved = growing.size
        while True:
            await asyncio.sleep(CHECKPOINT_S)
            if (size := growing.size) > saved:
                await growing.save()
                saved = size

    def _keep(self, record: "AnswerRecord", unfinished: str | None = None) -> None:
        """Put what has come of an answer into the conversation; `unfinished` as for AnswerRecord.keep_in."""
        record.model = self._engine.label
        record.keep_in(self.conversation, monotonic(), unfinished)

    async def stop(self) -> None:
        """Stop the answer under way; what is queued waits."""
        if not self.idle.is_set():
            self.stopped.set()
            self._desk.status.state = "stopping"
            self._tools.stop()
            await self._engine.process.cancel()

    async def answer_now(self) -> None:
        """End the thought under way, or one that is yet to come, so that the answer begins."""
        if self.idle.is_set():
            self._desk.warn("No answer is under way.")
        elif self._desk.status.state == "answering":
            self._desk.warn(HAS_BEGUN)
        elif self._desk.status.state in (RUNNING, ASKING):
            self._desk.warn("The model waits for its tool.")
        else:
            if self._desk.status.state != "thinking":
                self._desk.notify("It will answer without thinking.")
            try:
                await self._engine.process.answer_now()
            except GptossError as error:  # that of a foreign server can't
                self._desk.warn(sentence(str(error)))

    # On the screen and on the disk

    async def show(self, at: str | None = None, keep: Sequence[Notice] = ()) -> list[Widget]:
        """Show the conversation again: its end, or one node, whose widgets are returned. Notices to `keep` stay."""
        desk, path = self._desk, self.conversation.path
        desk.status.used, desk.status.estimated = self.conversation.tokens
        views = await desk.transcript.show(path, self._build, at, keep)
        if not path:
            await self._welcome()
        return views

    def _build(self, node: Node) -> list[Widget]:
        from app.tui.widgets.messages import views_of

        # The transcript has nodes as they were when they came to it: an answer that has grown since, empty.
        return views_of(self.conversation, self.conversation.nodes[node.id], self._preferences.analysis)

    async def _save(self) -> None:
        await self._journal.save(self.conversation)
        await self._desk.saved()

    async def _name(self, conversation: Conversation, title: str) -> None:
        if conversation is self.conversation:
            conversation.rename(title)
            await self._save()
