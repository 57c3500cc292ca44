"""The line that names what can be done with a selected message, and quotes."""

from dataclasses import replace

import pytest
from textual.style import Style

from app.tui.text.message_keys import OFFER, RUN, SAVE, MessageFacts, offers, offers_line, own_keys
from app.tui.text.messages import quoted

ALL = MessageFacts(is_prompt=False, code_blocks=3, runs=(1, 3), details="thought", pages=2, versions=2, can_go_on=True)


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
        (MessageFacts(is_prompt=False, code_blocks=1), 48, "c copy  x code  w save  b branch  Esc back"),
        (ALL, 76, "c copy  1 2 3 code  w save  ! run  b branch  g continue  r again  Esc back"),
        (
            ALL,
            130,
            "c copy  1 2 3 code  w save  ! run  b branch  g continue  r again  q quote  o thought  [ ] page  < >",
        ),
        (replace(ALL, choosing=SAVE), 76, "1 2 3 save code block  w the last  Up Down move"),
        (replace(ALL, choosing=RUN), 76, "1 3 run code block  ! the last  Up Down move"),
        (replace(ALL, choosing=SAVE, code_blocks=12), 76, "1 2 3 4 5 6 7 8 9 save code block  w the last"),
        (MessageFacts(is_prompt=True), 4, "Esc back"),
    ],
)
def test_the_line_names_what_fits(facts: MessageFacts, width: int, line: str) -> None:
    assert offers_line(offers(facts), width, with_keys=True).plain.startswith(line)


def test_without_keys_words_are_clicked() -> None:
    line = offers_line(offers(ALL), 120, with_keys=False)
    assert (
        line.plain
        == "copy  code 1 2 3  save  run  branch  continue  again  quote  thought  page [ ]  version < >  back"
    )
    metas = [(line.plain[s.start : s.end], s.style.meta) for s in line.spans if isinstance(s.style, Style)]
    clicked = {text: meta[OFFER] for text, meta in metas}
    assert (clicked["copy"], clicked["2"], clicked["back"]) == ("copy", "code 2", "leave") and "code" not in clicked
    assert clicked["run"] == RUN


def test_a_message_has_keys_for_what_is_in_it() -> None:
    assert own_keys(ALL) == {"w": SAVE, "exclamation_mark": RUN}
    assert own_keys(replace(ALL, runs=())) == {"w": SAVE} and not own_keys(MessageFacts(is_prompt=True))


def test_a_quote_has_a_mark_before_every_line() -> None:
    assert quoted("\na\n\nb\n") == "> a\n>\n> b\n\n"
