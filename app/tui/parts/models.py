"""The commands about models: download one while the chat goes on, switch to one, choose from those there are."""

import asyncio
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from textual.timer import Timer

from app.adapters import OFF, adapter_names, adapters_here, find_adapter
from app.lines import one_line, sentence
from app.tui.parts.desk import Desk
from app.tui.parts.engine import EngineKeeper
from app.tui.parts.greeting import Greeting
from app.tui.text.computer import ModelFacts
from app.tui.widgets.download_panel import figures
from mlx_model.errors import CheckpointError, GptossError
from mlx_model.hub.progress import Phase
from mlx_model.hub.published import DEFAULT, DEMO, SIZES

if TYPE_CHECKING:  # what fetches and what looks through folders is loaded when it is needed
    from app.tui.parts.background_download import Download

POLL_S = 0.25
"""Seconds between two updates of the download panel: figures that change faster can't be read."""


class Models:
    """Owns the download, if there is one, and the first screen, which offers it."""

    def __init__(self, desk: Desk, engine: EngineKeeper, idle: asyncio.Event) -> None:
        """`idle` is set while no answer is under way: only then another model can be loaded."""
        self._desk = desk
        self._engine = engine
        self._idle = idle
        self.greeting = Greeting(desk, engine.server, engine.shared_at)
        self._model = ""  # the full name of the model that answers
        self._local: list[str] = []  # names of models on this computer, as far as known
        self._download: Download | None = None
        self._timer: Timer | None = None
        self._began = 0.0

    @property
    def _is_demo(self) -> bool:
        """Whether the demo answers, or will when it is loaded."""
        return (self._model or self._desk.status.model) == DEMO and not self._engine.server

    @property
    def names(self) -> list[str]:
        """Those that `/model` may be followed by, as far as known at once."""
        if self._engine.server:
            return [self._model] if self._model else []
        return list(dict.fromkeys((DEMO, *SIZES, *self._local, *filter(None, (self._model,)))))

    @property
    def downloads(self) -> list[str]:
        """What `/download` may be followed by."""
        from mlx_model.hub.names import Repository  # now: it comes with all that reads folders of models

        return [
            *SIZES,
            *(name for name in self._local if name not in SIZES and Repository.parse(name)),
            "pause",
            "hide",
        ]

    def names_for(self, action: str) -> list[str]:
        """What the command of this action may be followed by."""
        match action:
            case "model":
                return self.names
            case "adapter":
                return [*adapter_names(), OFF]
        return self.downloads

    def name(self, model: str) -> None:
        """This model is being loaded; a short name."""
        self.greeting.name(model)
        if not self._engine.server:
            self.greeting.look_if_it_takes_long()

    def loaded(self, model: str) -> None:
        """This model answers from now on; its full name."""
        self._model = model
        self.greeting.name(model)
        if self._engine.server:  # what is on this computer answers nothing
            return
        if self._is_demo:
            self.greeting.look()
        else:
            self._desk.run(self._say_unverified(model), group="unverified")
        self._desk.run(self._list_local(), group="local", exclusive=True)

    async def _list_local(self) -> None:
        with suppress(GptossError):
            self._local = await asyncio.to_thread(_names_here)

    async def _say_unverified(self, model: str) -> None:
        line = await asyncio.to_thread(_unverified, model)
        if line is not None:
            self._desk.warn(sentence(one_line(line)))

    # The download

    def download(self, argument: str = "") -> None:
        """Start or resume the download of a model, by default gpt-oss-20b; "pause" and "hide" act on that download."""
        if argument == "hide":
            self.hide()
        elif argument == "pause":
            self._pause()
        else:
            self._resume_or_offer(argument)

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
        computer = self.greeting.computer
        if self._is_demo and computer is not None and computer.default.verified:
            self.switch(DEFAULT)
        elif self._is_demo or self._desk.status.state == "no model":
            self._resume_or_offer(DEFAULT)
        else:  # nothing has offered it
            self._desk.warn("No download is under way; /download NAME starts one.")

    def _resume_or_offer(self, name: str) -> None:
        """What this chat has paused goes on at once; before anything else a person is asked."""
        download = self._download
        is_same = download is not None and name in ("", download.name)
        if download is not None and download.active and not is_same:
            self._desk.warn(f"{download.name} is being downloaded. Pause that download first: /download pause.")
        elif download is not None and is_same and download.state.phase is not Phase.DONE:
            self._start(download.name)
        else:
            self._desk.run(self._offer(name or DEFAULT), group="offer", exclusive=True)

    async def _offer(self, name: str) -> None:
        """Ask; where there is nothing to fetch, or nothing can be now, the download says so itself."""
        from app.tui.parts.background_download import offer_of
        from app.tui.screens.download import DownloadScreen
        from mlx_model.hub.listing import NoModel

        offer = None
        facts = next((model for model in self._facts() if model.name == name), ModelFacts(name))
        try:
            offer = await asyncio.to_thread(offer_of, facts, is_demo=self._is_demo)
        except NoModel as error:
            self._desk.notify(sentence(one_line(str(error))), severity="error")
            return
        except (GptossError, OSError):
            pass
        if offer is None or not offer.missing:
            self._start(name)
        else:
            self._desk.ask(DownloadScreen(offer), lambda wanted: self._start(name) if wanted else None)

    def _start(self, name: str) -> None:
        download = self._download
        if download is not None and download.active and name not in ("", download.name):
            self._desk.warn(f"{download.name} is being downloaded. Pause that download first: /download pause.")
            return
        done = download is not None and download.state.phase is Phase.DONE
        if download is None or done or name not in ("", download.name):
            from app.tui.parts.background_download import Download

            download = self._download = Download(name or DEFAULT)
        download.start()
        self._began = monotonic()
        self.greeting.download(under_way=True)
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
            self._desk.notify("The download continues; F6 shows it again.")
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
            self._say_ended(self._download)

    def _say_ended(self, download: "Download") -> None:
        took = monotonic() - self._began
        if download.state.phase is Phase.DONE:
            self._desk.attention.ended(f"{download.name} is downloaded.", took)
        elif download.state.phase is Phase.FAILED:
            self._desk.attention.ended(f"The download of {download.name} has stopped.", took)

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
        """Switch to another model, in this conversation too; without a name, show which there are."""
        if not name and (server := self._engine.server):
            self._desk.notify(f"{self._engine.model} answers at {server}. `--connect none` starts with models of here.")
        elif not name:
            self._desk.run(self._choose(), group="choose", exclusive=True)
        elif not self._idle.is_set():
            self._desk.warn_busy()
        else:
            self._desk.run(self._switch(name), group="model")

    async def _switch(self, name: str) -> None:
        try:
            if not self._engine.server:
                await asyncio.to_thread(_find, name)
        except GptossError as error:
            self._desk.notify(sentence(str(error)), severity="error")
            return
        if name != self._model and not await self._engine.switch(name):
            return
        self._desk.notify(f"Switched to {self._engine.model}.")
        if self._download is not None and self._download.name == name and not self._download.active:
            self._download = None
            self.greeting.download(under_way=False)
            self.hide()

    def adapter(self, name: str = "") -> None:
        """Let the model answer with an adapter, or with none; without a name, say which there are."""
        if self._engine.server:
            self._desk.notify(f"The adapter is that of the model at {self._engine.server}.")
        elif not name:
            self._desk.notify(f"{self._engine.label or 'No model'} answers. {adapters_here()}")
        elif not self._idle.is_set():
            self._desk.warn_busy()
        else:
            self._desk.run(self._adapt(name), group="model")

    async def _adapt(self, name: str) -> None:
        try:
            folder = None if name == OFF else find_adapter(name)
        except GptossError as error:
            self._desk.notify(sentence(one_line(str(error))), severity="error")
            return
        if await self._engine.adapt(folder):
            self._desk.notify(f"{self._engine.label} answers from now on.")

    async def _choose(self) -> None:
        """Show the models; what isn't known of them yet comes while they are shown."""
        from app.tui.screens.models import ModelScreen

        screen = ModelScreen(self._facts(), self._model)
        self._desk.ask(screen, self._chosen)
        await self.greeting.examine()
        screen.know(self._facts())

    def _facts(self) -> list[ModelFacts]:
        computer = self.greeting.computer
        known = {model.name: model for model in computer.models} if computer else {}
        facts = [known.get(name, ModelFacts(name, SIZES.get(name, 0), complete=name == DEMO)) for name in self.names]
        return facts + [model for name, model in known.items() if name not in self.names]

    def _chosen(self, model: ModelFacts | None) -> None:
        if model is None or model.name == self._model:
            return
        from mlx_model.hub.names import Repository

        if model.complete or Repository.parse(model.name) is None:
            self.switch(model.name)
        else:
            self._resume_or_offer(model.name)


def _names_here() -> list[str]:
    from mlx_model.hub.inventory import local_models

    return [model.name for model in local_models() if model.problem is None]


def _unverified(model: str) -> str | None:
    from mlx_model.hub.inventory import unverified

    return unverified(model)


def _find(name: str) -> None:
    """Raises CheckpointError, saying what to do in the chat, unless this model is on this computer."""
    from mlx_model.hub.environment import expanded, missing_disk
    from mlx_model.hub.names import Repository, is_complete, resolve
    from mlx_model.hub.spelling import gguf

    try:
        is_folder = name == DEMO or expanded(name).is_dir()
    except (OSError, ValueError):  # too long for a name, or with a NUL in it
        raise CheckpointError(f"there is no model {one_line(name)}; /model lists those on this computer") from None
    if is_folder or Repository.parse(name) is None or missing_disk() is not None:
        resolve(name)
        return
    if (what := gguf(name)) is not None:
        raise CheckpointError(what)
    with suppress(CheckpointError):
        if is_complete(resolve(name)):
            return
    raise CheckpointError(f"the model {name} is missing or incomplete on this computer; /download {name} fetches it")
