"""The conversation on the screen: follows the newest line until the person scrolls up, and mounts a part at a time."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from textual import work
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from app.chat.conversation import Node
from app.tui.text.window import Window
from app.tui.widgets.grows import Grows
from app.tui.widgets.live_container import LiveContainer

if TYPE_CHECKING:
    from app.tui.widgets.call_files import CallFiles

HIT = "-hit"
"""The class of a message in which a search has found something."""


@runtime_checkable
class Marks(Protocol):
    """A message in which words can be marked."""

    def mark(self, words: Sequence[str]) -> None:
        """Mark these words, which are folded; () marks none."""

    def line_of_mark(self) -> int | None:
        """The line of the first of them, counted from 0; None without one."""


GREETING = "-greeting"
"""The class of what stands in an empty conversation only."""


class More(Static):
    """Stands for what isn't mounted; a click, or scrolling to it, mounts some of it."""

    def __init__(self, id: str, step: int) -> None:
        super().__init__(markup=False, id=id)
        self._step = step

    def say(self, count: int, where: str) -> None:
        """There are `count` more."""
        self.display = count > 0
        self.update(Content(f"{where} {count:,} more"))

    def on_click(self) -> None:
        """Mount some of them."""
        if isinstance(self.parent, Transcript):
            self.parent.extend(self._step)


