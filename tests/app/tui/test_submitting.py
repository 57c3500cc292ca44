"""Enter, and Enter again before the chat has dealt with the first; prompts that come back while an editor is open."""

import asyncio
from contextlib import nullcontext
from pathlib import Path

import pytest
from textual.events import Key
from textual.pilot import Pilot

from app.engine.engine import EngineError
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, desk_of, idle, on_screen, send, wait_until


def burst(pilot: Pilot[None], *keys: str) -> None:
    """Keys as the terminal's reader posts them: nothing is waited for."""
    for key in keys:
        pilot.app.post_message(Key(key, "\r" if key == "enter" else key if len(key) == 1 else None))


@pytest.mark.parametrize("moments", [0, 1, 3, 10, 40])
async def test_prompts_in_quick_succession_are_told_apart_and_the_input_is_empty(moments: int) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        for text in ("What is 1 + 2?", "What is 2 + 3?", "What is 3 + 4?"):
            burst(pilot, *text, "enter")
            for _ in range(moments):
                await asyncio.sleep(0)
        queue, composer = desk_of(pilot).queue, desk_of(pilot).composer
        await wait_until(pilot, lambda: engine.asked and queue.texts == ["What is 2 + 3?", "What is 3 + 4?"])
        assert [message.text for message in engine.asked[0][0]] == ["What is 1 + 2?"]
        assert composer.text == "" and composer.unsent == ""


@pytest.mark.parametrize("answering", [False, True])
async def test_what_is_sent_behind_new_is_asked_in_the_new_chat(answering: bool) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "first", "one")
        if answering:
            await send(pilot, "second")
            await wait_until(pilot, lambda: len(engine.asked) == 2)
        before = len(engine.asked)
        burst(pilot, *"/new", "escape", "enter", *"third", "enter", *"fourth", "enter", *"fifth")
        await wait_until(pilot, lambda: len(engine.asked) == before + 1)
        assert [message.text for message in engine.asked[-1][0]] == ["third"]
        await wait_until(pilot, lambda: desk_of(pilot).queue.texts == ["fourth"])
        assert desk_of(pilot).composer.text == "fifth"


async def test_what_nobody_has_received_at_the_end_is_a_draft_and_what_was_withdrawn_is_not_asked() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        composer.write("zero")
        await composer.on_key(Key("enter", None))
        assert composer.text == "" and composer.unsent == "zero"
        composer.withdraw()  # as opening another conversation does, which takes the draft along
        await pilot.pause()
        assert composer.unsent == "" and not engine.asked
        burst(pilot, *"one", "enter", *"two", "ctrl+q")
        await wait_until(pilot, lambda: not pilot.app.is_running)
        assert not app_of(pilot).conversation.nodes
    async with chat(engine) as pilot:
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "one\n\ntwo")


@pytest.mark.parametrize("refused", ["/nonsense", "/new x", "/again"])
async def test_a_command_that_cannot_run_leaves_the_input_and_comes_back_by_up(refused: str) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        if refused == "/again":  # has to wait for the answer
            await send(pilot, "first")
            await wait_until(pilot, lambda: not app_of(pilot).conversations.idle.is_set())
        composer = desk_of(pilot).composer
        burst(pilot, *refused, "escape", "enter", *"hello", "enter", *"more", "enter", *"next")
        await wait_until(pilot, lambda: "more" in desk_of(pilot).queue.texts and composer.text == "next")
        await wait_until(pilot, lambda: len(engine.asked) == 1)
        await on_screen(pilot, "hello")
        await pilot.press("up", "up", "up")
        assert composer.text == refused
        await pilot.press("down", "down", "down")
        assert composer.text == "next"


async def test_what_an_edit_had_set_aside_is_not_sent_again_with_the_next_message() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "question", "answer")
        desk_of(pilot).composer.insert("unsent")
        await pilot.press("alt+up")
        burst(pilot, "enter", *"more", "enter")
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
