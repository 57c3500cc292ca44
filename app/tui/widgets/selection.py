"""The conversation with a message that is selected, by keyboard or mouse, and the line that says what it can do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual import events, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from app.tui.text.key_help import KeyHelp
from app.tui.text.message_keys import (
    ACTIONS,
    BACK,
    CODE,
    OFFER,
    MessageFacts,
    Offer,
    esc_offer,
    offers,
    offers_line,
)
from app.tui.widgets.transcript import Transcript

SELECTED, EDITED = "-selected", "-edited"
"""The classes of such messages."""


class MessageKeys(Static):
    """What can be done with the selected message, in one line; not there without one."""

    # A click on what Textual counts to the system leaves the text that is selected with the mouse as it is.
    DEFAULT_CLASSES = "-textual-system"

    @dataclass
    class Chosen(Message):
        """A click on an action."""

        action: str

    def __init__(self) -> None:
        super().__init__(markup=False)
        self.display = False
        self._offers: list[Offer] = []
        self._esc = BACK
        self._with_keys = True

    def show(self, facts: MessageFacts | None, *, with_keys: bool) -> None:
        """Say what there is to do `with_keys` or by a click alone; None: nothing."""
        found = offers(facts) if facts else []
        esc = esc_offer(facts) if facts else BACK
        if (found, esc, with_keys) != (self._offers, self._esc, self._with_keys):
            self._offers, self._esc, self._with_keys = found, esc, with_keys
            self._say()
        self.display = bool(found)

    def on_click(self, event: events.Click) -> None:
        """Whatever stands there."""
        if (action := event.style.meta.get(OFFER)) is not None:
            self.post_message(self.Chosen(action))

    def on_resize(self) -> None:
        """More fits, or less."""
        self._say()

    def _say(self) -> None:
        width = self.content_size.width
        self.update(offers_line(self._offers, width, with_keys=self._with_keys, esc=self._esc), layout=False)


class SelectableTranscript(Transcript, can_focus=True):
    """While it has the focus a message is selected, and keys are for that one. A click selects one too, but leaves the
    focus where it is, so that typing goes on: then its actions are there to be clicked.

    What is selected is marked by a bar at its left edge: an outline, which lays out nothing.
    """

    FOCUS_ON_CLICK = False
    KEY_HELP: ClassVar[KeyHelp] = KeyHelp(
        "A selected message (Shift+Tab)",
        (
            ("Up, Down, or k, j", "the previous, the next message"),
            ("Home, End", "the first, the last message"),
            ("c", "copy it as Markdown"),
            ("x, or 1 to 9", "copy its last code block, or one by its number"),
            ("w", "save a code block as a file"),
            ("!", "run a code block in the sandbox *"),
            ("a", "ask about the output of a code block"),
            ("p", "open its last web page in the browser, offline"),
            ("f", "open a file that it has written"),
            ("e", "edit your message, as another version *"),
            ("b", "branch: ask on from this answer, keep the rest *"),
            ("r", "answer again, keep the previous answer *"),
            ("g", "continue an answer that was cut off *"),
            ("q", "quote it, or the text selected by mouse"),
            ("o, Enter, Space", "open or close the analysis, calls and outputs"),
            ("s", "open or close what its sources say"),
            ("[, ]", "turn the pages of a long answer"),
            ("<, > or Left, Right", "show the previous or the next version *"),
            ("PageUp, PageDown", "scroll"),
            ("Esc, Tab, other letters", "back to the input"),
        ),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "app.scroll_transcript(-1)", "Scroll up", show=False),
        Binding("pagedown", "app.scroll_transcript(1)", "Scroll down", show=False),
    ]

    class SelectionChanged(Message):
        """Another message is selected, or none any more."""

    def __init__(self) -> None:
        super().__init__()
        self._selected: str | None = None
        self._edited: str | None = None
        self._followed = False  # the newest line, before it scrolled to what is edited
        self.numbered = 0
        """How many of what the selected message has have a digit of their own as a key: of its code blocks, or where
        `numbers` says so of its files."""
        self.numbers = CODE
        self.own_keys: Mapping[str, str] = {}
        """Keys that the selected message has for what is in it, with what they do."""

    # What is selected

    @property
    def selected(self) -> str | None:
        """The id of the node that is selected."""
        return self._selected if self._selected in self._views else None

    @property
    def selected_views(self) -> list[Widget]:
        """Its widgets."""
        return self._views.get(self._selected or "", [])

    @property
    def _mounted(self) -> list[str]:
        """The nodes that can be selected at once, in their order."""
        return [node.id for node in self._path[self._window.start : self._window.end] if node.id in self._views]

    def has(self, id: str) -> bool:
        """Whether a message is mounted, and can be selected."""
        return id in self._views

    def action_of(self, key: str) -> str | None:
        """What a key does with the selected message; None for what goes to the input, or wherever it leads."""
        if key in map(str, range(1, self.numbered + 1)):
            return f"{self.numbers} {key}"
        return self.own_keys.get(key) or ACTIONS.get(key)

    def select(self, id: str | None, *, scroll: bool = True) -> None:
        """Select a message that is mounted, and scroll to it; None: none."""
        if id == self._selected:
            return
        self._set(SELECTED, self._selected, False)
        self._selected = id
        self._set(SELECTED, id, True)
        if id is not None and scroll:
            self._bring_into_sight(id)
        self.post_message(self.SelectionChanged())

    def mark_edited(self, id: str | None) -> None:
        """Mark the message that is being edited, and scroll to it; None: none is, and what was in sight before is."""
        if id == self._edited:
            return
        if self._edited is None:
            self._followed = self.follows
        self._set(EDITED, self._edited, False)
        self._edited = id
        self._set(EDITED, id, True)
        if id is not None:
            self._bring_into_sight(id)
        elif self._followed:
            self.follow()

    def step(self, step: int) -> None:
        """Select the previous (-1) or the next message (1); mount more where none is left."""
        mounted = self._mounted
        if self.selected is None:
            return
        to = mounted.index(self.selected) + step
        if 0 <= to < len(mounted):
            self.select(mounted[to])
        elif self._window.start > 0 if step < 0 else not self._complete:
            self._step_beyond(step)

    @work(group="select", exclusive=True)
    async def _step_beyond(self, step: int) -> None:
        before = set(self._views)
        await self.extend(step).wait()
        if set(self._views) > before:
            self.call_after_refresh(self.step, step)  # after what is in sight has got its place

    def allow_focus(self) -> bool:
        """Without messages there is nothing to select."""
        return bool(self._mounted) and super().allow_focus()

    def enter(self) -> None:
        """Select the newest message in sight: whoever has scrolled up reads there."""
        if self.selected is None:
            low, mounted = self.scroll_y + self.size.height, self._mounted
            in_sight = [id for id in mounted if self._views[id][0].virtual_region.y < low]
            self.select(next(reversed(in_sight or mounted), None), scroll=False)

    def on_focus(self) -> None:
        """A message is selected, and its keys are keys now."""
        self.enter()
        self.post_message(self.SelectionChanged())

    def on_blur(self) -> None:
        """Whoever goes elsewhere is done with the message; not who goes to another window."""
        if self.app.app_focus and self.screen.focused is not self:  # it may be back already
            self.select(None)

    def on_click(self, event: events.Click) -> None:
        """Select the message, or the opposite; not at the end of a selection of text."""
        if self.screen.get_selected_text():
            return
        here = event.widget.ancestors_with_self if event.widget is not None else ()
        found = next((id for id, views in self._views.items() if any(view in views for view in here)), None)
        self.select(None if found == self._selected else found, scroll=False)

    def _set(self, name: str, id: str | None, on: bool) -> None:
        for view in self._views.get(id or "", ()):
            view.set_class(on, name)

    def _say_more(self) -> None:
        """Called when what is mounted has changed: what is no longer there is no longer selected."""
        super()._say_more()
        if self._selected is not None and self.selected is None:
            self.select(None)
        self._set(SELECTED, self._selected, True)  # it may have been made anew
        self._set(EDITED, self._edited, True)

    # On the screen

    def _bring_into_sight(self, id: str) -> None:
        """Scroll as little as shows all of the message, or else its beginning."""
        if not (views := self._views.get(id, [])):
            return
        height = self.scrollable_content_region.height
        top, bottom = views[0].virtual_region.y - 1, views[-1].virtual_region.bottom
        if top < self.scroll_y or bottom > self.scroll_y + height:
            target = top if top < self.scroll_y else min(top, bottom - height)
            if target < self.scroll_y:
                self.release_anchor()
            self.scroll_to(y=target, animate=False, immediate=True, force=True)
