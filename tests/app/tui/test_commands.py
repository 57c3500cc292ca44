"""The commands: the list while one is typed, what waits for an answer, palette, help by widget."""

import threading

import pytest
from textual import events
from textual.pilot import Pilot

from app.chat.commands import BUSY, COMMANDS, Command
from app.documents.attachments import Attachment
from app.paths import settings_file
from app.settings import Settings
from app.tui.parts import hints as hint_texts
from app.tui.screens.help import HelpScreen
from app.tui.text.completions import Completion, completions, marked_at_once
from app.tui.text.palette_rows import WAITS
from app.tui.widgets import completing_area
from app.tui.widgets.completion import MAX_ROWS, CompletionList
from mlx_model.events import MessageStart
from mlx_model.harmony.message import Effort
from tests.fixtures.fakes import (
    FakeEngine,
    app_of,
    ask,
    chat,
    deltas,
    desk_of,
    idle,
    notifications,
    notified,
    send,
    text_on,
    wait_until,
)


def values(command: Command) -> tuple[str, ...]:
    return ("brief", "Long one") if command.action == "preset" else command.values


def lines(typed: str) -> list[str]:
    return [choice.line for choice in completions(typed, values)]


# What a line may become


def test_a_slash_alone_lists_every_command_in_the_order_of_the_help() -> None:
    found = completions("/", values)
    named = [command for command in COMMANDS if command.slash]
    assert [choice.line.strip() for choice in found] == [f"/{command.slash}" for command in named]
    assert [choice.usage for choice in found] == [command.usage for command in named]
    assert [choice.help.endswith(" *") for choice in found] == [command.waits for command in named]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("/ed", ["/edit", "/editor"]),
        ("/sy", ["/system "]),
        ("/ex", ["/export ", "/exit"]),
        ("/q", ["/q", "/quit"]),
        ("/exit", ["/exit"]),
        ("/top", ["/top_p ", "/top_k "]),
        ("/set te", ["/set temperature "]),
        ("/set temperature 0", []),
        ("/temperature ", []),
        ("/?", ["/?"]),
        ("/editor", ["/editor"]),
        ("/TH", ["/thinking ", "/theme "]),
        ("/new ", []),
        ("/effort ", ["/effort low", "/effort medium", "/effort high"]),
        ("/Effort  M", ["/effort medium"]),
        ("/preset l", ["/preset Long one"]),
        ("/preset long o", ["/preset Long one"]),
        ("/rename a", []),
        ("/usr/bin what is it", []),
        ("/zzz", []),
        ("/zzz x", []),
        ("/ x", []),
        (" /new", []),
        ("what /new", []),
        ("", []),
    ],
)
def test_what_a_line_may_become(typed: str, found: list[str]) -> None:
    assert lines(typed) == found


def test_what_is_typed_to_its_end_comes_first() -> None:
    both = Command("", "x", "preset", takes="name", values=("abc", "ab"))
    assert [c.line for c in completions("/preset ab", lambda _: both.values)] == ["/preset ab", "/preset abc"]
    assert Completion("/effort low", "low") in completions("/effort l", values)
    for command in COMMANDS:
        assert not command.slash or lines(f"/{command.slash}")[0].strip() == f"/{command.slash}"


def test_nothing_is_marked_before_a_letter_is_typed() -> None:
    assert [marked_at_once(line) for line in ("/", "/effort ", "/e", "/effort h")] == [False, False, True, True]


# The list


async def listed(pilot: Pilot[None], *names: str) -> None:
    completion = desk_of(pilot).composer.completion
    await wait_until(pilot, lambda: completion.display and completion.names == list(names), f"{names}")


async def test_the_list_is_above_the_input_and_says_names_arguments_and_what_waits() -> None:
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        completion, above = desk_of(pilot).composer.completion, desk_of(pilot).transcript.region
        await pilot.press("/")
        await wait_until(pilot, lambda: completion.display)
        await pilot.pause()
        screen = text_on(pilot)
        assert "/effort [level]" in screen and "regenerate; the previous answer is kept *" in screen
        assert "* not during an answer" in screen and completion.choice is None
        assert (
            desk_of(pilot).transcript.region == above and completion.region.bottom == desk_of(pilot).composer.region.y
        )
        assert completion.region.height == MAX_ROWS + 2 and "/quit" not in screen
        await pilot.press("up")  # from the first to the last, which scrolls
        assert completion.choice == "/quit" and desk_of(pilot).composer.text == "/"
        await wait_until(pilot, lambda: "/quit" in text_on(pilot))
        await pilot.press("down")
        assert completion.choice == "/effort "
        await pilot.press("backspace")
        await wait_until(pilot, lambda: not completion.display)


