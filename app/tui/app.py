"""The chat: composes the screen, owns the conversation and the engine, and carries out the commands."""

import asyncio
import os
import signal
from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from textual import events, work
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Footer, TextArea

from app.conversation import Conversation
from app.engine.client import Engine, EngineClient
from app.settings import Settings
from app.tui import clipboard
from app.tui.chat import DRAFT_S, EDITING, Chat
from app.tui.commands import COMMANDS, find, parse
from app.tui.help import HelpScreen
from app.tui.journal import Journal
from app.tui.keeper import EngineKeeper
from app.tui.library import Library
from app.tui.models import Models
from app.tui.preferences import Preferences
from app.tui.widgets.analysis import Analysis
from app.tui.widgets.composer import Composer
from app.tui.widgets.download import DownloadPanel
from app.tui.widgets.input_area import InputArea
from app.tui.widgets.messages import Notice
from app.tui.widgets.queue import Queue
from app.tui.widgets.sidebar import Sidebar
from app.tui.widgets.status import DEAD, EffortSwitch, StatusLine
from app.tui.widgets.transcript import Transcript
from app.tui.widgets.versions import VersionSwitch
from mlx_model.errors import GptossError
from mlx_model.harmony.message import Effort
from mlx_model.options import Options
from mlx_model.text import clean


