"""Enter, and Enter again before the chat has dealt with the first; prompts that come back while an editor is open."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from textual.events import Key

from app.engine.engine import EngineError
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, desk_of, idle, send, text_on, wait_until


@pytest.mark.parametrize("stays", ["/nonsense", "/new x", "/again"])
async def test_a_command_that_cannot_run_stays_and_what_was_sent_behind_it_goes(stays: str) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        if stays == "/again":  # has to wait for the answer
            await send(pilot, "first")
            await wait_until(pilot, lambda: len(engine.asked) == 1)
        await pilot.press(*stays, "escape")
        for key in ("enter", *"hello", "enter", *"more", "enter", *"next"):
            pilot.app.post_message(Key(key, "\r" if key == "enter" else key))
        await wait_until(pilot, lambda: "more" in desk_of(pilot).queue.texts)
        await pilot.pause()
        assert desk_of(pilot).composer.text == f"{stays}next"
        assert "hello" in text_on(pilot)


async def test_what_an_edit_had_set_aside_is_not_sent_again_with_the_next_message() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "question", "answer")
        desk_of(pilot).composer.insert("unsent")
        await pilot.press("alt+up")
        for key in ("enter", *"more", "enter"):
            pilot.app.post_message(Key(key, "\r" if key == "enter" else key))
        await wait_until(pilot, lambda: desk_of(pilot).queue.texts == ["more"])
        await pilot.pause()
        assert desk_of(pilot).composer.text.strip() == "unsent"


@pytest.mark.parametrize("draft", ["", "a draft"])
async def test_a_prompt_that_comes_back_during_the_editor_is_not_lost(
    draft: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, go = tmp_path / "editor", tmp_path / "go"
    program.write_text(f"#!/bin/sh\nuntil test -e '{go}'; do sleep 0.01; done\nprintf edited > \"$1\"\n")
    program.chmod(0o755)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{program}'")
    engine = FakeEngine()
    async with chat(engine) as pilot:
        app = app_of(pilot)
        await idle(pilot)
        monkeypatch.setattr(app, "suspend", nullcontext)  # a test has no terminal to lend
        await send(pilot, "a long question")
        await wait_until(pilot, lambda: engine.asked)
        app.desk.composer.insert(draft)
        await pilot.press("f4")
        await wait_until(pilot, lambda: app.terminal_is_lent)
        engine.say(EngineError("the prompt has 9,999 tokens"))
        await wait_until(pilot, lambda: "a long question" in app.desk.composer.text)
        go.touch()
        await wait_until(pilot, lambda: not app.terminal_is_lent)
        assert app.desk.composer.text == "a long question\n\nedited"