class Transcript(VerticalScroll, LiveContainer, Grows, can_focus=False):
    """Prompts, answers and notices in order.

    A long conversation costs its layout: `show` mounts the last nodes, or those around one, and more when the person
    scrolls to an end.
    """

    _following = False

    def __init__(self) -> None:
        super().__init__()
        self._path: list[Node] = []
        self._views: dict[str, list[Widget]] = {}
        self._window = Window()
        self._build: Callable[[Node], list[Widget]] = lambda node: []
        self._earlier, self._later = More("earlier", -1), More("later", 1)
        self._moving = False

    @property
    def follows(self) -> bool:
        """Whether the newest line is in sight, or will be at once: an anchored container scrolls when it is drawn."""
        return self._complete and (self._following or self.scroll_y >= self.max_scroll_y - 1)

    async def add(self, *widgets: Widget) -> None:
        """Put widgets that belong to no node at the end."""
        await self.mount(*widgets)

    def views_of(self, id: str) -> Sequence[Widget]:
        """The widgets of a node; none if it isn't mounted."""
        return self._views.get(id, ())

    def below(self, id: str) -> list[Widget]:
        """What was put after a node; nothing if that isn't here, or no longer, because the screen ends."""
        children, views = list(self.children), self._views.get(id)
        return children[children.index(views[-1]) + 1 :] if views and views[-1] in children else []

    async def show(
        self,
        nodes: Sequence[Node],
        build: Callable[[Node], list[Widget]],
        at: str | None = None,
        keep: Sequence[Widget] = (),
    ) -> list[Widget]:
        """Show these nodes, as `build` makes them, in place of everything: the end, or the node `at`, whose widgets are
        returned. What there is to `keep` stays below them."""
        self._moving = True
        index = next((i for i, node in enumerate(nodes) if node.id == at), len(nodes) - 1)
        self._path, self._build = list(nodes), build
        self._window = Window.around(len(nodes), index) if nodes else Window()
        self._views = {}
        with self.app.batch_update():
            await self.remove_children([child for child in self.children if child not in keep])
            self._earlier, self._later = More("earlier", -1), More("later", 1)
            views = self._new(self._window.start, self._window.end)
            await self.mount(self._earlier, *views, self._later, before=keep[0] if keep else None)
        self._say_more()
        found = self._views.get(at or "", [])
        if found:
            self._following = False
            self.anchor(False)
            self.call_after_refresh(self._show_found, found[0])
        else:
            self._following = True
            self.call_after_refresh(self._show_end)
        return found

    def reveal(self, id: str) -> list[Widget]:
        """Scroll to a node, and return its widgets; none if it isn't mounted."""
        if found := self._views.get(id, []):
            self.release_anchor()
            self._show_found(found[0])
        return found

    async def append(self, node: Node, *widgets: Widget) -> None:
        """Put a new node's widgets at the end, of which the window must have sight."""
        self._path.append(node)
        self._greet()
        self._views[node.id] = list(widgets)
        start, self._window = self._window.start, self._window.grown()
        await self.mount(*widgets)
        gone = [view for node in self._path[start : self._window.start] for view in self._views.pop(node.id)]
        if gone:
            await self.remove_children(gone)
        self._say_more()

    async def cut(self, nodes: Sequence[Node]) -> bool:
        """Take away what follows `nodes`; false, and nothing is done, if the end of these isn't on the screen."""
        count = len(nodes)
        begins = [node.id for node in self._path[:count]] == [node.id for node in nodes]
        if not begins or not self._window.start <= max(0, count - 1) < max(1, self._window.end):
            return False
        gone = [view for node in self._path[count:] for view in self._views.pop(node.id, ())]
        del self._path[count:]
        self._window = Window(self._window.start, count, count)
        await self.remove_children(gone)
        self._say_more()
        return True

    @work(group="extend", exclusive=True)
    async def extend(self, step: int) -> None:
        """Mount more at the beginning (-1) or the end (1); what is in sight stays where it is."""
        old, window = self._window, self._window.earlier() if step < 0 else self._window.later()
        if window == old or self._moving:
            return
        self._moving, self._window = True, window
        if step > 0:
            await self.mount(*self._new(old.end, window.end), before=self._later)
            self._say_more()
            self._moving = False
            return
        first = self._views[self._path[old.start].id][0]
        above = first.virtual_region.y - self.scroll_y
        with self.app.batch_update():
            await self.mount(*self._new(window.start, old.start), before=first)
            self._say_more()
        self.call_after_refresh(self._show_from, first, above)

    @property
    def _complete(self) -> bool:
        return self._window.end == self._window.total

    def _new(self, start: int, end: int) -> list[Widget]:
        for node in self._path[start:end]:
            self._views[node.id] = self._build(node)
        return [view for node in self._path[start:end] for view in self._views[node.id]]

    def _greet(self) -> None:
        """Show what greets only while there is no conversation. (A class of this widget would style all of it anew.)"""
        for child in self.query_children(f".{GREETING}"):
            child.display = not self._path

    def _say_more(self) -> None:
        self._greet()
        self._earlier.say(self._window.start, "\u2191")
        self._later.say(self._window.total - self._window.end, "\u2193")

    def _show_from(self, widget: Widget, above: float = 1.0) -> None:
        self.scroll_to(y=widget.virtual_region.y - above, animate=False, immediate=True, force=True)
        self.call_after_refresh(self._end_move)

    def _show_found(self, view: Widget) -> None:
        """Show a message from its beginning, or if the first word marked in it would then be out of sight, that."""
        line = view.line_of_mark() if isinstance(view, Marks) else None
        if line is not None and line + 1 >= self.size.height - 1:
            self._show_from(view, self.size.height // 3 - line)
        else:
            self._show_from(view)

    def unmark(self) -> None:
        """Show no longer what a search has found."""
        for view in self.query(f".{HIT}"):
            view.remove_class(HIT)
            if isinstance(view, Marks):
                view.mark(())

    def _show_end(self) -> None:
        self.follow()
        self._end_move()

    def _end_move(self) -> None:
        self._moving = False
        self._fit()

    def on_mount(self) -> None:
        """Look again whenever the content has grown or shrunk, and whenever an end comes into sight."""
        self.watch(self, "virtual_size", self._fit, init=False)
        self.watch(self, "scroll_y", self._reach, init=False)

    def follow(self) -> None:
        """Jump to the newest line and stay there until the person scrolls up."""
        self._following = True
        if self.max_scroll_y > 0:
            self.anchor()

    def release_anchor(self) -> None:
        """The person scrolls: what is in sight stays."""
        super().release_anchor()
        if self.max_scroll_y > 0:
            self._following = False

    def on_call_files_grown(self, event: "CallFiles.Grown") -> None:
        """Pictures have come in: above what is in sight they move nothing."""
        event.stop()
        if not self.follows and event.view.region.y < self.region.y:
            self.call_after_refresh(self._show_lower, event.lines)

    def _show_lower(self, lines: int) -> None:
        self.scroll_to(y=self.scroll_y + lines, animate=False, immediate=True, force=True)

    def on_resize(self) -> None:
        """The same content may fill a smaller window."""
        self.call_after_refresh(self._fit)

    def _reach(self) -> None:
        if self._moving or not self._path:
            return
        if self.scroll_y <= 0 and self._window.start > 0:
            self.extend(-1)
        elif self.scroll_y >= self.max_scroll_y:
            self._following = self._complete
            if not self._complete:
                self.extend(1)

    def _fit(self) -> None:
        # An anchored container shows content that doesn't fill it at its lower end; a conversation begins at the top.
        if self.max_scroll_y > 0 and self._following and not self.is_anchored:
            self.anchor()
        elif self.max_scroll_y <= 0:
            if self.is_anchored:
                self.anchor(False)
                self.scroll_target_y = self.scroll_y = 0  # scroll_home does nothing where nothing needs scrolling
            self._reach()
