"""With NO_COLOR (https://no-color.org) the chat sends no colour, and what is chosen shows all the same."""

import re

from tests.fixtures.terminal import SCRIPTED_CHAT, Terminal, needs_tmux

pytestmark = needs_tmux


def looks(terminal: Terminal) -> dict[str, set[int]]:
    """For every piece of the screen that looks one way: the parameters of its SGR sequences."""
    found: dict[str, set[int]] = {}
    now: set[int] = set()
    for sgr, text in re.findall(r"(?:\x1b\[([\d;]*)m)?([^\x1b]*)", terminal.styled_screen()):
        for number in map(int, filter(None, sgr.split(";"))):
            now = now | {number} if number else set()
        found[text.strip()] = found.get(text.strip(), set()) | now
    return found


def colours(terminal: Terminal) -> set[int]:
    """The parameters on the screen that name a colour; 39 and 49 are the terminal's own."""
    numbers = set().union(*looks(terminal).values())
    return {number for number in numbers if 30 <= number < 50 or 90 <= number < 108} - {39, 49}


def test_no_colour_is_sent_and_what_is_chosen_shows_all_the_same() -> None:
    bold, underline, reverse = 1, 4, 7
    with Terminal(SCRIPTED_CHAT, environment={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for("ready")
        terminal.type("hello")
        terminal.wait_for("│ hello")
        assert reverse in looks(terminal)[""]  # the cursor
        terminal.keys("Enter")
        terminal.wait_for(lambda screen: screen.count("hello") == 2 and "ready" in screen)
        assert bold in looks(terminal)["[medium]"]
        assert colours(terminal) == set()
        terminal.keys("C-p")
        terminal.wait_for("find a command")
        terminal.wait_for("again")
        terminal.keys("Down")
        terminal.wait_for(lambda _: any(underline in look for look in looks(terminal).values()))
        assert colours(terminal) == set()


def test_otherwise_there_are_colours() -> None:
    with Terminal(SCRIPTED_CHAT) as terminal:
        terminal.wait_for("ready")
        assert colours(terminal)
