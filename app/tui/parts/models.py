"""The commands about models: download one while the chat goes on, switch to one, list them; and the greeting."""

import asyncio
from contextlib import suppress

from textual.timer import Timer

from app.chat.commands import BUSY
from app.lines import one_line, sentence
from app.tui.parts.background_download import Download
from app.tui.parts.computer import examine
from app.tui.parts.desk import Desk
from app.tui.parts.engine import EngineKeeper
from app.tui.text.first_run import WELCOME, ComputerFacts, welcome
from app.tui.widgets.download_panel import figures
from app.tui.widgets.messages import Notice
from mlx_model.errors import CheckpointError, GptossError
from mlx_model.hub.environment import expanded, missing_disk
from mlx_model.hub.inventory import local_models, unverified
from mlx_model.hub.names import DEFAULT, DEMO, Repository, is_complete, resolve
from mlx_model.hub.progress import Phase
from mlx_model.memory.sizes import disk_size

POLL_S = 0.25
"""Seconds between two updates of the download panel: figures that change faster can't be read."""


class Models:
    """Owns the download, if there is one, and the facts about this computer."""

    def __init__(self, desk: Desk, engine: EngineKeeper, idle: asyncio.Event) -> None:
        """`idle` is set while no answer is under way: only then another model can be loaded."""
        self._desk = desk
        self._engine = engine
        self._idle = idle
        self._greeting: Notice | None = None
        self._model = ""  # the full name of the model that answers
        self._computer: ComputerFacts | None = None
        self._download: Download | None = None
        self._timer: Timer | None = None

    @property
    def _is_demo(self) -> bool:
        return self._model == DEMO

    # The greeting

    async def welcome(self) -> None:
        """Greet at the beginning of a conversation."""
        self._greeting = Notice(self._greeting_text)
        await self._desk.transcript.add(self._greeting)

    def _greet(self) -> None:
        """Bring the greeting up to date."""
        if self._greeting is not None:
            self._greeting.say(self._greeting_text)

    @property
    def _greeting_text(self) -> str:
        return welcome(self._computer, downloading=self._download is not None) if self._is_demo else WELCOME

    def loaded(self, model: str) -> None:
        """This model answers from now on."""
        self._model = model
        self._greet()
        if self._is_demo:
            self._desk.run(self._look(), group="look", exclusive=True)
        else:
            self._desk.run(self._say_unverified(model), group="unverified")

    async def _say_unverified(self, model: str) -> None:
        line = await asyncio.to_thread(unverified, model)
        if line is not None:
            self._desk.warn(sentence(one_line(line)))

    async def _look(self) -> None:
        self._computer = await examine()
        self._greet()

    # The download

    def download(self, argument: str = "") -> None:
        """Start or resume the download of a model, by default gpt-oss-20b; "pause" and "hide" act on that download."""
        if argument == "hide":
            self.hide()
        elif argument == "pause":
            self._pause()
        else:
            self._start(argument)

    def step(self) -> None:
        """Do the next step: start, pause, resume, retry, switch to the model. A hidden panel is shown first."""
        download, panel = self._download, self._desk.download_panel
        if download is None:
            self._begin()
        elif not panel.display:
            self._show()
        elif download.state.phase is Phase.DONE:
            self.switch(download.name)
        elif download.active:
            self._pause()
        else:
            self._start(download.name)

    def _begin(self) -> None:
        if self._is_demo and self._computer is not None and self._computer.verified:
            self.switch(DEFAULT)
        elif self._is_demo or self._desk.status.state == "no model":
            self._start(DEFAULT)
        else:  # nothing has offered it
            self._desk.warn("No download is under way; /download NAME starts one.")

    def _start(self, name: str) -> None:
        download = self._download
        if download is not None and download.active and name not in ("", download.name):
            self._desk.warn(f"{download.name} is being downloaded. Pause that download first: /download pause.")
            return
        done = download is not None and download.state.phase is Phase.DONE
        if download is None or done or name not in ("", download.name):
            download = self._download = Download(name or DEFAULT)
        download.start()
        self._greet()
        self._show()

    def _pause(self) -> None:
        if self._download is None or not self._download.active:
            self._desk.warn("No download is under way.")
            return
        self._download.pause()
        self._show()

    def hide(self) -> None:
        """Hide the panel; a download continues, and its end shows the panel again."""
        panel = self._desk.download_panel
        if panel.has_focus_within:
            self._desk.composer.focus()
        if panel.display and self._download is not None and self._download.active:
            self._desk.notify("The download continues; ^L shows it again.")
        panel.display = False

    def _show(self) -> None:
        panel = self._desk.download_panel
        panel.display = True
        if self._timer is None:
            self._timer = panel.set_interval(POLL_S, self._poll)
        self._poll()

    def _poll(self) -> None:
        assert self._download is not None
        panel = self._desk.download_panel
        panel.show(self._download.name, self._download.state)
        if self._timer is not None and not self._download.active:
            self._timer.stop()
            self._timer = None
            panel.display = True

    def close(self) -> str:
        """Stop the download at the end of the chat; returns what to tell the person, "" for nothing."""
        if self._download is None:
            return ""
        self._download.pause()
        state = self._download.state
        if state.phase is Phase.DONE or not state.total:
            return ""
        name, share = self._download.name, ", ".join(figures(state).strip().split("  "))
        resume = f"To resume the download, use /download in the chat or run\n    gptoss-chat download {name}"
        return f"The download of {name} stopped at {share}. {resume}"

    # Switching

    def switch(self, name: str = "") -> None:
        """Switch to another model, in this conversation too; without a name, list them."""
        if not name:
            self._desk.run(self._list(), group="model")
        elif not self._idle.is_set():
            self._desk.warn(BUSY)
        else:
            self._desk.run(self._switch(name), group="model")

    async def _switch(self, name: str) -> None:
        try:
            await asyncio.to_thread(_find, name)
        except GptossError as error:
            self._desk.notify(sentence(str(error)), severity="error")
            return
        if name != self._model and not await self._engine.switch(name):
            return
        self._desk.notify(f"Switched to {self._engine.model}.")
        if self._download is not None and self._download.name == name and not self._download.active:
            self._download = None
            self.hide()

    async def _list(self) -> None:
        try:
            here = await asyncio.to_thread(local_models)
        except GptossError as error:
            self._desk.notify(sentence(str(error)), severity="error")
            return
        names = [DEMO, *(f"{model.name} ({disk_size(model.size)})" for model in here if model.complete)]
        await self._desk.notice(
            f"On this computer: {', '.join(names)}. /model NAME switches to a model; NAME can also be a folder."
        )


def _find(name: str) -> None:
    """Raises CheckpointError, saying what to do in the chat, unless this model is on this computer."""
    try:
        is_folder = name == DEMO or expanded(name).is_dir()
    except (OSError, ValueError):  # too long for a name, or with a NUL in it
        raise CheckpointError(f"there is no model {one_line(name)}") from None
    if is_folder or Repository.parse(name) is None or missing_disk() is not None:
        resolve(name)
        return
    with suppress(CheckpointError):
        if is_complete(resolve(name)):
            return
    raise CheckpointError(f"the model {name} is missing or incomplete on this computer; /download {name} fetches it")
