"""The chat: makes its parts, starts and ends, and passes on what the widgets report."""

import asyncio
import contextlib
import gc
import os
import signal
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import events, work
from textual.binding import Binding, BindingType
from textual.notifications import SeverityLevel
from textual.timer import Timer
from textual.widgets import TextArea
from textual.worker import WorkerCancelled, WorkerFailed

from app.chat.commands import COMMANDS
from app.engine.client import EngineClient
from app.engine.engine import Engine
from app.engine.protocol import Load
from app.settings import Settings
from app.tui.actions import Actions
from app.tui.ahead import load_ahead
from app.tui.layout import Layout
from app.tui.parts.attention import Attention
from app.tui.parts.conversation import ConversationKeeper
from app.tui.parts.counting import Counting
from app.tui.parts.desk import Desk
from app.tui.parts.engine import EngineKeeper
from app.tui.parts.hints import Hints
from app.tui.parts.journal import Journal
from app.tui.parts.keys import Keys
from app.tui.parts.library import Library
from app.tui.parts.models import Models
from app.tui.parts.preferences import Preferences
from app.tui.parts.selection import Selection
from app.tui.parts.submitting import Submitting
from app.tui.parts.themes import Themes
from app.tui.parts.tools import Tools
from app.tui.terminal.hang_up import HangUp
from app.tui.terminal.suspension import suspend_between_steps
from app.tui.widgets.approval import ApprovalBar
from app.tui.widgets.composer import Composer
from app.tui.widgets.download_panel import DownloadPanel
from app.tui.widgets.input_area import InputArea
from app.tui.widgets.queue import Queue
from app.tui.widgets.selection import MessageKeys
from app.tui.widgets.sidebar import Sidebar
from app.tui.widgets.status import EffortSwitch
from app.tui.widgets.welcome import Welcome
from mlx_model.options import Options

if TYPE_CHECKING:
    from app.tui.widgets.versions import VersionSwitch

UNSAVED = "Not everything is saved. /export FILE saves this conversation elsewhere; ^Q again quits without saving."
DRAFT_S = 1.0
"""How long typing must rest before the draft is saved."""