class ChatApp(App[None]):
    """The terminal chat. The engine starts after the first paint, so that typing is possible at once.

    `model` is a name or a path, None the default one; `engine` stands in for the engine process in tests. `options` and
    `instructions` are those of the command line, completed from the `settings`, whose other values hold as they are.
    """

    CSS_PATH = "theme.tcss"
    TITLE = "gptoss-chat"
    BINDINGS: ClassVar[list[BindingType]] = [
        # Before the input sees them (it has a Ctrl+E of its own), but Esc is also what closes help and palette.
        Binding(c.key, c.action, c.label, show=bool(c.label), key_display=c.shown_key, priority=c.key != "escape")
        for c in COMMANDS
        if c.key
    ]

    def __init__(
        self,
        model: str | None = None,
        options: Options | None = None,
        instructions: str | None = None,
        engine: Engine | None = None,
        dense_bits: int | None = None,
        map: str = "auto",
        memory: int | None = None,
        settings: Settings | None = None,
    ) -> None:
        super().__init__()
        self.journal = Journal(self.report)
        self.preferences = Preferences(self, settings or Settings(), options or Options(), instructions)
        self.chat = Chat(self)
        self.library = Library(self)
        self.models = Models(self)
        engine = engine or EngineClient()
        load = partial(engine.load, dense_bits=dense_bits, map=map, memory=memory)
        self.keeper = EngineKeeper(self, engine, load, model)
        self._typing: Timer | None = None

    def compose(self) -> ComposeResult:
        """Status above, conversation, input, keys below."""
        self.status, self.transcript = StatusLine(), Transcript()
        self._input, self.effort_switch = InputArea(), EffortSwitch()
        self.composer = self._input.composer
        self.sidebar, self.queue, self.download_panel = Sidebar(), Queue(), DownloadPanel()
        with Horizontal():
            yield self.sidebar
            with Vertical():
                yield self.status
                yield self.transcript
                yield self.download_panel
                yield self.queue
                with Vertical(id="bottom"):
                    yield self._input
                    yield self.effort_switch
        yield Footer(show_command_palette=False)

    async def on_mount(self) -> None:
        """Set the look, greet, start the engine."""
        self.preferences.apply()
        self.effort_switch.effort = self.preferences.options.effort
        self.watch(self.transcript, "scroll_y", self._hint_later)
        self.watch(self.transcript, "virtual_size", self._hint_later)
        self.composer.focus()
        loop = asyncio.get_running_loop()
        # Else the terminal stays as the chat had set it up; but after a hang-up there is none.
        loop.add_signal_handler(signal.SIGTERM, lambda: self.run_worker(self.action_quit()))
        loop.add_signal_handler(signal.SIGHUP, lambda: self.run_worker(self._hang_up()))
        await self.chat.show()
        self.preferences.tell()
        self.keeper.open()
        self._open_journal()

    async def action_quit(self) -> None:
        """End the engine and, by that, the answer under way, while there is still a screen to write to."""
        said = self.models.close()
        await self._save_all()
        self.exit(message=said or None)

    async def _hang_up(self) -> None:
        """The terminal is gone: Textual would wait for ever to write its farewell."""
        await self._save_all()
        os._exit(128 + signal.SIGHUP)

    async def _save_all(self) -> None:
        await self.keeper.close()
        await self.chat.idle.wait()
        await self.chat.save_draft()
        await self.journal.close()

    async def on_unmount(self) -> None:
        """Let engine and store go, however the app came to its end."""
        await self.keeper.close()
        await self.journal.close()

    @work(group="journal")
    async def _open_journal(self) -> None:
        """Open the store, and go on with what was typed and not sent before the last end."""
        await self.journal.open()
        await self.saved()
        if draft := await self.journal.draft(""):
            self.composer.put_back(draft)
        self.composer.recall.learn(await self.journal.prompts())

    @property
    def conversation(self) -> Conversation:
        """The conversation on the screen."""
        return self.chat.conversation

    async def on_composer_submitted(self, event: Composer.Submitted) -> None:
        """Enter: a command, or a prompt."""
        if (command := parse(event.typed)) is not None and not self.chat.editing:
            self.composer.take(event.typed)
            self._run_slash(*command)
        else:
            await self.chat.submit(event.prompt)

    # Commands: one method each, named in app.tui.commands

    def _run_slash(self, name: str, argument: str) -> None:
        command = find(name)
        if command is None:
            self.notify(f"There is no command /{name}; /help lists them.", severity="warning", markup=False)
        elif argument and not command.takes:
            self.notify(f"/{name} takes nothing after it.", severity="warning", markup=False)
        else:
            self.run_worker(self.run_action(f"{command.action}({argument!r})" if argument else command.action))

    def action_effort(self, level: str = "") -> None:
        """Take the next effort, or the one named."""
        if level and level.lower() not in list(Effort):
            self.notify("The effort is low, medium or high.", severity="warning", markup=False)
            return
        order = list(Effort)
        following = order[(order.index(self.effort_switch.effort) + 1) % len(order)]
        self.effort_switch.effort = Effort(level.lower()) if level else following

    def action_thinking(self, display: str = "") -> None:
        """Show every analysis as is said, else open all, or close them if the last one is open; so it stays."""
        last = next(reversed(list(self.transcript.query(Analysis))), None)
        if last is None or not last.open:
            other = "shown" if last or self.preferences.analysis != "shown" else "collapsed"
        else:  # who closes it while it grows does not want to see it grow
            other = "collapsed" if self.chat.idle.is_set() else "hidden"
        self.preferences.set_analysis(display.lower() or other)

    def action_settings(self) -> None:
        """Show the settings."""
        self.preferences.open()

    def action_instructions(self, text: str = "") -> None:
        """Give this conversation instructions, or show those it has."""
        if text:
            self.preferences.set_instructions(text)
        else:
            self.preferences.open(at_instructions=True)

    def action_preset(self, name: str = "") -> None:
        """Take the instructions of a preset."""
        self.preferences.use_preset(name)

    def action_theme(self, name: str = "") -> None:
        """Take another theme."""
        self.preferences.set_theme(name)

    def action_editor(self) -> None:
        """Write the message in the person's own editor."""
        self._input.edit()

    async def action_stop(self) -> None:
        """Stop the answer, or give up the edit of an earlier message."""
        if self.chat.idle.is_set():
            self.chat.leave_edit()
        await self.chat.stop()

    def action_help_quit(self) -> None:
        """^C with nothing selected: stops the answer, as terminals have it; without one, Textual says how to quit."""
        if self.chat.idle.is_set():
            super().action_help_quit()
        else:
            self.run_worker(self.chat.stop())

    def action_again(self) -> None:
        """Answer the last message again; without an engine, start it again."""
        if self.status.state in DEAD:
            self.keeper.restart()
        else:
            self.chat.again()

    def action_go_on(self) -> None:
        """Continue an answer that was cut off."""
        self.chat.go_on()

    def action_edit(self) -> None:
        """Take an earlier message into the input."""
        self.chat.edit()

    async def action_version(self) -> None:
        """Show the next version of the last message that has several."""
        await self.chat.switch(1)

    async def on_version_switch_wanted(self, event: VersionSwitch.Wanted) -> None:
        """A click, or an arrow key, on < 1/2 >."""
        await self.chat.switch(event.step, event.node)

    async def on_queue_left(self, event: Queue.Left) -> None:
        """A queued message is taken back into the input, or removed."""
        await event.queued.remove()
        if event.edit:
            self.composer.put_back(event.queued.text)
        self.composer.focus()

    @work(exclusive=True, group="open")
    async def action_new_chat(self) -> None:
        """Start with an empty conversation; what stands in the input stays."""
        await self.chat.new()
        await self.saved()

    @work(exclusive=True, group="open")
    async def on_sidebar_opened(self, event: Sidebar.Opened) -> None:
        """A conversation is chosen."""
        await self.library.open(event.place)

    @work(exclusive=True, group="list")
    async def on_sidebar_searched(self, event: Sidebar.Searched) -> None:
        """The search has changed."""
        await self.library.search(event.text)

    def on_sidebar_rename_wanted(self, event: Sidebar.RenameWanted) -> None:
        """F2 in the list."""
        self.library.rename(place=event.place)

    def on_sidebar_delete_wanted(self, event: Sidebar.DeleteWanted) -> None:
        """Del in the list."""
        self.library.delete(event.place)

    def on_sidebar_left(self) -> None:
        """Esc in the sidebar."""
        self.library.leave()

    def action_sidebar(self) -> None:
        """Show the conversations, or hide them."""
        self.library.toggle()

    def action_find(self) -> None:
        """Search all conversations."""
        self.library.find()

    def action_rename(self, title: str = "") -> None:
        """Give the conversation another title."""
        self.library.rename(title)

    def action_delete(self) -> None:
        """Delete the conversation on the screen."""
        self.library.delete()

    def action_undo(self) -> None:
        """Bring the conversation back that was deleted last."""
        self.library.undo()

    def action_copy_answer(self) -> None:
        """Copy the last answer as the Markdown it is."""
        if (text := self.conversation.last_answer()) is None:
            self.notify("There is no answer to copy yet.", severity="warning", markup=False)
        else:
            self.copy_to_clipboard(clean(text))

    def copy_to_clipboard(self, text: str) -> None:
        """Copy, and say truthfully what came of it; Textual's own copying ends here too."""
        self._copy(text)

    @work(group="copy")
    async def _copy(self, text: str) -> None:
        try:
            self.notify(await clipboard.copy(text, super().copy_to_clipboard), markup=False)
        except (GptossError, OSError) as error:
            self.notify(f"{error}.", severity="error", markup=False)

    def on_composer_latest_wanted(self) -> None:
        """End in an empty input."""
        self.action_latest()

    def action_latest(self) -> None:
        """Jump to the newest line and follow it."""
        self.transcript.follow()

    def action_scroll_transcript(self, direction: int) -> None:
        """Scroll by a page: -1 up, 1 down."""
        if direction < 0:
            self.transcript.release_anchor()
            self.transcript.scroll_page_up(animate=False)
        else:
            self.transcript.scroll_page_down(animate=False)

    def action_download(self, argument: str = "") -> None:
        """Fetch a model while the chat goes on; "pause" and "hide" do as they say."""
        self.models.download(argument)

    def action_download_step(self) -> None:
        """The next step of a download: start, pause, go on, switch to the model."""
        self.models.step()

    def on_download_panel_wanted(self, event: DownloadPanel.Wanted) -> None:
        """A click, or Enter, on the panel of the download."""
        if event.hide:
            self.models.hide()
        else:
            self.models.step()

    def action_model(self, name: str = "") -> None:
        """Switch to another model; without a name, say which there are."""
        self.models.switch(name)

    def action_restart(self) -> None:
        """Start the engine again if it has stopped."""
        self.keeper.restart()

    def action_help(self) -> None:
        """Show all keys and commands, or close them."""
        if isinstance(self.screen, HelpScreen):
            self.screen.dismiss()
        else:
            self.push_screen(HelpScreen())

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: Textual's commands and ours."""
        yield from super().get_system_commands(screen)
        for command in COMMANDS:
            if command.slash not in ("", "quit", "theme"):  # Textual has commands for these
                yield SystemCommand(command.slash, command.help, getattr(self, f"action_{command.action}"))

    # Small things

    def on_effort_switch_chosen(self, event: EffortSwitch.Chosen) -> None:
        """A click on an effort."""
        self.effort_switch.effort = event.effort

    def on_key(self, event: events.Key) -> None:
        """Whatever has the focus, typing goes to the input."""
        if event.character == "/" and self.sidebar.list.has_focus:
            self.sidebar.search()
        elif event.is_printable and event.character and len(self.screen_stack) == 1 and not self.composer.has_focus:
            self.composer.focus()
            self.composer.insert(event.character)

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Save the draft once the typing rests."""
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(DRAFT_S, self.chat.save_draft)

    async def saved(self) -> None:
        """Something was saved, or could not be: show what there is now."""
        self.status.saves = self.journal.saves
        await self.library.refresh()

    async def welcome(self) -> None:
        """Greet at the beginning of a conversation."""
        self._greeting = Notice(self.models.greeting)
        await self.transcript.add(self._greeting)

    def greet(self) -> None:
        """Bring the greeting up to date."""
        self._greeting.say(self.models.greeting)

    def warn(self, text: str) -> None:
        """Say why something isn't possible."""
        self.notify(text, severity="warning", markup=False)

    def report(self, text: str, level: str) -> None:
        """Say something at the end of the conversation, when there is time."""
        self.run_worker(self.notice(text, level), group="notice")

    async def notice(self, text: str, level: str = "info") -> None:
        """Say something at the end of the conversation; `level` is "info", "warning" or "error"."""
        await self.transcript.add(Notice(text, level))

    def on_app_focus(self) -> None:
        """Back from another window, where another chat may have been going on."""
        self.run_worker(self.library.refresh(), group="list", exclusive=True)

    def on_resize(self, event: events.Resize) -> None:
        """More, or less, is in sight."""
        self.library.fit(event.size.width)
        self.composer.styles.max_height = max(3, min(12, event.size.height * 2 // 5))
        self._hint_later()

    def _hint_later(self) -> None:
        self.call_after_refresh(self.hint)

    def hint(self) -> None:
        """Say below the input what Enter and End do now."""
        below = "" if self.transcript.follows else "\u2193 more below, End jumps there"
        self.effort_switch.hint(EDITING if self.chat.editing else below or self.preferences.hint)
