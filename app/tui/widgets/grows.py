"""A widget that gets another size while an answer is written."""

from textual.geometry import Size
from textual.reactive import Reactive
from textual.widget import Widget


class Grows(Widget):
    """Has the screen laid out once each time, not twice.

    Textual tells a widget its new size when it has laid out the screen. As `virtual_size` is a part of that, and asks
    for a layout when it changes, the whole screen is laid out and drawn a second time, in which nothing moves. (Where
    a scrollbar comes or goes, that asks for one itself.)

    Named last among the bases of a class: Textual takes the default CSS from the first.
    """

    virtual_size = Reactive(Size(0, 0), repaint=False)
