"""The first screen: what it has to say, and what is known of this computer, which the list of models says too."""

from app.tui.parts.computer import examine
from app.tui.parts.desk import Desk
from app.tui.text.computer import ComputerFacts
from app.tui.text.first_run import FirstScreen, first_screen, screen_of_server, shared
from app.tui.widgets.welcome import Welcome


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
        self._desk.run(self.examine(), group="look", exclusive=True)

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