async def test_the_list_and_the_hints_are_whole_at_every_width() -> None:
    hints = [hint for name, hint in vars(hint_texts).items() if name.isupper()]
    async with chat(FakeEngine(), (80, 24)) as pilot:
        await idle(pilot)
        app, composer = app_of(pilot), desk_of(pilot).composer
        completion, hint = composer.completion, app.query_one("#hint")
        for width in (80, 99, 100, 101, 160):
            await pilot.resize_terminal(width, 30)
            composer.clear_prompt()
            await pilot.press("/")
            await wait_until(pilot, lambda: completion.display)
            await pilot.pause()
            assert completion.region.x >= composer.region.x and completion.region.right <= composer.region.right
            row = text_on(pilot).splitlines()[completion.region.y]
            assert row[completion.region.x] == "\u256d" and row[completion.region.right - 1] == "\u256e", width
            shown = "\n".join(line[completion.region.x :] for line in text_on(pilot).splitlines())
            assert "regenerate; the previous answer is kept *" in shown and "\u2026" not in shown, width
            assert max(map(len, hints)) <= hint.region.width, width


async def test_tab_completes_and_enter_runs_what_is_complete() -> None:
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        composer, switch = desk_of(pilot).composer, desk_of(pilot).effort_switch
        await pilot.press(*"/ef")
        await listed(pilot, "/effort ")
        await pilot.press("tab")
        assert composer.text == "/effort " and composer.has_focus
        await listed(pilot, "/effort low", "/effort medium", "/effort high")
        await pilot.press("h", "enter")
        assert composer.text == "/effort high" and switch.effort is Effort.MEDIUM
        await pilot.press("enter")
        await wait_until(pilot, lambda: switch.effort is Effort.HIGH)
        await wait_until(pilot, lambda: composer.text == "" and not composer.completion.display)
        await pilot.press(*"/effort ", "enter")  # nothing is marked: the next one
        await wait_until(pilot, lambda: switch.effort is Effort.LOW)
        await pilot.press(*"/effort ", "down", "down", "enter", "enter")
        await wait_until(pilot, lambda: switch.effort is Effort.MEDIUM)
        await pilot.press("/", "enter")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))


async def test_the_values_of_this_person_are_offered() -> None:
    async with chat(FakeEngine(), settings=Settings(presets={"brief [b]": "Be brief."})) as pilot:
        await idle(pilot)
        await pilot.press(*"/preset b")
        await listed(pilot, "/preset brief [b]")
        await pilot.press("tab", "enter")
        await wait_until(
            pilot, lambda: app_of(pilot).preferences.instructions_of(app_of(pilot).conversation.id) == "Be brief."
        )
        await pilot.press(*"/theme gptoss")
        await pilot.pause()
        assert not desk_of(pilot).composer.completion.display
        await pilot.press(*["backspace"] * 6, "l")
        await listed(pilot, "/theme light")


async def test_escape_closes_the_list_and_only_the_next_one_stops_the_answer() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        engine.say(MessageStart("final"), *deltas("final", "a long story"))
        await send(pilot, "go")
        await wait_until(pilot, lambda: "a long" in text_on(pilot))
        await pilot.press(*"/th")
        await listed(pilot, "/thinking ", "/theme ")
        await pilot.press("escape")
        assert not composer.completion.display and composer.text == "/th" and engine.cancelled == 0
        await pilot.press("escape")
        await wait_until(pilot, lambda: engine.cancelled == 1)


async def test_a_click_completes() -> None:
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        await pilot.press(*"/ed")
        await listed(pilot, "/edit", "/editor")
        await pilot.pause()
        await pilot.click(CompletionList, offset=(3, 2))
        assert desk_of(pilot).composer.text == "/editor" and desk_of(pilot).composer.has_focus


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ([*"/ef", "tab", *"hi", "tab"], "/effort high"),
        ([*"/eh", "backspace", *"di", "tab", *"or"], "/editor"),
        ([*"/th", "down", "tab", *"li"], "/theme li"),
        (["/", "tab", "x", "backspace", "l", "tab"], "/effort low"),
        ([*"/eff", "left", "tab"], "/eff"),  # not at its end: nothing is being completed
        (["/", "shift+enter", *"ef", "tab"], "/\nef"),
    ],
)
async def test_keys_typed_fast_complete_what_was_typed(keys: list[str], text: str) -> None:
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        for key in keys:  # as the terminal's reader posts them, without waiting for the list
            app_of(pilot).post_message(events.Key(key, key if len(key) == 1 else None))
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == text, text)
        await pilot.pause()
        assert desk_of(pilot).composer.text == text


async def test_files_that_were_looked_up_too_late_do_not_cover_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    may_answer = threading.Event()
    monkeypatch.setattr(completing_area, "candidates", lambda *_: ["a.txt"] if may_answer.wait(120) else [])
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        await pilot.press("@", "a", "backspace", "backspace", *"/ed")
        await listed(pilot, "/edit", "/editor")
        may_answer.set()
        await pilot.app.workers.wait_for_complete([each for each in pilot.app.workers if each.group == "complete"])
        assert desk_of(pilot).composer.completion.names == ["/edit", "/editor"]


