"""Below an answer: the sources that it cites, one line each; a click opens what was cited, as the model saw it."""

from collections.abc import Sequence

from textual import events
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Region, Size
from textual.widget import Widget

from app.chat.conversation import Node, files_of
from app.documents.citations import FileCitations
from app.tui.text.source_lines import ALL, SOURCE, Line, listed, source_lines
from mlx_model.harmony.message import Message, Role
from mlx_model.tools.citations import Citations, Source
from mlx_model.tools.shown_pages import pages_of


class Sources(Widget):
    """The list, in one widget however long it is; not there without any."""

    def __init__(self) -> None:
        super().__init__()
        self.earlier: Sequence[Node] = ()
        """What the conversation has before the answer: it may cite pages from there. Set before the answer is shown."""
        self.citations = Citations()
        self.files = FileCitations(lambda: files_of(self.earlier))
        self._pages_read = 0  # messages of the answer whose pages the citations know
        self._sources: Sequence[Source] = ()
        self._opened: set[int] = set()
        self._shows_all = False
        self.display = False

    def read(self, messages: Sequence[Message]) -> None:
        """Number what the answer cites, as far as there is of it."""
        texts = [each.text for each in messages if _is_shown(each) and "\u3010" in each.text]
        if texts and len(messages) != self._pages_read:
            self._pages_read = len(messages)
            before = [message for node in self.earlier for message in node.messages]
            self.citations.know(pages_of([*before, *messages]))
        for text in texts:
            self.citations.read(text)

    def show(self) -> None:
        """List what was read, once no more of the answer is to come."""
        if (sources := self.citations.sources) != self._sources:
            self._sources, self.display = sources, bool(sources)
            self.refresh(layout=True)

    def open(self, number: int) -> None:
        """Open a source, and bring it into sight; nothing if it isn't there."""
        found = next((source for source in self._sources if source.number == number), None)
        if found is not None:
            self._shows_all |= found not in listed(self._sources, all_of_them=False)
            self._opened.add(number)
            self._lay_out(number)

    def toggle(self) -> None:
        """Open all sources, or close them if all are open."""
        if not self._sources:
            return
        numbers = {source.number for source in self._sources}
        self._opened = set() if self._opened == numbers else numbers
        self._shows_all = bool(self._opened)
        self._lay_out(self._sources[0].number)

    def render(self) -> Content:
        """The lines at the present width."""
        return Content("\n").join(line.content for line in self._lines(self.content_size.width))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Their number."""
        return len(self._lines(width)) if width else 0

    def on_click(self, event: events.Click) -> None:
        """Open or close a source, or list all; not at the end of a selection of text."""
        number = event.style.meta.get(SOURCE)
        if number is None or self.screen.get_selected_text():
            return
        event.stop()  # else it would select the message as well
        if number == ALL:
            self._shows_all = True
        else:
            self._opened ^= {number}
        self._lay_out(number)

    def _lay_out(self, number: int) -> None:
        self.refresh(layout=True)
        # After a transcript that had room for all of it has turned to its end.
        self.call_after_refresh(self.call_after_refresh, self._keep_in_sight, number)

    def _keep_in_sight(self, number: int) -> None:
        """Show as much of a source as fits, from its line on, though the transcript would follow its end."""
        own = [at for at, line in enumerate(self._lines(self.content_size.width)) if line.number == number]
        window = next((each for each in self.ancestors if isinstance(each, VerticalScroll)), None)
        if not own or window is None:
            return
        offset = self.content_region.offset - window.content_region.offset + window.scroll_offset
        for height in (own[-1] - own[0] + 1, 1):
            region = Region(0, own[0], 1, height).translate(offset)
            window.scroll_to_region(region, animate=False, immediate=True, x_axis=False)

    def _lines(self, width: int) -> list[Line]:
        return source_lines(self._sources, self._opened, width, all_of_them=self._shows_all)


def _is_shown(message: Message) -> bool:
    """Whether the model says it to the person."""
    return message.role is Role.ASSISTANT and message.channel != "analysis" and not message.calls_tool
