"""How long a prompt is: what is said of it while it is typed, and the exact figures of what is attached."""

import pytest

from app.documents.attachments import Attachment, join
from app.tui.parts import counting
from app.tui.text.prompt_size import HEAD, LEAST, PromptSize
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, desk_of, idle, on_screen, text_on, wait_until


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (PromptSize(LEAST - 1, True, 0, 4096), ""),
        (PromptSize(1240, False, 0, 32768), "about 1,240 tokens"),
        (PromptSize(1240, True, 0, 32768), "1,240 tokens, 4% of the context"),
        (PromptSize(1240, True, 0, 0), "1,240 tokens"),
        (PromptSize(501, True, 0, 131072), "501 tokens, 1% of the context"),
        (PromptSize(4096 - HEAD, True, 0, 4096), "3,996 tokens, 98% of the context"),
        (PromptSize(4096, True, 0, 4096), "4,096 tokens do not fit: the context has 4,096"),
        (PromptSize(4097 - HEAD, True, 900, 4096), "3,997 tokens do not fit: the context has 4,096"),
        (
            PromptSize(500, False, 3900, 4096),
            "about 500 tokens do not fit: 96 are left, ^N starts a new chat",
        ),
        (
            PromptSize(200, True, 4000, 4096),
            "200 tokens do not fit: 0 are left, ^N starts a new chat",
        ),
    ],
)
def test_what_is_said(size: PromptSize, text: str) -> None:
    assert str(size) == text and size.fits == ("fit" not in text)


async def test_a_long_prompt_is_counted_when_typing_rests_and_a_short_one_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counting, "REST_S", 0.0)
    engine = FakeEngine(hold=True)
    async with chat(engine) as pilot:
        composer = desk_of(pilot).composer
        composer.insert("word " * 600)
        await on_screen(pilot, "about 530 tokens \u2500")  # the model is still loading
        engine.tokens = lambda text: len(text.split())
        engine.release()
        await on_screen(pilot, "600 tokens, 15% of the context")
        assert not composer.has_class("-too-long")
        composer.insert("word " * 3600)
        await on_screen(pilot, "4,200 tokens do not fit: the context has 4,096")
        assert composer.has_class("-too-long")
        composer.rewrite("short")
        await wait_until(pilot, lambda: "tokens" not in text_on(pilot))
        assert not composer.has_class("-too-long")
        asked = len(engine.counted)
        await pilot.press(*" and more")
        assert len(engine.counted) == asked


async def test_the_figures_of_what_is_attached_are_exact_and_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "REST_S", 0.0)
    engine = FakeEngine()
    engine.tokens = len
    notes, other = Attachment("notes.txt", "x" * 700), Attachment("other.txt", "y")
    async with chat(engine) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        composer.attached.add(notes)
        size = len(join("", [notes]))
        await on_screen(pilot, f"notes.txt  700 bytes, {size} tokens")
        await on_screen(pilot, f"{size} tokens, 18% of the context")
        composer.attached.add(other)
        await pilot.press("a")
        both = size + len(join("", [other])) + 1
        await on_screen(pilot, f"{both} tokens, ")
        assert engine.counted.count(join("", [notes])) == 1
        composer.clear_prompt()
        await wait_until(pilot, lambda: "of the context" not in text_on(pilot))


async def test_what_the_conversation_takes_counts_except_while_an_earlier_message_is_edited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counting, "REST_S", 0.0)
    engine = FakeEngine()
    engine.tokens = lambda text: len(text.split())
    async with chat(engine, (110, 30)) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "one", "1")  # the fake's figures: 374 tokens
        composer = desk_of(pilot).composer
        composer.insert("word " * 3700)
        await on_screen(pilot, "3,700 tokens do not fit: 3,622 are left, ^N")
        composer.clear_prompt()
        await pilot.press("alt+up")
        composer.insert(" word" * 3700)
        await on_screen(pilot, "3,701 tokens, 90% of the context")
        assert app_of(pilot).conversations.editing
