"""What the commands do: one method each, named in app.chat.commands."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from textual import actions, work
from textual.dom import DOMNode

from app.chat.commands import COMMANDS, EFFORTS, Command, next_effort
from app.chat.conversation import Conversation
from app.chat.plan import read_plan
from app.lines import sentence
from app.tools.verdict import Keep
from app.tui.file_actions import FileActions
from app.tui.parts.counting import Counting
from app.tui.parts.engine import EngineKeeper
from app.tui.parts.library import Library
from app.tui.parts.models import Models
from app.tui.parts.preferences import Preferences
from app.tui.terminal import editor
from app.tui.widgets.status import DEAD
from mlx_model.errors import GptossError

_COMMANDS = {command.action: command for command in COMMANDS}


class Actions(FileActions):
    """The part of the app that carries out commands; ChatApp makes the parts named here.

    Textual looks up an action on the app itself: that is why these are methods of it.
    """

    counting: Counting
    engine: EngineKeeper
    library: Library
    models: Models
    preferences: Preferences
    terminal_is_lent = False
    """Whether a child has the terminal."""

    @property
    def conversation(self) -> Conversation:
        """The conversation on the screen."""
        return self.conversations.conversation

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While another screen lies over the chat, keys are for that one; help and quit always work."""
        return len(self.screen_stack) < 2 or action in ("help", "quit", "redraw") or action not in _COMMANDS

    def must_wait(self, command: Command, argument: str = "") -> bool:
        """Whether a command has to wait for the end of the answer under way."""
        may_go_on = (command.opens and not argument) or (argument and argument.lower() == command.at_once)
        return command.waits and not may_go_on and not self.conversations.idle.is_set()

    async def run_action(
        self,
        action: "str | actions.ActionParseResult",
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Carry out an action; keys, slash commands and palette all come through here."""
        _, name, arguments = actions.parse(action) if isinstance(action, str) else action
        if (command := _COMMANDS.get(name)) is not None and self.must_wait(command, "".join(map(str, arguments))):
            self.desk.warn_busy()
            return True
        return await super().run_action(action, default_namespace, namespaces)

    def action_effort(self, level: str = "") -> None:
        """Set the effort that is named, or the next one."""
        effort = next_effort(self.desk.effort_switch.effort, level)
        if effort is None:
            self.desk.warn(EFFORTS)
        else:
            self.preferences.set_effort(effort)

    def action_thinking(self, display: str = "") -> None:
        """Show every analysis, and those to come, as `display` says, else open or close all of them."""
        from app.tui.widgets.analysis import Analysis

        last = next(reversed(list(self.desk.transcript.query(Analysis))), None)
        if last is None or not last.open:
            other = "shown" if last or self.preferences.analysis != "shown" else "collapsed"
        else:  # closed while it grows: the person does not want to see it grow
            other = "collapsed" if self.conversations.idle.is_set() else "hidden"
        name = display.lower() or other
        self.preferences.set_analysis(name)
        if last is None and self.preferences.analysis == name:  # nothing on the screen shows it
            self.desk.notify(f"Analysis: {name}.")

    def action_settings(self) -> None:
        """Show the settings."""
        self.preferences.open(self.conversation.id)

    def action_set(self, argument: str = "") -> None:
        """Set a sampling option, or say what is set."""
        self.preferences.set_option(argument)

    def action_instructions(self, text: str = "") -> None:
        """Give this conversation instructions, or show those it has."""
        if text:
            self.preferences.set_instructions(self.conversation.id, text)
        else:
            self.preferences.open(self.conversation.id, at_instructions=True)

    def action_preset(self, name: str = "") -> None:
        """Take the instructions of a preset."""
        self.preferences.use_preset(self.conversation.id, name)

    def action_theme(self, name: str = "") -> None:
        """Take another theme; without a name, show which there are."""
        if name:
            self.preferences.set_theme(name)
        else:
            self.action_command_palette("theme ")

    @work(group="editor", exclusive=True)
    async def action_editor(self) -> None:
        """Write the message in the person's own editor; what is attached stays."""
        composer = self.desk.composer
        before = composer.text
        self.terminal_is_lent = True
        try:
            composer.rewrite_part(before, await editor.edit(self, before))
        except editor.EditorError as error:
            self.desk.notify(sentence(str(error)), severity="error")
        finally:
            self.terminal_is_lent = False

    async def action_stop(self) -> None:
        """Refuse the call that waits, else stop the code that is run, else the answer; without one, be done with the
        message that is selected, edited or branched from."""
        if self.tools.is_asking:
            self.tools.answer(None)
            return
        if self.selection.stop_code():
            return
        conversations, selected = self.conversations, self.desk.transcript.selected is not None
        self.desk.transcript.select(None)
        self.desk.transcript.unmark()
        if not conversations.idle.is_set():
            await conversations.stop()
        elif conversations.editing:
            conversations.leave_edit()
        elif not selected:
            await conversations.leave_branch()

    def action_tools(self, names: str = "") -> None:
        """Let the model call these tools in this conversation; without names, show which there are."""
        if names:
            self.tools.switch(self.conversation.id, names)
        else:
            self.tools.show(self.conversation, self.counting.tokens)

    def action_allow_once(self) -> None:
        """Allow the call that waits."""
        self.tools.answer(Keep.ONCE)

    def action_allow_here(self) -> None:
        """Allow the call that waits, and those like it in this conversation."""
        self.tools.answer(Keep.CONVERSATION)

    def action_allow_always(self) -> None:
        """Allow the call that waits, and from now on those like it."""
        self.tools.answer(Keep.ALWAYS)

    def action_refuse(self, reason: str = "") -> None:
        """Refuse the call that waits, and tell the model why."""
        self.tools.refuse(reason)

    async def action_answer_now(self) -> None:
        """End the thought, so that the answer begins."""
        await self.conversations.answer_now()

    async def on_analysis_answer_wanted(self) -> None:
        """A click behind the title of a thought."""
        await self.conversations.answer_now()

    def action_help_quit(self) -> None:
        """^C with nothing selected: stop the answer, as in a terminal, else empty the input, else say how to quit."""
        composer = self.desk.composer
        if not self.conversations.idle.is_set():
            self.run_worker(self.conversations.stop())
        elif composer.prompt.strip() and not self.conversations.editing:
            composer.recall.add(composer.prompt)
            composer.clear_prompt()
            self.desk.notify("Up brings it back. ^Q quits.")
        else:
            self.desk.notify("^Q quits.")

    def action_again(self) -> None:
        """Regenerate the last answer; without an engine, restart that."""
        if self.desk.status.state in DEAD:
            self.engine.restart()
        else:
            self.conversations.again()

    async def action_pro(self, argument: str = "") -> None:
        """Have several answers, and one made of them: to the question that follows the command, to what stands in the
        input, else to the last message."""
        conversations, composer = self.conversations, self.desk.composer
        try:
            plan = read_plan(argument, self.preferences.options, conversations.plan)
        except GptossError as error:
            self.desk.warn(sentence(str(error)))
            return
        conversations.plan = replace(plan, question="")
        if plan.question:
            await conversations.submit(plan.question, plan)
        elif composer.text.strip():
            composer.submit(several=True)
        else:
            conversations.again_several(plan)

    def action_go_on(self) -> None:
        """Continue an answer that was cut off."""
        self.conversations.go_on()

    def action_edit(self) -> None:
        """Take an earlier message into the input."""
        self.conversations.edit()

    async def action_version(self) -> None:
        """Show the next version of the last message that has several."""
        await self.conversations.switch(1)

    @work(exclusive=True, group="open")
    async def action_new_chat(self) -> None:
        """Start with an empty conversation; what stands in the input stays, a search ends."""
        self.library.leave()
        self.desk.sidebar.clear()
        await self.conversations.new()

    def action_sidebar(self) -> None:
        """Show the conversations, or hide them."""
        self.library.toggle()

    def action_find(self) -> None:
        """Search all conversations."""
        self.library.find()

    def action_rename(self, title: str = "") -> None:
        """Rename the conversation."""
        self.library.rename(title)

    def action_delete(self) -> None:
        """Delete the conversation on the screen."""
        self.library.delete()

    async def action_undo(self) -> None:
        """Put back what the last patch in this conversation has changed, else restore the conversation deleted last."""
        if not await self.tools.undo(self.conversation.id):
            self.library.undo()

    def action_latest(self) -> None:
        """Jump to the newest line and follow it."""
        self.desk.transcript.follow()

    def on_composer_latest_requested(self) -> None:
        """End in an empty input."""
        self.action_latest()

    def action_scroll_transcript(self, direction: int) -> None:
        """Scroll by a page: -1 up, 1 down."""
        if self.desk.approval.scroll(direction):
            return
        if direction < 0:
            self.desk.transcript.release_anchor()
            self.desk.transcript.scroll_page_up(animate=False)
        else:
            self.desk.transcript.scroll_page_down(animate=False)

    def action_download(self, argument: str = "") -> None:
        """Download a model in the background; "pause" and "hide" act on that download."""
        self.models.download(argument)

    def action_download_step(self) -> None:
        """The next step of a download: ask and start, pause, resume, switch to the model."""
        self.models.step()

    def action_model(self, name: str = "") -> None:
        """Switch to another model; without a name, show which there are."""
        self.models.switch(name)

    def action_adapter(self, name: str = "") -> None:
        """Let the model answer with a LoRA adapter, or with none."""
        self.models.adapter(name)

    def action_redraw(self) -> None:
        """Draw everything again, as after another program has written on the terminal."""
        self.screen.refresh(layout=True)

    def action_restart(self) -> None:
        """Start the engine again if it has stopped."""
        self.engine.restart()

    def action_command_palette(self, typed: str = "") -> None:
        """Show the palette, with this typed into it, and run what is chosen there."""
        from app.tui.screens.palette import PaletteScreen

        def chosen(action: str | None) -> None:
            if action is not None:
                self.run_worker(self.run_action(action))

        self.desk.ask(PaletteScreen(self.must_wait, self.values_of, self.value_of, typed), chosen)

    def values_of(self, command: Command) -> Sequence[str]:
        """What can follow a command, as far as that is known at once."""
        if command.action == "theme":
            return self.preferences.themes
        if command.action in ("model", "adapter", "download"):
            return self.models.names_for(command.action)
        return list(self.preferences.presets) if command.action == "preset" else command.values

    def value_of(self, command: Command) -> str:
        """What a command has set, "" for one that sets nothing."""
        match command.action:
            case "effort":
                return self.preferences.options.effort.value
            case "thinking":
                return self.preferences.analysis
            case "theme":
                return self.preferences.theme
            case "model":
                return self.desk.status.model
        return ""

    def action_help(self) -> None:
        """Show the help, which begins with the focused widget; or close it."""
        from app.tui.screens.help import HelpScreen

        if isinstance(self.screen, HelpScreen):
            self.screen.dismiss()
        else:
            self.push_screen(HelpScreen(self.screen.focused, self.engine.shared_at))