async def test_what_only_looks_like_a_command_is_a_prompt_and_a_mistyped_one_comes_back_by_up() -> None:
    engine = FakeEngine()
    async with chat(engine, (120, 30)) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        engine.answer("a folder")
        await pilot.press(*"/tmp is full", "enter")
        await wait_until(pilot, lambda: engine.asked)
        assert engine.asked[0][0][-1].text == "/tmp is full"
        await idle(pilot)
        await pilot.press(*"/efort high", "enter")
        await wait_until(pilot, lambda: "There is no command /efort; did you mean /effort? Up" in notifications(pilot))
        assert composer.text == "" and len(engine.asked) == 1
        await pilot.press("up")
        assert composer.text == "/efort high"
        engine.answer("high")
        await pilot.press("home", "space", "enter")
        await wait_until(pilot, lambda: len(engine.asked) == 2)


async def test_other_names_of_commands_and_options_that_are_set_by_their_names() -> None:
    async with chat(FakeEngine(), (120, 30)) as pilot:
        await idle(pilot)
        app, composer = app_of(pilot), desk_of(pilot).composer
        composer.attached.add(Attachment("notes.txt", "x"))
        await pilot.press(*"/seed 7", "enter")
        await wait_until(pilot, lambda: notified(pilot, "Seed is 7 from the next answer on."))
        await pilot.press(*"/set top_p 2", "enter")
        await wait_until(pilot, lambda: notified(pilot, "top_p is 2; it must be above 0 and at most 1."))
        await pilot.press(*"/temp", "enter", *"0", "enter")
        await wait_until(pilot, lambda: app.preferences.options.temperature == 0)
        assert (app.preferences.options.seed, app.preferences.options.top_p) == (7, 1.0)
        await wait_until(pilot, lambda: "seed = 7" in settings_file().read_text())
        assert "temperature = 0" in settings_file().read_text()
        assert len(composer.attached.attachments) == 1  # it waits for the prompt
        await pilot.press(*"/system Be brief.", "enter")
        await wait_until(pilot, lambda: app.preferences.instructions_of(app.conversation.id) == "Be brief.")
        await pilot.press(*"exit", "enter")
        await wait_until(pilot, lambda: not app.is_running)


async def test_an_earlier_prompt_that_is_edited_takes_no_commands() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "hi", "hello")
        await pilot.press("alt+up")
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "hi")
        await pilot.press("backspace", "backspace", *"/ne")
        await pilot.pause()
        assert not desk_of(pilot).composer.completion.display
        await pilot.press("escape", *"/ne")
        await listed(pilot, "/new")


# What waits


@pytest.mark.parametrize(
    "command", [each for each in COMMANDS if each.waits and not each.opens], ids=lambda each: each.action
)
async def test_what_waits_says_so_by_key_by_name_and_in_the_palette(command: Command) -> None:
    engine = FakeEngine()
    async with chat(engine, (100, 40)) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        await ask(pilot, engine, "hi", "hello")
        engine.say(MessageStart("final"), *deltas("final", "a long story"))
        await send(pilot, "go")
        await wait_until(pilot, lambda: "a long story" in text_on(pilot))

        async def warns() -> None:
            await wait_until(pilot, lambda: notified(pilot, BUSY), BUSY)
            app.desk.clear_notifications()

        if command.key:
            await pilot.press(command.key)
            await warns()
        await send(pilot, f"/{command.slash}")
        await warns()
        assert app.desk.composer.text == ""
        await pilot.press("ctrl+p")
        await pilot.press(*command.slash)
        await wait_until(pilot, lambda: f"({WAITS})" in text_on(pilot), "the palette says so")
        await pilot.press("enter")
        await warns()
        assert engine.cancelled == 0 and len(engine.asked) == 2 and not app.conversations.editing


async def test_every_other_command_works_while_an_answer_is_under_way() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("final"), *deltas("final", "a long story"))
        await send(pilot, "go")
        await wait_until(pilot, lambda: "a long" in text_on(pilot))
        for command in COMMANDS:
            assert app_of(pilot).must_wait(command) == (command.waits and not command.opens)
            assert app_of(pilot).must_wait(command, "x") == command.waits
        await send(pilot, "/effort high")
        await wait_until(pilot, lambda: desk_of(pilot).effort_switch.effort is Effort.HIGH)
        await pilot.press("escape")
        await idle(pilot)
        assert not any(app_of(pilot).must_wait(command) for command in COMMANDS)


async def test_keys_of_the_chat_do_nothing_behind_what_lies_over_it() -> None:
    async with chat(FakeEngine(), (100, 30)) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        await pilot.press("f3")
        await wait_until(pilot, lambda: len(app.screen_stack) == 2)
        await pilot.press("ctrl+e", "f3", "ctrl+f", "ctrl+p")
        await pilot.pause()
        assert len(app.screen_stack) == 2 and app.desk.effort_switch.effort is Effort.MEDIUM
        await pilot.press("f1")
        await wait_until(pilot, lambda: "The settings (focused)" in text_on(pilot))
        await pilot.press("escape", "escape")
        await wait_until(pilot, lambda: len(app.screen_stack) == 1)
