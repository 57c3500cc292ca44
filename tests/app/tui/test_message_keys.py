"""The line that names what can be done with a selected message, and quotes."""

import pytest
from textual.style import Style

from app.tui.parts.selection import quoted
from app.tui.text.message_keys import OFFER, MessageFacts, offers, offers_line

ALL = MessageFacts(is_prompt=False, code_blocks=3, details="thought", pages=2, versions=2, can_go_on=True)


@pytest.mark.parametrize(
    ("facts", "width", "line"),
    [
        (MessageFacts(is_prompt=True), 75, "c copy  e edit  r again  q quote  Up Down move  Esc back"),
        (
            MessageFacts(is_prompt=True),
            76,
            "c copy  e edit  r again  q quote  Up Down move  other letters type  Esc back",
        ),
        (MessageFacts(is_prompt=True), 33, "c copy  e edit  r again  Esc back"),
        (MessageFacts(is_prompt=True), 32, "c copy  e edit  Esc back"),
        (MessageFacts(is_prompt=False, code_blocks=1), 40, "c copy  x code  b branch  Esc back"),
        (ALL, 76, "c copy  1 2 3 code  b branch  g continue  r again  q quote  Esc back"),
        (ALL, 120, "c copy  1 2 3 code  b branch  g continue  r again  q quote  o thought  [ ] page  < > version"),
        (MessageFacts(is_prompt=True), 4, "Esc back"),
    ],
)
def test_the_line_names_what_fits(facts: MessageFacts, width: int, line: str) -> None:
    assert offers_line(offers(facts), width, with_keys=True).plain.startswith(line)


def test_without_keys_words_are_clicked() -> None:
    line = offers_line(offers(ALL), 120, with_keys=False)
    assert line.plain == "copy  code 1 2 3  branch  continue  again  quote  thought  page [ ]  version < >  back"
    metas = [(line.plain[s.start : s.end], s.style.meta) for s in line.spans if isinstance(s.style, Style)]
    clicked = {text: meta[OFFER] for text, meta in metas}
    assert (clicked["copy"], clicked["2"], clicked["back"]) == ("copy", "code 2", "leave") and "code" not in clicked


def test_a_quote_has_a_mark_before_every_line() -> None:
    assert quoted("\na\n\nb\n") == "> a\n>\n> b\n\n"
