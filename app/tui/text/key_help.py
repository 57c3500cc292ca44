"""What keys do in one kind of widget, in words; a widget class has its own as KEY_HELP, for the help screen."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyHelp:
    """`rows` of keys and what they do."""

    title: str
    rows: tuple[tuple[str, str], ...]
