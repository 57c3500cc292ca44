"""What can be clicked in the line above a code block: the words, the actions, and what the mouse is told of them."""

from collections.abc import Callable
from typing import NamedTuple

from app.chat.web_pages import is_web_page
from app.tools.code import run_by


class Word(NamedTuple):
    """One of them; `method` is the action, whose argument is the number of the block, `help` says what it does."""

    text: str
    method: str
    help: str

    def action(self, number: int) -> str:
        """What a click does with this block of the page, counted from 0."""
        return f"{self.method}({number})"


COPY = Word("copy", "copy_code", "Copy it; keys: Shift+Tab, then x or its number")
RUN = Word("run", "run_code", "Run it in the sandbox; keys: Shift+Tab, then !")
OPEN = Word("open", "open_code", "Open it in the browser, offline; keys: Shift+Tab, then p")
SAVE = Word("save", "save_code", "Save it as a file in the current folder; keys: Shift+Tab, then w")
_ALL = {word.method: word for word in (COPY, RUN, OPEN, SAVE)}


WordsOf = Callable[[str, str], tuple[Word, ...]]
"""Takes the language and the code of a block, and says what can be clicked above it."""


def copy_alone(language: str, code: str) -> tuple[Word, ...]:
    """What there is for any code: that of a call, or what a tool gave."""
    return (COPY,)


def words_of(language: str, code: str) -> tuple[Word, ...]:
    """What there is for a code block of an answer, what matters most first."""
    runs, opens = bool(run_by(language)), is_web_page(language, code)
    return (COPY, *([RUN] if runs else []), *([OPEN] if opens else []), SAVE)


def help_of(click: str) -> str:
    """What a click does, by its action; "" for one that isn't here."""
    word = _ALL.get(click.partition("(")[0])
    return word.help if word else ""
