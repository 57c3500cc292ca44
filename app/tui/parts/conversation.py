"""Which conversation is on the screen, and which path of it: edits, versions, opening another; and its draft."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from textual.widget import Widget

from app.chat.conversation import BlockRun, Conversation, Node
from app.chat.plan import Plan
from app.documents.attachments import merge
from app.lines import sentence
from app.tui.parts.by_parts import ByParts
from app.tui.parts.desk import Desk
from app.tui.parts.engine import EngineKeeper
from app.tui.parts.journal import Journal
from app.tui.parts.preferences import Preferences
from app.tui.parts.tools import Tools
from app.tui.widgets.transcript import HIT, Marks
from mlx_model.errors import GptossError


class ConversationKeeper(ByParts):
    """Owns the conversation. The app calls the methods here for its commands, those that wait for the end of an answer
    (app.chat.commands) only then."""

    def __init__(
        self,
        desk: Desk,
        journal: Journal,
        engine: EngineKeeper,
        preferences: Preferences,
        tools: Tools,
        welcome: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(desk, journal, engine, preferences, tools, welcome)
        self.before_leaving: Callable[[], Awaitable[None]] = _nothing
        """Ends what goes on in the conversation besides answers."""
        self._editing: Node | None = None
        self._edit_began = ""  # what stood in the input when the edit began
        self._set_aside = ""  # what stood in the input before an earlier prompt was taken there

    async def submit(self, text: str, plan: Plan | None = None) -> None:
        """A prompt from the input: asked now, as another version of an earlier one, or later if an answer is under
        way. An empty one sends what is queued. With a `plan`, which none that waits has, several answers are asked
        for."""
        desk = self._desk
        if not self.idle.is_set():
            if text.strip():
                await desk.queue.put(text)
            return
        if not text.strip():
            await self._ask_queued()
            return
        edited = self._editing
        self._set_editing(None)
        if edited is not None:
            desk.composer.put_back(self._set_aside)
            desk.hint()
        way = None if plan is None else partial(self._answer_several, plan)
        self._ask(text, self.conversation.leaf if edited is None else edited.parent, way)

    # Versions

    def edit(self, prompt: Node | None = None) -> None:
        """Take a prompt of the path into the input, to send another version of it; by default the last one, or the one
        before that which is being edited."""
        desk = self._desk
        prompts = [node for node in self.conversation.path if node.is_prompt]
        if not prompts:
            desk.warn("There is no message to edit yet.")
            return
        if self._editing is None:
            self._set_aside = desk.composer.unsent
        if prompt is None:
            at = prompts.index(self._editing) if self._editing in prompts else len(prompts)
            prompt = prompts[max(0, at - 1)]
        self._set_editing(prompt)
        desk.composer.withdraw()
        desk.composer.put_back(prompt.text())
        self._edit_began = desk.composer.prompt
        desk.focus(desk.composer)
        desk.clear_notifications()  # the hint says how to leave
        desk.hint()

    @property
    def editing(self) -> bool:
        """Whether the input holds an earlier prompt."""
        return self._editing is not None

    def _set_editing(self, prompt: Node | None) -> None:
        self._editing = prompt
        self._desk.composer.takes_commands = prompt is None
        self._desk.transcript.mark_edited(prompt.id if prompt else None)

    def leave_edit(self) -> None:
        """Cancel an edit: the input has again what was in it before."""
        if self._editing is not None:
            self._set_editing(None)
            self._desk.composer.clear_prompt()
            self._desk.composer.put_back(self._set_aside)
            self._desk.hint()

    @property
    def branching(self) -> bool:
        """Whether the next message follows an earlier answer, up to which the conversation is shown."""
        return self._branched_from is not None

    async def branch(self, answer: Node) -> None:
        """Let the next message follow this answer of the path; what has followed it so far stays as another version."""
        if answer.id != self.conversation.leaf:
            self._branched_from = self._branched_from or self.conversation.leaf
            self.conversation.end_at(answer.id)
            await self.show()
        else:
            self._desk.notify("The next message follows this answer already.")
        self._desk.hint()

    async def leave_branch(self) -> None:
        """Show again what follows: nothing was asked."""
        if self._branched_from is not None:
            answer = self.conversation.leaf
            self.conversation.end_at(self._end_branch())
            await self.show(at=answer)
            self._desk.hint()

    async def switch(self, step: int, id: str | None = None) -> None:
        """Show another version of a node, or by default the next of all paths; after the last comes the first.

        The next path differs as far down as possible: every version of an answer comes before another prompt.
        """
        conversation = self.conversation
        leaves, on_path = conversation.leaves(), {node.id for node in conversation.path}
        if len(leaves) < 2 or not self.idle.is_set():
            if self.idle.is_set():
                self._desk.warn("There are no other versions here.")
            else:
                self._desk.warn_busy()
            return
        self._branched_from = None
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
        """Stop what is under way and start an empty conversation; the text in the input stays, below what was kept of
        the last one that was not sent."""
        await self._leave()
        unsent = self._unsent(self._desk.composer.prompt)  # what is on the way is for the new chat
        await self._enter(Conversation(), unsent)
        await self._entered(await self._journal.draft(""))
        await self._desk.saved()

    async def open(
        self,
        id: str,
        at: str | None = None,
        channel: str | None = None,
        words: Sequence[str] = (),
        *,
        left: str | None = None,
        typed: str = "",
    ) -> bool:
        """Stop what is under way and show another conversation, its end or a node of it; false if it is gone.

        What is unsent stays with the conversation that is left, as its draft, and what is typed from now on goes into
        the other, behind `typed`; or what was typed already, if it is said what is `left`. In the node, what is closed
        of `channel` is opened, and `words`, which are folded, are marked. In the conversation that is on the screen
        already, an answer under way goes on.
        """
        desk = self._desk
        if id != self.conversation.id:
            unsent = self._set_unsent_aside() if left is None else left
            desk.composer.write(typed)
            aside = self._left = [*(self._left or []), unsent]  # also that of an opening which this one cancels
            try:
                conversation = await self._load(id)
                if conversation is None:
                    return False
                draft = await self._journal.draft(id)
                await self._leave()
                typed = desk.composer.prompt
                aside.clear()
                await self._enter(conversation, merge([draft, typed]))
            finally:
                if self._left is aside:
                    self._left = None
                    if kept := merge(aside):
                        desk.composer.put_back(kept)
            await self._preferences.enter(id)
            await self._tools.enter(id)
            await self._entered("", at, channel, words)
            return True
        if self.idle.is_set():
            await self._go_to(at, channel, words)
        elif at is not None:
            desk.transcript.unmark()
            if found := desk.transcript.reveal(at):
                self._mark(found, channel, words)
            else:
                desk.warn_busy()
        return True

    async def refresh(self) -> None:
        """Show what was added to the conversation other than by this chat; an answer under way is not disturbed."""
        conversation = await self._journal.load(self.conversation.id)
        if conversation is not None and self.idle.is_set() and conversation.id == self.conversation.id:
            self._branched_from = None
            self.conversation = conversation
            await self.show()

    async def _load(self, id: str) -> Conversation | None:
        try:
            conversation = await self._journal.load(id)
        except GptossError as error:
            self._desk.notify(sentence(str(error)), severity="error")
            return None
        if conversation is None:
            self._desk.warn("That conversation no longer exists: another program has deleted it.")
        return conversation

    def _set_unsent_aside(self) -> str:
        """Empty the input, with what is on the way from it; returns all that was unsent."""
        unsent = self._unsent(self._desk.composer.unsent)
        self._set_editing(None)
        self._desk.composer.withdraw()
        return unsent

    async def _leave(self) -> None:
        """Stop, and save as the conversation's draft what is queued in it and what of it is set aside."""

        self._desk.composer.hold()
        await self._titles.stop()
        await self.before_leaving()
        self.abandon()

        def draft() -> str:
            return merge([*self._desk.queue.texts, *(self._left or [])])

        saved: str | None = None
        while not self.idle.is_set() or saved != draft():  # meanwhile something may be typed, sent, or come back
            await self.stop()
            await self.idle.wait()
            saved = draft()
            await self._save_draft(saved)
        await self._forget_branch()

    async def _forget_branch(self) -> None:
        """Leave the conversation with the path that it had before the branch, in which nothing was asked."""
        if self._branched_from is not None:
            self.conversation.end_at(self._end_branch())
            await self._journal.save(self.conversation)

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

    async def _go_to(self, at: str | None, channel: str | None, words: Sequence[str]) -> None:
        if at is not None and at in self.conversation.nodes:
            if at not in {node.id for node in self.conversation.path}:
                self._branched_from = None
                self.conversation.select(at)
            self._mark(await self.show(at=at), channel, words)
        else:
            await self.show()

    def _mark(self, found: Sequence[Widget], channel: str | None, words: Sequence[str]) -> None:
        from app.tui.widgets.messages import AnswerView

        for view in found:
            view.add_class(HIT)
            if isinstance(view, AnswerView):
                view.reveal(channel)
            if isinstance(view, Marks):
                view.mark(words)

    async def rename(self, title: str) -> None:
        """Give the conversation another title."""
        self.conversation.rename(title)
        await self._save()

    # What came of code blocks; another conversation than that on the screen is left alone, it may have been deleted

    async def keep_run(self, conversation: str, id: str, run: BlockRun) -> None:
        """Keep it with an answer; it is on the disk when this returns, unless the journal has reported."""
        if conversation == self.conversation.id and id in self.conversation.nodes:
            self.conversation.keep_run(id, run)
            await self._journal.save(self.conversation)

    async def drop_run(self, conversation: str, id: str, block: int) -> None:
        """Keep nothing of a code block."""
        if conversation == self.conversation.id and id in self.conversation.nodes:
            self.conversation.drop_run(id, block)
            await self._journal.save(self.conversation)

    # Drafts

    async def save_draft(self) -> None:
        """Save what is in the input and in the queue for the next start."""
        typed = [self._unsent(self._desk.composer.unsent)] if self._left is None else self._left
        await self._save_draft(merge([*self._desk.queue.texts, *typed]))

    async def close(self) -> None:
        """The chat ends: save what has not been sent."""
        await self._forget_branch()
        await self.save_draft()

    def _unsent(self, typed: str) -> str:
        """What was `typed`; during an edit what that has set aside, and the edit itself if it changed anything."""
        if self._editing is None:
            return typed
        return merge([self._set_aside, typed if typed != self._edit_began else ""])

    async def _save_draft(self, text: str) -> None:
        id = self.conversation.id if self.conversation.nodes else ""  # an empty conversation has no draft of its own
        await self._journal.set_draft(id, text)


async def _nothing() -> None:
    """There is nothing to end."""
