"""What is said of the context when tools are switched on."""

from app.chat.context import ENOUGH, context_note


def test_a_short_context_is_told_with_what_makes_it_longer() -> None:
    assert context_note(8_192) == (
        "The context holds 8,192 tokens, so the oldest results are left out of long work "
        "(--memory and --dense-bits make it longer)."
    )
    assert context_note(ENOUGH) == ""
