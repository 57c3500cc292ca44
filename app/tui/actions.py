"""What the commands do: one method each, named in app.chat.commands."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING

from textual import actions, work
from textual.app import App
from textual.dom import DOMNode

from app.chat.commands import BUSY, COMMANDS, Command
from app.tui.screens.help import HelpScreen
from app.tui.terminal import clipboard
from app.tui.widgets.analysis import Analysis
from app.tui.widgets.status import DEAD
from mlx_model.errors import GptossError
from mlx_model.harmony.message import Effort

if TYPE_CHECKING:
    from app.tui.parts.conversation import Chat
    from app.tui.parts.engine import EngineKeeper
    from app.tui.parts.library import Library
    from app.tui.parts.models import Models
    from app.tui.parts.preferences import Preferences
    from app.tui.parts.sharing import Sharing
    from app.tui.widgets.input_area import InputArea
    from app.tui.widgets.status import EffortSwitch, StatusLine
    from app.tui.widgets.transcript import Transcript

_COMMANDS = {command.action: command for command in COMMANDS}


class Actions(App[None]):
    """The part of the app that carries out commands; ChatApp has the widgets and parts named here.

    Textual looks an action up on the app itself, whoever has the focus: that is why these are no functions elsewhere.
    """

    chat: Chat
    library: Library
    models: Models
    preferences: Preferences
    sharing: Sharing
    keeper: EngineKeeper
    status: StatusLine
    transcript: Transcript
    input: InputArea
    effort_switch: EffortSwitch
    _quit_told_until = 0.0

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a question or a list lies over the chat, keys are for that; help and quit are always there."""
        return len(self.screen_stack) < 2 or action in ("help", "quit") or action not in _COMMANDS

    def warn(self, text: str) -> None:
        """Say why something isn't possible."""
        self.notify(text, severity="warning", markup=False)

    def must_wait(self, command: Command) -> bool:
        """Whether a command has to wait for the end of the answer under way."""
        return command.waits and not self.chat.idle.is_set()

    async def run_action(
        self,
        action: str | actions.ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Carry out an action; keys, slash commands and palette all come through here."""
        name = (actions.parse(action) if isinstance(action, str) else action)[1]
        if (command := _COMMANDS.get(name)) is not None and self.must_wait(command):
            self.warn(BUSY)
            return True
        return await super().run_action(action, default_namespace, namespaces)

    def action_effort(self, level: str = "") -> None:
        """Take the next effort, or the one named."""
        if level and level.lower() not in list(Effort):
            self.warn("The effort is low, medium or high.")
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
        wanted = display.lower() or other
        self.preferences.set_analysis(wanted)
        if last is None and self.preferences.analysis == wanted:  # nothing on the screen shows it
            self.notify(f"Analysis: {wanted}.", markup=False)

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
        self.input.edit()

    async def action_stop(self) -> None:
        """Stop the answer, or give up the edit of an earlier message."""
        if self.chat.idle.is_set():
            self.chat.leave_edit()
        await self.chat.stop()

    def action_help_quit(self) -> None:
        """^C with nothing selected: stops the answer, as terminals have it; without one, says how to quit."""
        if not self.chat.idle.is_set():
            self.run_worker(self.chat.stop())
        elif monotonic() >= self._quit_told_until:  # else it is still in sight
            self._quit_told_until = monotonic() + self.NOTIFICATION_TIMEOUT
            self.notify("^Q quits.", markup=False)

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

    @work(exclusive=True, group="open")
    async def action_new_chat(self) -> None:
        """Start with an empty conversation; what stands in the input stays."""
        self.library.leave()
        await self.chat.new()

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

    def action_copy(self, part: str = "") -> None:
        """Copy the last answer as the Markdown it is, or another part of the conversation."""
        self.sharing.copy(part)

    @work(group="export")
    async def action_export(self, name: str = "") -> None:
        """Write the conversation to a file."""
        await self.sharing.export(name)

    @work(group="import")
    async def action_import(self, name: str = "") -> None:
        """Add the conversations of a file."""
        await self.sharing.import_(name)

    def copy_to_clipboard(self, text: str) -> None:
        """Copy, and say truthfully what came of it; Textual's own copying ends here too."""
        self._copy(text)

    @work(group="copy")
    async def _copy(self, text: str) -> None:
        try:
            self.notify(await clipboard.copy(text, super().copy_to_clipboard), markup=False)
        except (GptossError, OSError) as error:
            self.notify(f"{error}.", severity="error", markup=False)

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

    def action_model(self, name: str = "") -> None:
        """Switch to another model; without a name, say which there are."""
        self.models.switch(name)

    def action_restart(self) -> None:
        """Start the engine again if it has stopped."""
        self.keeper.restart()

    def action_help(self) -> None:
        """Show what keys do in the focused widget, and all the others; or close that."""
        if isinstance(self.screen, HelpScreen):
            self.screen.dismiss()
        else:
            self.push_screen(HelpScreen(self.screen.focused))
