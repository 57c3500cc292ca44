"""What is said of the context when tools are switched on."""

from app.chat.context import ENOUGH, context_note


def test_a_short_context_is_told_with_what_makes_it_longer() -> None:
    said = "In a context of 8,192 tokens old results make room for new ones; --memory or --dense-bits makes it longer."
    assert context_note(8_192) == said
    assert context_note(ENOUGH) == ""
