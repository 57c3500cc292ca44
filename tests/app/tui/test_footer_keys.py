"""The last row: the keys that do something now, as many as fit, and clicks on them."""

import pytest

from app.tui.text.footer_keys import ChatFacts, footer_line, offered
from app.tui.widgets.footer import Footer
from tests.fixtures.fakes import FakeEngine, chat, idle, send, text_on, wait_until

ASKED = ChatFacts(has_messages=True)


@pytest.mark.parametrize(
    ("facts", "width", "footer"),
    [
        (ChatFacts(), 76, "^F find  ^E effort  ^T thinking  ^P commands  F1 help  ^Q quit"),
        (ASKED, 100, "^R again  ^N new  ^F find  ^E effort  ^T thinking  ^P commands  F1 help  ^Q quit"),
        (ASKED, 76, "^R again  ^N new  ^F find  ^E effort  ^P commands  F1 help  ^Q quit"),
        (ASKED, 36, "^P commands  F1 help  ^Q quit"),
        (
            ChatFacts(answering=True, thinking=True, has_messages=True),
            76,
            "Esc stop  ^S answer now  ^N new  ^F find  ^P commands  F1 help  ^Q quit",
        ),
        (ChatFacts(answering=True, has_messages=True), 36, "Esc stop  F1 help  ^Q quit"),
        (ChatFacts(answering=True, thinking=True, has_messages=True), 24, "Esc stop  ^S answer now"),
        (ChatFacts(answering=True), 8, "Esc stop"),
        (
            ChatFacts(answering=True, is_asking=True),
            76,
            "Esc no  ^F find  ^E effort  ^T thinking  ^P commands  F1 help  ^Q quit",
        ),
    ],
)
def test_the_footer_has_what_does_something_and_fits(facts: ChatFacts, width: int, footer: str) -> None:
    assert footer_line(offered(facts), width).plain == footer


async def test_the_footer_follows_the_chat_and_takes_clicks() -> None:
    engine = FakeEngine()
    async with chat(engine, (80, 24)) as pilot:
        await idle(pilot)

        def footer() -> str:
            return text_on(pilot).splitlines()[-1]

        await wait_until(pilot, lambda: footer().startswith("  ^F find") and "^Q quit" in footer())
        engine.think("hm")
        await send(pilot, "Hi")
        await wait_until(pilot, lambda: footer().startswith("  Esc stop  ^S answer now"))
        await pilot.click(Footer, offset=(footer().index("stop"), 0))
        await wait_until(pilot, lambda: footer().startswith("  ^R again  ^N new"))
        assert engine.cancelled == 1
