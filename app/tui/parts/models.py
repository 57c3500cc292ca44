"""The commands about models: fetch one while the chat goes on, switch to one, list them; and the greeting."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from textual.timer import Timer

from app.chat.commands import BUSY
from app.tui.parts.background_download import Download
from app.tui.text.first_run import MODEL, WELCOME, Found, examine, welcome
from app.tui.widgets.download_panel import figures
from mlx_model.errors import CheckpointError, GptossError
from mlx_model.hub.inventory import local_models
from mlx_model.hub.names import DEMO, Repository, is_complete, resolve
from mlx_model.hub.progress import Phase
from mlx_model.memory.sizes import gigabytes

if TYPE_CHECKING:
    from app.tui.app import ChatApp

POLL_S = 0.25
"""Seconds between two looks at a download: figures that change faster can't be read."""


class Models:
    """Owns the download, if there is one, and what is known of this computer."""

    def __init__(self, app: ChatApp) -> None:
        self._app = app
        self._model = ""  # what answers, by its full name
        self._found: Found | None = None
        self._download: Download | None = None
        self._timer: Timer | None = None

    @property
    def _is_demo(self) -> bool:
        return self._model == DEMO

    @property
    def greeting(self) -> str:
        """What stands at the beginning of a conversation."""
        return welcome(self._found, on_its_way=self._download is not None) if self._is_demo else WELCOME

    def loaded(self, model: str) -> None:
        """This model answers from now on."""
        self._model = model
        self._app.greet()
        if self._is_demo:
            self._app.run_worker(self._look(), group="look", exclusive=True)

    async def _look(self) -> None:
        self._found = await examine()
        self._app.greet()

    # The download

    def download(self, argument: str = "") -> None:
        """Start the download of a model, by default gpt-oss-20b, or let it go on; "pause" and "hide" do as they say."""
        if argument == "hide":
            self.hide()
        elif argument == "pause":
            self._pause()
        else:
            self._start(argument)

    def step(self) -> None:
        """Do what is next: start, pause, go on, try again, switch to the model. What is hidden is shown first."""
        download, panel = self._download, self._app.download_panel
        if download is None:
            self._begin()
        elif not panel.display:
            self._show()
        elif download.reached.phase is Phase.DONE:
            self.switch(download.name)
        elif download.active:
            self._pause()
        else:
            self._start(download.name)

    def _begin(self) -> None:
        if self._is_demo and self._found is not None and self._found.verified:
            self.switch(MODEL)
        elif self._is_demo or self._app.status.state == "no model":
            self._start(MODEL)
        else:  # nothing has offered it
            self._app.warn("No download is under way; /download NAME starts one.")

    def _start(self, name: str) -> None:
        download = self._download
        if download is not None and download.active and name not in ("", download.name):
            self._app.warn(f"{download.name} is being downloaded: /download pause first.")
            return
        done = download is not None and download.reached.phase is Phase.DONE
        if download is None or done or name not in ("", download.name):
            download = self._download = Download(name or MODEL)
        download.start()
        self._app.greet()
        self._show()

    def _pause(self) -> None:
        if self._download is None or not self._download.active:
            self._app.warn("No download is under way.")
            return
        self._download.pause()
        self._show()

    def hide(self) -> None:
        """Take the panel away; a download goes on, and its end brings the panel back."""
        panel = self._app.download_panel
        if panel.has_focus_within:
            self._app.composer.focus()
        if panel.display and self._download is not None and self._download.active:
            self._app.notify("The download goes on; ^L shows it again.", markup=False)
        panel.display = False

    def _show(self) -> None:
        self._app.download_panel.display = True
        if self._timer is None:
            self._timer = self._app.set_interval(POLL_S, self._poll)
        self._poll()

    def _poll(self) -> None:
        assert self._download is not None
        reached = self._download.reached
        panel = self._app.download_panel
        panel.show(self._download.name, reached)
        if self._timer is not None and not self._download.active:
            self._timer.stop()
            self._timer = None
            panel.display = True

    def close(self) -> str:
        """End the download with the chat; what to say of it, "" if nothing."""
        if self._download is None:
            return ""
        self._download.pause()
        reached = self._download.reached
        if reached.phase is Phase.DONE or not reached.total:
            return ""
        name, share = self._download.name, ", ".join(figures(reached).strip().split("  "))
        again = f"/download goes on from there, and so does the command\n    gptoss-chat download {name}"
        return f"The download of {name} has stopped at {share}. {again}"

    # Switching

    def switch(self, name: str = "") -> None:
        """Let another model answer from now on, in this conversation; without a name, say which there are."""
        if not name:
            self._app.run_worker(self._list(), group="model")
        elif not self._app.chat.idle.is_set():
            self._app.warn(BUSY)
        else:
            self._app.run_worker(self._switch(name), group="model")

    async def _switch(self, name: str) -> None:
        app = self._app
        try:
            await asyncio.to_thread(_find, name)
        except GptossError as error:
            app.notify(f"{error}.", severity="error", markup=False)
            return
        if name != self._model and not await app.keeper.switch(name):
            return
        app.notify(f"{app.keeper.model} answers from now on.", markup=False)
        if self._download is not None and self._download.name == name and not self._download.active:
            self._download = None
            self.hide()

    async def _list(self) -> None:
        try:
            here = await asyncio.to_thread(local_models)
        except GptossError as error:
            self._app.notify(f"{error}.", severity="error", markup=False)
            return
        names = [DEMO, *(f"{model.name} ({gigabytes(model.size)})" for model in here if model.complete)]
        await self._app.notice(f"/model NAME switches. On this computer: {', '.join(names)}; a folder will do, too.")


def _find(name: str) -> None:
    """Raises CheckpointError, saying what to do in the chat, unless this model is on this computer."""
    is_folder = name == DEMO or Path(name).expanduser().is_dir()
    repository = None if is_folder else Repository.parse(name)
    if repository is not None:
        folder = repository.snapshot()
        if folder is None or not is_complete(folder):
            raise CheckpointError(f"{name} is not on this computer, or not all of it: /download {name} fetches it")
    resolve(name)