class ChatApp(Actions, Layout, inherit_bindings=False):
    """The terminal chat. The engine starts after the first paint, so that typing is possible at once.

    `load` says which model to load, and how; `engine` stands in for the engine process, in tests or because it is on
    another computer, which `server` names then, or because other programs may ask it too, at the URL `shared_at`.
    `options` and `instructions` are those of the command line, completed from the `settings`, whose other values hold
    as they are. It opens with the conversation that was last used, if it is to `resume`, and sends the `prompt`, if
    there is one.
    """

    TITLE = "gptoss-chat"
    BINDINGS: ClassVar[list[BindingType]] = [
        # With priority over the input (which has its own Ctrl+E), except for Esc, which also closes help and palette.
        *(Binding(c.key, c.action, show=False, priority=c.key != "escape") for c in COMMANDS if c.key),
        Binding("ctrl+c", "help_quit", show=False, system=True),
    ]
    ENABLE_COMMAND_PALETTE = False  # Textual's; ours is a screen of its own

    def __init__(
        self,
        load: Load | None = None,
        options: Options | None = None,
        instructions: str | None = None,
        engine: Engine | None = None,
        settings: Settings | None = None,
        *,
        server: str = "",
        shared_at: str = "",
        prompt: str = "",
        resume: bool = False,
    ) -> None:
        with contextlib.suppress(ImportError):  # without the guard if Textual moves its parser
            from app.tui.terminal import paste_guard

            paste_guard.install()
        # Without this Textual would turn colours into shades of grey.
        super().__init__(ansi_color="NO_COLOR" in os.environ or None)
        attention = Attention(self, lambda: self.terminal_is_lent)
        desk = self.desk = Desk(self, attention, hint=lambda: self.hints.show(), saved=self._saved)
        desk.composer.values_of = self.values_of
        journal = self.journal = Journal(self._report)
        settings, options = settings or Settings(), options or Options()
        self.preferences = Preferences(desk, journal, Themes(self), settings, options, instructions)
        self.engine = EngineKeeper(desk, engine or EngineClient(), load or Load(), self._loaded, server, shared_at)
        allowed = (self.preferences.permissions, self.preferences.allow)
        self.tools = Tools(desk, journal, *allowed, settings.most_calls)
        self.conversations = ConversationKeeper(
            *(desk, journal, self.engine, self.preferences, self.tools), welcome=self._welcome
        )
        self.counting = Counting(desk, self.engine, self._used)
        self.library = Library(desk, journal, self.conversations)
        self.selection = Selection(desk, self.conversations, self.tools, self.copy_to_clipboard)
        self.hints = Hints(desk, self.conversations, self.tools, self.preferences, self.selection)
        self.keys = Keys(desk, self.library, self.selection)
        self.submitting = Submitting(
            *(desk, self.engine, self.conversations),
            run=self.run_action,
            must_wait=self.must_wait,
            is_opening=lambda: any(worker.group == "open" for worker in self.workers),
            opened=partial(self._let_end, "open"),
        )
        self.models = Models(desk, self.engine, self.conversations.idle)
        self._prompt = prompt
        self._resume = resume
        self._typing: Timer | None = None
        self._warned = False  # that quitting loses something
        self._quitting = asyncio.Lock()
        self._hang_up = HangUp(self._save_all)
        self.preferences.apply()
        self.take_styles()

    async def on_mount(self) -> None:
        """Let the person type."""
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))  # `fg` after a stop paints nothing
        transcript, status = self.desk.transcript, self.desk.status
        watched = ((transcript, "scroll_y"), (transcript, "virtual_size"), (status, "state"), (status, "circling"))
        for widget, name in watched:
            self.watch(widget, name, self._hint_later)
        self.watch(status, "model", self.models.name, init=False)
        self.preferences.watch()
        self.desk.composer.focus()
        # Otherwise the terminal would stay in the state the chat set, and the draft would be lost.
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._end, number)
        suspend_between_steps(self._take_terminal_anew)
        self._hang_up.watch()
        self.call_after_refresh(self._begin)

    def _take_terminal_anew(self) -> None:
        if not self.terminal_is_lent:
            with self.suspend():
                pass

    async def greet(self) -> None:
        """Say what the first screen says, and what is wrong with the settings."""
        await self.conversations.show()
        await self.preferences.greet()

    async def _begin(self) -> None:
        """What can wait until the person sees where to type."""
        gc.enable()
        await self.furnish()
        self.engine.open()
        self._open_journal()
        self.run_worker(load_ahead, group="load", thread=True)

    async def action_quit(self) -> None:
        """End the chat; if that loses something, only when asked a second time."""
        await self.journal.flush()
        # What came while it was flushed only waits its turn: ending the chat writes that too.
        if self.journal.loses and not self.journal.saves and not self._warned:
            self._warned = True
            self.desk.warn(UNSAVED)
        else:
            await self._quit()

    def _end(self, number: int) -> None:
        """A signal asks the chat to end. Ctrl-C while a child has the terminal is for that one alone."""
        if not (number == signal.SIGINT and self.terminal_is_lent):
            self.run_worker(self._quit(), group="quit")

    async def _quit(self) -> None:
        """End the engine, and with it the answer under way, while there is still a screen to write to."""
        async with self._quitting:  # signals come when they like, and more than once
            download = self.models.close()
            await self._save_all()
            lost = "Some messages could not be saved and are lost." if self.journal.loses else ""
            self.exit(message="\n".join(filter(None, (self.journal.last_words, lost, download))) or None)

    async def _save_all(self) -> None:
        self.tools.stop()
        await self.engine.close()
        await self.conversations.idle.wait()
        await self.tools.close()
        await self.selection.close()
        self.workers.cancel_group(self, "editor")  # which then takes what was written so far into the input
        await self._let_end("open", "rename", "export", "editor")
        await self.conversations.close()
        await self.journal.close()

    async def _let_end(self, *groups: str) -> None:
        """Wait until what a person has asked for is done: the deletion of a conversation waits for its answer's end."""
        for worker in [worker for worker in self.workers if worker.group in groups]:
            with contextlib.suppress(WorkerFailed, WorkerCancelled):
                await worker.wait()

    async def on_unmount(self) -> None:
        """Let engine, store and the window's title go, however the app came to its end."""
        self.desk.attention.restore()
        self._hang_up.restore()
        await self.engine.close()
        await self.journal.close()

    @work(group="journal")
    async def _open_journal(self) -> None:
        """Open the store, and what the chat is to open with: what was typed and not sent before the last end, or the
        last conversation; then send the prompt of the command line."""
        await self.journal.open()
        await self._saved()
        draft = await self.journal.draft("")
        if self._resume:
            await self.library.resume(draft)
        else:
            self.desk.composer.put_back(draft)
        self.desk.composer.recall.learn(await self.journal.prompts())
        if self._prompt:
            self.desk.composer.recall.add(self._prompt)
            await self.conversations.send(self._prompt)

    async def on_composer_submitted(self, event: Composer.Submitted) -> None:
        """Enter: a command, or a prompt."""
        await self.submitting.take(event)

    def on_input_area_locked(self, event: InputArea.Locked) -> None:
        """A file takes a password."""
        from app.tui.screens.line import LineScreen

        area = self.desk.input

        def answered(password: str | None) -> None:
            if password:
                area.unlock(event, password)
            else:
                area.give_up(event.chip)

        self.desk.ask(LineScreen(event.reason, "Enter opens it, Esc leaves it out", is_secret=True), answered)

    def on_selectable_transcript_selection_changed(self) -> None:
        """Another message is selected, or none any more."""
        self.selection.show()

    async def on_message_keys_chosen(self, event: MessageKeys.Chosen) -> None:
        """A click on something that can be done with it."""
        await self.selection.act(event.action)

    async def on_version_switch_requested(self, event: "VersionSwitch.Requested") -> None:
        """A click, or an arrow key, on < 1/2 >."""
        await self.conversations.switch(event.step, event.node)

    def on_approval_bar_chosen(self, event: ApprovalBar.Chosen) -> None:
        """A click on an answer to the question whether a call may be run."""
        self.tools.answer(event.keep)

    async def on_queue_removed(self, event: Queue.Removed) -> None:
        """A queued message is taken back into the input, or removed."""
        await event.queued.remove()
        if event.edit:
            self.desk.composer.put_back(event.queued.text)
        self.desk.composer.focus()

    @work(exclusive=True, group="open")
    async def on_sidebar_opened(self, event: Sidebar.Opened) -> None:
        """A conversation is chosen."""
        await self.library.open(event.entry)

    @work(exclusive=True, group="list")
    async def on_sidebar_searched(self, event: Sidebar.Searched) -> None:
        """The search has changed."""
        await self.library.search(event.text)

    def on_sidebar_nothing_found(self) -> None:
        """Enter in a search without a hit."""
        self.library.found_nothing()

    def on_sidebar_rename_requested(self, event: Sidebar.RenameRequested) -> None:
        """F2 in the list."""
        self.library.rename(entry=event.entry)

    def on_sidebar_delete_requested(self, event: Sidebar.DeleteRequested) -> None:
        """Del in the list."""
        self.library.delete(event.entry)

    @work(exclusive=True, group="list")
    async def on_sidebar_more_requested(self) -> None:
        """The end of the list is in sight."""
        await self.library.refresh()

    def on_sidebar_leave_requested(self) -> None:
        """Esc in the sidebar."""
        self.library.leave()

    def on_download_panel_step_requested(self, event: DownloadPanel.StepRequested) -> None:
        """A click, or Enter, on the panel of the download."""
        if event.hide:
            self.models.hide()
        else:
            self.models.step()

    async def on_welcome_chosen(self, event: Welcome.Chosen) -> None:
        """A click, or Enter, on the first screen."""
        if event.prompt is None:
            self.models.step()
        else:
            self.desk.focus(self.desk.composer)
            self.desk.composer.recall.add(event.prompt)
            await self.conversations.send(event.prompt)

    def on_effort_switch_chosen(self, event: EffortSwitch.Chosen) -> None:
        """A click on an effort."""
        self.preferences.set_effort(event.effort)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """What widgets and Textual have to say for a moment is said where everything else is."""
        self.desk.notify(message, severity=severity, timeout=timeout)

    async def on_event(self, event: events.Event) -> None:
        """Keys and pasted text first pass by the part that knows where they belong."""
        if isinstance(event, events.InputEvent | events.Paste):
            await self.furnish()
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self.app_focus = True  # a terminal may not say that its window is in front again
            self.desk.toast.on_any_key()
            if await self.keys.arrive(event):
                return
        await super().on_event(event)

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Save the draft once the typing rests, and count it. Who types is done with a message that was clicked."""
        if not self.desk.transcript.has_focus:
            self.desk.transcript.select(None)
        self.counting.changed()
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(DRAFT_S, self.conversations.save_draft)

    def on_attached_changed(self) -> None:
        """Something is attached, or not any more."""
        self.counting.changed()

    async def _saved(self) -> None:
        self.desk.status.saves = self.journal.saves
        self._warned = False
        await self.library.refresh()

    def _loaded(self, model: str) -> None:
        self.models.loaded(model)
        self.counting.loaded()

    def _used(self) -> int:
        """How much of the context stands before what is being typed; of an earlier message that is edited, unknown."""
        return 0 if self.conversations.editing else self.desk.status.used

    async def _welcome(self) -> None:
        await self.models.greeting.welcome()

    def _report(self, text: str, level: str) -> None:
        """Say something at the end of the conversation, when there is time; once the chat ends there is none."""
        if self.is_running:
            self.desk.run(self.desk.notice(text, level), group="notice")

    def on_app_focus(self) -> None:
        """Back from another window, where another chat may have been going on."""
        self.run_worker(self.library.refresh(), group="list", exclusive=True)

    def on_resize(self, event: events.Resize) -> None:
        """The terminal has another size."""
        self.library.fit(event.size.width)
        self.fit_document(event.size.width)
        self.desk.composer.styles.max_height = max(3, min(12, event.size.height * 2 // 5))
        self._hint_later()

    def _hint_later(self) -> None:
        self.call_after_refresh(self.hints.show)
