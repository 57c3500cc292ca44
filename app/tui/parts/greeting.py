"""Fills the first screen, and keeps what is known of this computer, which the list of models shows too."""

from textual.timer import Timer

from app.tui.parts.computer import examine
from app.tui.parts.desk import Desk
from app.tui.text.computer import ComputerFacts
from app.tui.text.first_run import FirstScreen, first_screen, screen_of_server, shared
from app.tui.widgets.welcome import Welcome
from mlx_model.hub.published import DEMO

LONG_S = 3.0
"""Seconds after which a load takes long."""
COMPILED_ONCE = "The first time, the kernels are compiled for this computer; that takes about a minute."


class Greeting:
    """Owns the first screen and the facts about this computer."""

    def __init__(self, desk: Desk, server: str = "", shared_at: str = "") -> None:
        """`server` is the computer that answers, "" for this one; `shared_at` is where other programs find it."""
        self._desk = desk
        self._server = server
        self._shared_at = shared_at
        self._welcome: Welcome | None = None
        self._model = ""
        self._examined = False
        self._downloading = False
        self._wait: Timer | None = None
        self.computer: ComputerFacts | None = None
        """None before it is known, or where it can't be found out."""

    async def welcome(self) -> None:
        """Greet at the beginning of a conversation."""
        self._welcome = Welcome(self._screen)
        await self._desk.transcript.add(self._welcome)

    def name(self, model: str) -> None:
        """This model is being loaded, and answers from then on."""
        self._model = model
        self._show()

    def download(self, *, under_way: bool) -> None:
        """Whether a download has been started, whose panel says more than the first screen could."""
        self._downloading = under_way
        self._show()

    def look(self) -> None:
        """Find out what this computer is, once; what of the models is here, again each time."""
        self._stop_waiting()
        self._desk.run(self.examine(), group="look", exclusive=True)

    def look_if_it_takes_long(self) -> None:
        """The same while the model is being loaded, and say why that takes long, if it does. `look` takes its place."""
        self._stop_waiting()
        self._wait = self._desk.transcript.set_timer(LONG_S, self._look_while_it_loads)

    def _look_while_it_loads(self) -> None:
        status = self._desk.status
        if status.state == "preparing the kernels" and status.progress is None:
            self._desk.notify(COMPILED_ONCE, timeout=5 * LONG_S)
        if self._model == DEMO:
            self.look()

    def _stop_waiting(self) -> None:
        if self._wait is not None:
            self._wait.stop()
            self._wait = None

    async def examine(self) -> None:
        """The same, and wait for it."""
        self.computer = await examine() or self.computer
        self._examined = True
        self._show()

    @property
    def _screen(self) -> FirstScreen:
        if self._server:
            return screen_of_server(self._model, self._server)
        facts = {"examined": self._examined, "downloading": self._downloading}
        return shared(first_screen(self._model, self.computer, **facts), self._shared_at)

    def _show(self) -> None:
        if self._welcome is not None:
            self._welcome.show(self._screen)
