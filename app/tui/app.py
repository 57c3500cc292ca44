"""The chat: composes the screen, owns the conversation and the engine, and carries out the commands."""

import asyncio
import signal
from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from textual import events, work
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import Footer

from app.engine.client import Engine, EngineClient, EngineDied
from app.engine.protocol import Loading, Ready
from app.tui import clipboard, theme
from app.tui.answering import AnswerStream
from app.tui.commands import COMMANDS, find, parse
from app.tui.conversation import Conversation
from app.tui.help import HelpScreen
from app.tui.widgets.analysis import Analysis
from app.tui.widgets.composer import Composer
from app.tui.widgets.messages import AnswerView, Notice, Prompt
from app.tui.widgets.status import EffortSwitch, StatusLine
from app.tui.widgets.transcript import Transcript
from mlx_model.errors import GptossError
from mlx_model.harmony.message import Effort
from mlx_model.options import Options
from mlx_model.text import clean

WELCOME = "Ask anything. What you type and what is answered stays on this computer."
DEMO = f"""{WELCOME}

This is the demo model: tiny, trained on this program's own facts, to show how the chat works. It is not gpt-oss. \
To get that, type in a shell:

    gptoss-chat download gpt-oss-20b     (13.8 GB)"""
BUSY = "An answer is under way: Esc stops it. Your text stays in the input."


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
    ) -> None:
        super().__init__()
        self.conversation = Conversation()
        self._model = model
        self._dense_bits = dense_bits
        self._options = options or Options()
        self._instructions = instructions
        self._engine: Engine = engine or EngineClient()
        self._opening: asyncio.Task[bool] | None = None
        self._last_death: EngineDied | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._stop = asyncio.Event()
        self._analysis = "auto"
        self._demo = False
        self._leaving = False

    def compose(self) -> ComposeResult:
        """Status above, conversation, input, keys below."""
        self.status, self.transcript = StatusLine(), Transcript()
        self.composer, self.effort_switch = Composer(), EffortSwitch()
        yield self.status
        yield self.transcript
        with Vertical(id="bottom"):
            yield self.composer
            yield self.effort_switch
        yield Footer(show_command_palette=False)

    async def on_mount(self) -> None:
        """Set the look, greet, start the engine."""
        self.register_theme(theme.DARK)
        self.register_theme(theme.LIGHT)
        self.theme = theme.DARK.name
        self.effort_switch.effort = self._options.effort
        self.watch(self.transcript, "scroll_y", self._hint_later)
        self.watch(self.transcript, "virtual_size", self._hint_later)
        self.composer.focus()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGHUP):  # else the terminal stays as the chat had set it up
            loop.add_signal_handler(signum, lambda: self.run_worker(self.action_quit()))
        await self._welcome()
        self._open_engine()

    async def action_quit(self) -> None:
        """End the engine and, by that, the answer under way, while there is still a screen to write to."""
        self._leaving = True
        await self._engine.close()
        await self._idle.wait()
        self.exit()

    async def on_unmount(self) -> None:
        """Let the engine go, however the app came to its end."""
        self._leaving = True
        await self._engine.close()

    # The engine

    def _open_engine(self) -> asyncio.Task[bool]:
        """Start and load, unless that is under way or done; the task says whether the engine can be asked."""
        opening = self._opening
        if opening is None or (opening.done() and not (self._engine.alive and opening.result())):
            opening = self._opening = asyncio.create_task(self._load())
        return opening

    async def _load(self) -> bool:
        self.status.state = "starting"
        try:
            async for reply in self._engine.load(self._model, self._dense_bits):
                match reply:
                    case Loading(model=model):
                        self.status.model, self.status.state = _short(model), "loading"
                    case Ready() as ready:
                        self.status.model = f"{_short(ready.model)}  {_size(ready.resident_bytes)}"
                        self.status.state, self.status.limit = "ready", ready.context_length
                        self._demo = ready.model == "demo"
                        self._greeting.say(DEMO if self._demo else WELCOME)
        except EngineDied as death:
            await self._bury(death)
            return False
        except GptossError as error:
            self.status.state = "no model"
            await self._notice(f"{error}. Sending a message tries again.", "error")
            return False
        self._await_death()
        return True

    @work(group="death")
    async def _await_death(self) -> None:
        await self._bury(await self._engine.died())

    async def _bury(self, death: EngineDied) -> None:
        """Say once that, and how, the engine ended."""
        if self._leaving or death is self._last_death:
            return
        self._last_death = death
        self.status.state = "stopped"
        last = "".join(f"\n    {line}" for line in death.last_lines[-3:])
        kept = "Everything on the screen is kept; ^R starts the engine again, and so does sending a message."
        await self._notice(f"The engine stopped: {death}.{last}\n{kept}", "error")

    # One answer

    def on_composer_submitted(self, event: Composer.Submitted) -> None:
        """Enter: a command, or a prompt if no answer is under way."""
        if (command := parse(event.text)) is not None:
            self.composer.take(event.text)
            self._run_slash(*command)
        elif not self._idle.is_set():
            self.notify(BUSY, markup=False)
        elif event.text.strip():
            self.composer.take(event.text)
            self._idle.clear()
            self._answer(event.text)

    @work(group="answer")
    async def _answer(self, text: str) -> None:
        """Ask and show, from the prompt to the footer."""
        options = replace(self._options, effort=self.effort_switch.effort)
        prompt, view = Prompt(text), AnswerView(options.effort, analysis=self._analysis)
        stream = AnswerStream(view, self.status)
        self.conversation.add_prompt(text)
        await self.transcript.add(prompt, view)
        self.transcript.follow()
        try:
            if await self._engine_opened(view):
                messages = self.conversation.for_engine()
                await stream.run(self._engine.ask(messages, options, self._instructions))
        except EngineDied as death:
            await self._bury(death)
        except GptossError as error:
            await self._notice(f"{error}.", "error")
        if stream.messages or stream.finished:
            self.conversation.add_answer(stream.messages)
            await view.finish(stream.finished)
        else:  # nothing came of it: the prompt goes back where it can be changed
            self.composer.put_back(self.conversation.withdraw_prompt())
            await self.transcript.remove_children([prompt, view])
        if self._engine.alive and self.status.state not in ("loading", "no model"):
            self.status.state = "ready"
        self._stop.clear()
        self._idle.set()

    async def _engine_opened(self, view: AnswerView) -> bool:
        """Wait for the model; false when it can't be had or the person stopped waiting."""
        opening = self._open_engine()
        if not opening.done():
            view.wait("waiting for the model; Esc takes the message back")
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({opening, stop}, return_when=asyncio.FIRST_COMPLETED)
        stopped = self._stop.is_set()
        stop.cancel()
        view.wait("")
        return not stopped and opening.result()

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
        show = not analyses[-1].open if analyses else self._analysis == "hidden"
        self._analysis = "shown" if show else "hidden"
        for view in self.transcript.query(AnswerView):
            view.treat_analysis(self._analysis)
        self.notify(f"The analysis is {self._analysis}.", markup=False, timeout=2)

    async def action_stop(self) -> None:
        """Stop the answer."""
        if not self._idle.is_set():
            self._stop.set()
            self.status.state = "stopping"
            await self._engine.cancel()

    @work(exclusive=True, group="new")
    async def action_new_chat(self) -> None:
        """Stop what is under way and start with an empty conversation; what stands in the input stays."""
        await self.action_stop()
        await self._idle.wait()
        self.conversation = Conversation()
        await self.transcript.remove_children()
        self.status.used = 0
        await self._welcome()
        self.composer.focus()

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
        before = self._opening
        if self._open_engine() is before and self._engine.alive:
            self.notify("The engine is running.", markup=False)

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
        if event.is_printable and event.character and len(self.screen_stack) == 1 and not self.composer.has_focus:
            self.composer.focus()
            self.composer.insert(event.character)

    async def _welcome(self) -> None:
        self._greeting = Notice(DEMO if self._demo else WELCOME)
        await self.transcript.add(self._greeting)

    async def _notice(self, text: str, level: str = "info") -> None:
        await self.transcript.add(Notice(text, level))

    def on_resize(self) -> None:
        """More, or less, is in sight."""
        self._hint_later()

    def _hint_later(self) -> None:
        self.call_after_refresh(self._hint)

    def _hint(self) -> None:
        self.effort_switch.hint("" if self.transcript.follows else "\u2193 more below, End jumps there")


def _short(model: str) -> str:
    """The last part of a path or of org/name."""
    return model.rstrip("/").rsplit("/", 1)[-1] or model


def _size(count: int) -> str:
    """Bytes as people name them, in powers of ten as the Hub does."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
