"""The conversation on the screen: ask, regenerate, edit, switch versions, queue, open another; all of it saved."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from time import monotonic

from textual.widget import Widget

from app.chat.answer import CHECKPOINT_S, AnswerRecord
from app.chat.commands import BUSY
from app.chat.conversation import NOT_CUT_OFF, Conversation, Node
from app.chat.loop import turn
from app.documents.attachments import merge
from app.engine.engine import EngineDied
from app.lines import sentence
from app.tui.parts.answering import AnswerStream
from app.tui.parts.desk import Desk
from app.tui.parts.engine import EngineKeeper
from app.tui.parts.journal import Journal
from app.tui.parts.preferences import Preferences
from app.tui.parts.titles import Titles
from app.tui.widgets.messages import AnswerView, Notice, Prompt, switch_of, views_of
from app.tui.widgets.transcript import HIT, Marks
from mlx_model.errors import GptossError
from mlx_model.request import Request
from mlx_model.text import clean


class ConversationKeeper:
    """Owns the conversation. The app calls the methods here for its commands, those that wait for the end of an answer
    (app.chat.commands) only then. `welcome` puts the greeting into an empty conversation.

    Prompts are on the disk before the model sees them, and what it writes is saved once a second. The journal reports
    what goes wrong while saving; here everything continues.
    """

    def __init__(
        self,
        desk: Desk,
        journal: Journal,
        engine: EngineKeeper,
        preferences: Preferences,
        welcome: Callable[[], Awaitable[None]],
    ) -> None:
        self._desk = desk
        self._journal = journal
        self._engine = engine
        self._preferences = preferences
        self._welcome = welcome
        self.conversation = Conversation()
        self.idle = asyncio.Event()
        self.idle.set()
        self.stopped = asyncio.Event()
        """Set from the moment the person stops an answer until it has ended."""
        self._titles = Titles(engine, preferences, self._name)
        self._editing: Node | None = None
        self._set_aside = ""  # what stood in the input before an earlier prompt was taken there

    # Asking

    async def submit(self, text: str) -> None:
        """A prompt from the input: asked now, as another version of an earlier one, or later if an answer is under
        way. An empty one sends what is queued."""
        desk = self._desk
        if not self.idle.is_set():
            if text.strip():
                desk.composer.take(text)
                await desk.queue.put(text)
            return
        if not text.strip():
            await self._ask_queued()
            return
        desk.composer.take(text)
        edited = self._editing
        self._set_editing(None)
        if edited is not None:
            desk.composer.put_back(self._set_aside)
            desk.hint()
        self._ask(text, self.conversation.leaf if edited is None else edited.parent)

    async def send(self, text: str) -> None:
        """A prompt that does not come from the input: asked now, or later if an answer is under way."""
        if self.idle.is_set():
            self._ask(text, self.conversation.leaf)
        else:
            await self._desk.queue.put(text)

    def again(self) -> None:
        """Regenerate the last answer; the previous one stays as another version."""
        prompt = self.conversation.last_prompt()
        if prompt is None:
            self._desk.warn("There is nothing to regenerate yet.")
            return
        self.idle.clear()
        self._desk.run(self._answer(prompt, self.conversation.leaf, is_new=False), group="answer")

    def go_on(self) -> None:
        """Continue an answer that was cut off, inside the same message; or answer a prompt that has no answer."""
        last = self.cut_off
        if last is None:
            self._desk.warn(NOT_CUT_OFF)
        elif last.facts is None or last.parent is None:
            self.again()
        else:
            self.idle.clear()
            prompt = self.conversation.nodes[last.parent]
            self._desk.run(self._answer(prompt, last.id, is_new=False, unfinished=last), group="answer")

    @property
    def cut_off(self) -> Node | None:
        """The answer at the end that can be continued, or the prompt there that has none; None while one is coming."""
        return self.conversation.unfinished if self.idle.is_set() else None

    def _ask(self, text: str, parent: str | None) -> None:
        self.idle.clear()
        self._desk.queue.go_on()
        before = self.conversation.leaf
        prompt = self.conversation.add_prompt(text, parent)
        self._desk.run(self._answer(prompt, before, is_new=True), group="answer")

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
        await self._titles.stop()
        desk, engine, conversation = self._desk, self._engine, self.conversation
        record = AnswerRecord(desk.effort_switch.effort, unfinished or prompt)
        options = replace(self._preferences.options, effort=record.effort)
        view = AnswerView(options.effort, analysis=self._preferences.analysis, stored=unfinished)
        stream = AnswerStream(view, desk.status, record)
        answer = unfinished or Node(record.id, prompt.id, 0.0, ())
        reasons = self._notices_below(answer)  # of why it was cut off
        await self._show_question(prompt, answer, view, is_new=is_new)
        await desk.transcript.remove_children(reasons)
        desk.hint()
        if is_new:
            await self._save()
            if prompt.parent is None:
                await self._journal.set_draft("", "")  # it is no longer a draft, and this conversation has its own
        saving = asyncio.create_task(self._checkpoints(record))
        died = failed = False
        try:
            if await engine.opened(view, self.stopped):
                messages = conversation.for_engine(unfinished.id if unfinished else prompt.id)
                request = Request(messages, options, self._preferences.instructions_of(conversation.id))
                await stream.run(turn(engine.process, request, record))
        except EngineDied as death:
            died = True
            await engine.bury(death)
        except GptossError as error:
            failed = True
            await desk.notice(sentence(str(error)), "error")
        finally:
            saving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await saving
        if record.has_begun:
            # An answer that the end of the program has cut off has not failed: its end stays open.
            self._keep(record, None if engine.leaving else "died")
            await view.finish(record.finished)
            await view.switch(switch_of(conversation, conversation.nodes[answer.id]))
        else:  # nothing came of it: the prompt goes back where it can be changed
            await self._withdraw(prompt, answer, before, is_new=is_new)
        await self._save()
        stopped = self.stopped.is_set()
        self.stopped.clear()
        if engine.process.alive and desk.status.state not in ("loading", "no model"):
            desk.status.state = "ready"
        if stopped or died or failed or engine.leaving:
            desk.queue.hold()
            self.idle.set()
        else:
            await self._ask_queued()
        if self.idle.is_set():
            self._titles.begin(conversation)
        desk.hint()

    async def _show_question(self, prompt: Node, answer: Node, view: AnswerView, *, is_new: bool) -> None:
        """Bring the prompt and the empty answer to the end of the screen; what follows the prompt now is removed."""
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
            self._desk.composer.put_back(prompt.text())
        if self.conversation.path != path[:-1]:  # an edit, or another version: show again what was there
            await self.show(keep=why)

    async def _end_with(self, path: list[Node]) -> None:
        """Show this path and nothing after it."""
        if not await self._desk.transcript.cut(path):
            await self._desk.transcript.show(path, self._build)

    async def _checkpoints(self, record: AnswerRecord) -> None:
        saved = sum(len(message.text) for message in record.messages)
        while True:
            await asyncio.sleep(CHECKPOINT_S)
            if (size := sum(len(message.text) for message in record.messages)) > saved:
                self._keep(record)
                await self._journal.save(self.conversation)
                saved = size

    def _keep(self, record: AnswerRecord, unfinished: str | None = None) -> None:
        """Put what has come of an answer into the conversation; `unfinished` as for AnswerRecord.keep_in."""
        record.model = self._engine.model
        record.keep_in(self.conversation, monotonic(), unfinished)

    async def stop(self) -> None:
        """Stop the answer under way; what is queued waits."""
        if not self.idle.is_set():
            self.stopped.set()
            self._desk.status.state = "stopping"
            await self._engine.process.cancel()

    async def answer_now(self) -> None:
        """End the thought under way, or one that is yet to come, so that the answer begins."""
        if self.idle.is_set():
            self._desk.warn("No answer is under way.")
        elif self._desk.status.state == "answering":
            self._desk.warn("The answer has begun already.")
        else:
            if self._desk.status.state != "thinking":
                self._desk.notify("It will answer without thinking.")
            await self._engine.process.answer_now()

    # Versions

    def edit(self) -> None:
        """Take the last prompt into the input, to send another version of it; again: the one before."""
        desk = self._desk
        prompts = [node for node in self.conversation.path if node.is_prompt]
        if not prompts:
            desk.warn("There is no message to edit yet.")
            return
        if self._editing is None:
            self._set_aside = desk.composer.prompt
        at = prompts.index(self._editing) if self._editing in prompts else len(prompts)
        prompt = prompts[max(0, at - 1)]
        self._set_editing(prompt)
        desk.composer.clear_prompt()
        desk.composer.put_back(prompt.text())
        desk.composer.focus()
        desk.hint()

    @property
    def editing(self) -> bool:
        """Whether the input holds an earlier prompt."""
        return self._editing is not None

    def _set_editing(self, prompt: Node | None) -> None:
        self._editing = prompt
        self._desk.composer.takes_commands = prompt is None

    def leave_edit(self) -> None:
        """Cancel an edit: the input has again what was in it before."""
        if self._editing is not None:
            self._set_editing(None)
            self._desk.composer.clear_prompt()
            self._desk.composer.put_back(self._set_aside)
            self._desk.hint()

    async def switch(self, step: int, id: str | None = None) -> None:
        """Show another version of a node, or by default the next of all paths; after the last comes the first.

        The next path differs as far down as possible: every version of an answer comes before another prompt.
        """
        conversation = self.conversation
        leaves, on_path = conversation.leaves(), {node.id for node in conversation.path}
        if len(leaves) < 2 or not self.idle.is_set():
            self._desk.warn("There are no other versions here." if self.idle.is_set() else BUSY)
            return
        if id is None:
            at = leaves.index(conversation.leaf) if conversation.leaf in leaves else -1
            conversation.select(leaves[(at + step) % len(leaves)])
            other = next(node.id for node in conversation.path if node.id not in on_path)
        else:
            versions = [node.id for node in conversation.versions(conversation.nodes[id])]
            other = versions[(versions.index(id) + step) % len(versions)]
            conversation.select(other)
        await self.show(at=other)
        await self._save()

    # Conversations

    async def new(self) -> None:
        """Stop what is under way and start an empty conversation; the text in the input stays."""
        await self._leave(with_input=False)
        unsent = self._unsent()
        await self._enter(Conversation(), unsent)
        await self._entered("" if unsent else await self._journal.draft(""))
        await self._desk.saved()

    async def open(self, id: str, at: str | None = None, channel: str | None = None, words: Sequence[str] = ()) -> bool:
        """Stop what is under way and show another conversation, its end or a node of it; false if it is gone.

        In the node, what is closed of `channel` is opened, and `words`, which are folded, are marked. In the
        conversation that is on the screen already, an answer under way goes on.
        """
        desk = self._desk
        if id != self.conversation.id:
            try:
                conversation = await self._journal.load(id)
            except GptossError as error:
                desk.notify(sentence(str(error)), severity="error")
                return False
            if conversation is None:
                desk.warn("That conversation no longer exists: another program has deleted it.")
                return False
            draft = await self._journal.draft(id)
            await self._leave(with_input=True)
            await self._enter(conversation, draft)
            await self._preferences.enter(id)
            await self._entered("", at, channel, words)
            return True
        if self.idle.is_set():
            await self._go_to(at, channel, words)
        elif at is not None:
            desk.transcript.unmark()
            if found := desk.transcript.reveal(at):
                self._mark(found, channel, words)
            else:
                desk.warn(BUSY)
        return True

    async def refresh(self) -> None:
        """Show what was added to the conversation other than by this chat; an answer under way is not disturbed."""
        conversation = await self._journal.load(self.conversation.id)
        if conversation is not None and self.idle.is_set() and conversation.id == self.conversation.id:
            self.conversation = conversation
            await self.show()

    async def _leave(self, *, with_input: bool) -> None:
        """Stop, and save as the conversation's draft what is queued in it and, `with_input`, what is unsent."""

        await self._titles.stop()

        def draft() -> str:
            return merge([*self._desk.queue.texts, *([self._unsent()] if with_input else [])])

        saved: str | None = None
        while not self.idle.is_set() or saved != draft():  # meanwhile something may be typed, sent, or come back
            await self.stop()
            await self.idle.wait()
            saved = draft()
            await self._save_draft(saved)

    async def _enter(self, conversation: Conversation, draft: str) -> None:
        """Make another conversation the current one, with its draft in the input. The previous one has been left."""
        self.conversation = conversation
        self._set_editing(None)
        self._desk.composer.clear_prompt()
        self._desk.composer.put_back(draft)  # at once: whoever opens one more at the next await cancels this
        await self._desk.queue.remove_children()

    async def _entered(
        self, draft: str, at: str | None = None, channel: str | None = None, words: Sequence[str] = ()
    ) -> None:
        desk = self._desk
        desk.composer.put_back(draft)
        desk.hint()
        await self._go_to(at, channel, words)
        desk.composer.focus()

    async def _go_to(self, at: str | None, channel: str | None, words: Sequence[str]) -> None:
        if at is not None and at in self.conversation.nodes:
            if at not in {node.id for node in self.conversation.path}:
                self.conversation.select(at)
            self._mark(await self.show(at=at), channel, words)
        else:
            await self.show()

    def _mark(self, found: Sequence[Widget], channel: str | None, words: Sequence[str]) -> None:
        for view in found:
            view.add_class(HIT)
            if isinstance(view, AnswerView):
                view.reveal(channel)
            if isinstance(view, Marks):
                view.mark(words)

    async def show(self, at: str | None = None, keep: Sequence[Notice] = ()) -> list[Widget]:
        """Show the conversation again: its end, or one node, whose widgets are returned. Notices to `keep` stay."""
        desk, path = self._desk, self.conversation.path
        desk.status.used = self.conversation.tokens
        views = await desk.transcript.show(path, self._build, at, keep)
        if not path:
            await self._welcome()
        return views

    def _build(self, node: Node) -> list[Widget]:
        # The transcript has nodes as they were when they came to it: an answer that has grown since, empty.
        return views_of(self.conversation, self.conversation.nodes[node.id], self._preferences.analysis)

    # Saving

    async def _save(self) -> None:
        await self._journal.save(self.conversation)
        await self._desk.saved()

    async def save_draft(self) -> None:
        """Save what is in the input and in the queue for the next start."""
        await self._save_draft(merge([*self._desk.queue.texts, self._unsent()]))

    def _unsent(self) -> str:
        """What the input holds; during an edit what that has set aside, and the edit itself if it changed anything."""
        typed = self._desk.composer.prompt
        if self._editing is None:
            return typed
        return merge([self._set_aside, typed if typed != clean(self._editing.text()) else ""])

    async def _save_draft(self, text: str) -> None:
        id = self.conversation.id if self.conversation.nodes else ""  # an empty conversation has no draft of its own
        await self._journal.set_draft(id, text)

    async def rename(self, title: str) -> None:
        """Give the conversation another title."""
        self.conversation.rename(title)
        await self._save()

    async def _name(self, conversation: Conversation, title: str) -> None:
        if conversation is self.conversation:
            await self.rename(title)
