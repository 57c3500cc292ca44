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
from app.tui import clipboard, theme
from app.tui.chat import DRAFT_S, EDITING, Chat
from app.tui.commands import COMMANDS, find, parse
from app.tui.help import HelpScreen
from app.tui.journal import Journal
from app.tui.keeper import EngineKeeper
from app.tui.library import Library
from app.tui.widgets.analysis import Analysis
from app.tui.widgets.composer import Composer
from app.tui.widgets.messages import AnswerView, Notice
from app.tui.widgets.queue import Queue
from app.tui.widgets.sidebar import Sidebar
from app.tui.widgets.status import DEAD, EffortSwitch, StatusLine
from app.tui.widgets.transcript import Transcript
from app.tui.widgets.versions import VersionSwitch
from mlx_model.errors import GptossError
from mlx_model.harmony.message import Effort
from mlx_model.options import Options
from mlx_model.text import clean

WELCOME = "Ask anything. What you type and what is answered stays on this computer."
DEMO = f"""{WELCOME}

This is the demo model: tiny, trained on this program's own facts, to show how the chat works. It is not gpt-oss. \
To get that, type in a shell:

    gptoss-chat download gpt-oss-20b     (13.8 GB)"""


class ChatApp(App[None]):
    """The terminal chat. The engine starts after the first paint, so that typing is possible at once.

    `model` is a name or a path, None the default one; `engine` stands in for the engine process in tests.
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
    ) -> None:
        super().__init__()
        self.journal = Journal(self._report)
        self.chat = Chat(self)
        self.library = Library(self)
        engine = engine or EngineClient()
        self.keeper = EngineKeeper(self, engine, partial(engine.load, model, dense_bits, map, memory))
        self.options = options or Options()
        self.instructions = instructions
        self._typing: Timer | None = None
        self._demo = False

    def compose(self) -> ComposeResult:
        """Status above, conversation, input, keys below."""
        self.status, self.transcript = StatusLine(), Transcript()
        self.composer, self.effort_switch = Composer(), EffortSwitch()
        self.sidebar, self.queue = Sidebar(), Queue()
        with Horizontal():
            yield self.sidebar
            with Vertical():
                yield self.status
                yield self.transcript
                yield self.queue
                with Vertical(id="bottom"):
                    yield self.composer
                    yield self.effort_switch
        yield Footer(show_command_palette=False)

    async def on_mount(self) -> None:
        """Set the look, greet, start the engine."""
        self.register_theme(theme.DARK)
        self.register_theme(theme.LIGHT)
        self.theme = theme.DARK.name
        self.effort_switch.effort = self.options.effort
        self.watch(self.transcript, "scroll_y", self._hint_later)
        self.watch(self.transcript, "virtual_size", self._hint_later)
        self.composer.focus()
        loop = asyncio.get_running_loop()
        # Else the terminal stays as the chat had set it up; but after a hang-up there is none.
        loop.add_signal_handler(signal.SIGTERM, lambda: self.run_worker(self.action_quit()))
        loop.add_signal_handler(signal.SIGHUP, lambda: self.run_worker(self._hang_up()))
        await self.chat.show()
        self.keeper.open()
        self._open_journal()

    async def action_quit(self) -> None:
        """End the engine and, by that, the answer under way, while there is still a screen to write to."""
        await self._save_all()
        self.exit()

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

    @property
    def conversation(self) -> Conversation:
        """The conversation on the screen."""
        return self.chat.conversation

    async def on_composer_submitted(self, event: Composer.Submitted) -> None:
        """Enter: a command, or a prompt."""
        if (command := parse(event.text)) is not None and not self.chat.editing:
            self.composer.take(event.text)
            self._run_slash(*command)
        else:
            await self.chat.submit(event.text)

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

    def action_thinking(self) -> None:
        """Close every analysis if the last one is open, else open all; the next answers keep to it."""
        analyses = list(self.transcript.query(Analysis))
        show = not analyses[-1].open if analyses else self.chat.analysis == "hidden"
        self.chat.analysis = "shown" if show else "hidden"
        for view in self.transcript.query(AnswerView):
            view.treat_analysis(self.chat.analysis)
        self.notify(f"The analysis is {self.chat.analysis}.", markup=False, timeout=2)

    async def action_stop(self) -> None:
        """Stop the answer, or give up the edit of an earlier message."""
        if self.chat.idle.is_set():
            self.chat.leave_edit()
        await self.chat.stop()

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
            if command.slash not in ("", "quit"):
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
        self._greeting = Notice(DEMO if self._demo else WELCOME)
        await self.transcript.add(self._greeting)

    def greet(self, *, is_demo: bool) -> None:
        """Say in the greeting which model answers."""
        self._demo = is_demo
        self._greeting.say(DEMO if is_demo else WELCOME)

    def warn(self, text: str) -> None:
        """Say why something isn't possible."""
        self.notify(text, severity="warning", markup=False)

    def _report(self, text: str, level: str) -> None:
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
        self._hint_later()

    def _hint_later(self) -> None:
        self.call_after_refresh(self.hint)

    def hint(self) -> None:
        """Say below the input what Enter and End do now."""
        below = "" if self.transcript.follows else "\u2193 more below, End jumps there"
        self.effort_switch.hint(EDITING if self.chat.editing else below)
