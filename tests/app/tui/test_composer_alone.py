"""The input by itself: what is submitted, taken, put back, pasted, completed and recalled."""

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from app.documents.attachments import Attachment, join
from app.documents.notes import Note, Notes
from app.tui.widgets import completing_area
from app.tui.widgets.attached import Chip
from app.tui.widgets.completing_area import HINT
from app.tui.widgets.composer import FOLD_LENGTH, FOLD_LINES, PLACEHOLDERS, WAITS, Composer
from app.tui.widgets.input_area import InputArea
from tests.fixtures.fakes import wait_until

NOTES = Attachment("notes.txt", "some notes")


class Screen(App[None]):
    """The input alone; notes what it posts."""

    def __init__(self) -> None:
        super().__init__()
        self.area = InputArea()
        self.submitted: list[Composer.Submitted] = []
        self.latest = 0

    def compose(self) -> ComposeResult:
        yield self.area

    async def on_mount(self) -> None:
        await self.area.furnish()

    def on_composer_submitted(self, event: Composer.Submitted) -> None:
        self.submitted.append(event)

    def on_composer_latest_requested(self) -> None:
        self.latest += 1

    def warnings(self) -> list[str]:
        return [each.message for each in self._notifications]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where names of files begin."""
    (tmp_path / "src").mkdir()
    for name in ("notes.txt", "src/a.py"):
        (tmp_path / name).write_text("some notes")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
async def pilot(folder: Path) -> AsyncIterator[Pilot[None]]:
    async with Screen().run_test(size=(60, 20)) as pilot:
        screen_of(pilot).area.composer.focus()
        await pilot.pause()
        yield pilot


def screen_of(pilot: Pilot[None]) -> Screen:
    assert isinstance(pilot.app, Screen)
    return pilot.app


@pytest.fixture
def screen(pilot: Pilot[None]) -> Screen:
    return screen_of(pilot)


@pytest.fixture
def composer(screen: Screen) -> Composer:
    return screen.area.composer


def attached(composer: Composer) -> list[str]:
    return [each.name for each in composer.attached.attachments]


async def paste(pilot: Pilot[None], text: str) -> None:
    screen_of(pilot).area.composer.post_message(events.Paste(text))
    await pilot.pause()


# What is submitted, and what becomes of it


async def test_enter_empties_it_and_all_of_it_is_unsent_until_it_is_received(
    pilot: Pilot[None], screen: Screen, composer: Composer
) -> None:
    composer.insert("one")
    composer.attached.add(NOTES)
    await pilot.press("enter", "t", "w", "o")
    [first] = screen.submitted
    assert first.prompt == join("one", [NOTES])
    assert composer.text == "two" and attached(composer) == [] and not composer.attached.display
    assert composer.unsent == join("one\n\ntwo", [NOTES])
    assert composer.received(first) and not composer.received(first)
    assert composer.unsent == "two"
    await pilot.press("enter")
    assert screen.submitted[1].prompt == "two"
    composer.withdraw()
    assert not composer.received(screen.submitted[1]) and composer.unsent == ""
    await pilot.press("up", "up")
    assert composer.prompt == first.prompt


@pytest.mark.parametrize(
    ("typed", "back", "text"),
    [("", "one", "one"), ("two", "one", "one\n\ntwo"), ("two", "", "two"), ("  ", "one", "one"), ("\x1b", "\x07", "")],
)
async def test_to_put_back(pilot: Pilot[None], composer: Composer, typed: str, back: str, text: str) -> None:
    composer.insert(typed.strip("\x1b"))
    composer.put_back(back)
    assert composer.text.strip("\u2407\u241b") == text.strip("\u2407")
    assert composer.cursor_location == composer.document.end


async def test_clearing_forgets_all_of_it(pilot: Pilot[None], composer: Composer) -> None:
    composer.put_back(join("@a.py one", [NOTES]))
    composer.clear_prompt()
    assert composer.prompt == "" and attached(composer) == [] and composer._only_text == set()


@pytest.mark.parametrize(
    ("text", "before", "result"),
    [
        ("draft", "draft", "new"),
        ("back\n\ndraft", "draft", "back\n\nnew"),
        ("", "", "new"),
        ("other", "draft", "other\n\nnew"),
    ],
)
async def test_what_the_editor_brings_replaces_what_it_was_given(
    pilot: Pilot[None], composer: Composer, text: str, before: str, result: str
) -> None:
    composer.load_text(text)
    composer.rewrite_part(before, "new")
    assert composer.text == result


async def test_a_message_is_sent_once_its_files_are_read(
    pilot: Pilot[None], screen: Screen, composer: Composer
) -> None:
    first, second = composer.attached.expect("a\nb"), composer.attached.expect("c")
    composer.insert("one")
    await pilot.press("enter")
    assert screen.submitted == [] and screen.warnings() == [WAITS.format("a b")] and composer.text == "one"
    first.fill(NOTES)
    composer.files_read()
    await pilot.pause()
    assert screen.submitted == []  # the other one isn't there yet
    second.fill(Attachment("c", "c"))
    composer.files_read()
    await pilot.pause()
    assert [each.prompt for each in screen.submitted] == [join("one", [NOTES, Attachment("c", "c")])]


@pytest.mark.parametrize("what", ["typed", "failed", "left", "emptied"])
async def test_what_waits_for_a_file_is_held_back(
    pilot: Pilot[None], screen: Screen, composer: Composer, what: str
) -> None:
    """Another text, a file that can't be read, another conversation: the person presses Enter again."""
    chip, other = composer.attached.expect("a"), composer.attached.expect("b")
    composer.insert("one")
    await pilot.press("enter")
    if what == "typed":
        await pilot.press("x")
    elif what == "failed":
        screen.area.give_up(other)
    elif what == "left":
        composer.hold()
    else:
        composer.clear_prompt()
        chip = composer.attached.expect("a")
    if what in ("typed", "left"):
        other.fill(NOTES)
    chip.fill(NOTES)
    composer.files_read()
    await pilot.pause()
    assert screen.submitted == []


async def test_a_file_that_is_named_in_one_burst_with_the_message_is_attached(
    pilot: Pilot[None], screen: Screen, composer: Composer
) -> None:
    for key in ("@", *"notes.txt", "space", *"sum", "enter"):  # none waits for what the one before has set off
        character = {"space": " ", "enter": "\r"}.get(key, key)
        composer.post_message(events.Key(key, character))
    await wait_until(pilot, lambda: screen.submitted)
    assert [each.prompt for each in screen.submitted] == [join("@notes.txt sum", [NOTES])]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("see @nowhere.txt", "@nowhere.txt is not a file; Enter again sends the message as text."),
        ("@no.txt @nor.py", "@no.txt, @nor.py are not files; Enter again sends the message as text."),
        ("see @notes.txt", "@notes.txt is not attached; Enter again sends the message as text."),
        ("@no.txt @notes.txt", "@no.txt, @notes.txt are not attached; Enter again sends the message as text."),
    ],
)
async def test_a_mention_without_its_file_is_held_back_once(
    pilot: Pilot[None], screen: Screen, composer: Composer, text: str, warning: str
) -> None:
    composer.insert(text)
    await pilot.press("enter")
    assert screen.warnings() == [warning] and screen.submitted == []
    await pilot.press("enter")
    assert [each.prompt for each in screen.submitted] == [text] and len(screen.warnings()) == 1


@pytest.mark.parametrize("text", ["@someone", "mail a@b.com", "/import @nowhere.txt"])
async def test_what_names_no_file_is_sent(pilot: Pilot[None], screen: Screen, composer: Composer, text: str) -> None:
    composer.insert(text)
    await pilot.press("enter")
    assert (len(screen.submitted), screen.warnings()) == (1, [])


# Pastes


@pytest.mark.parametrize(
    ("text", "folds"),
    [
        ("x\n" * (FOLD_LINES - 1), False),
        ("x\n" * FOLD_LINES, True),
        ("x" * FOLD_LENGTH, False),
        ("x" * (FOLD_LENGTH + 1), True),
        ("x\r\n" * (FOLD_LINES - 1), False),
        ("x\r" * FOLD_LINES, True),
    ],
)
async def test_a_paste_that_does_not_fit_is_folded(
    pilot: Pilot[None], composer: Composer, text: str, folds: bool
) -> None:
    composer.insert("before ")
    await paste(pilot, text)
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    if folds:
        assert composer.text == "before [pasted text 1]"
        assert composer.attached.attachments == [Attachment("pasted text 1", plain)]
    else:
        assert composer.text == f"before {plain}" and attached(composer) == []


async def test_pastes_get_the_first_free_number_and_are_unfolded_where_they_stand(
    pilot: Pilot[None], screen: Screen, composer: Composer
) -> None:
    for letter in "abc":
        await paste(pilot, letter * 3000)
    assert composer.text == "[pasted text 1][pasted text 2][pasted text 3]"
    chips = list(screen.query(Chip))
    chips[1].action_unfold()
    await pilot.pause()
    assert composer.text == f"[pasted text 1]{'b' * 3000}[pasted text 3]"
    await paste(pilot, "d" * 3000)
    assert attached(composer) == ["pasted text 1", "pasted text 3", "pasted text 2"]
    composer.unfold(Attachment("gone", "\x07here"))
    assert composer.text.endswith("[pasted text 2]\u2407here")


async def test_mentions_in_a_paste_name_no_files(pilot: Pilot[None], screen: Screen, composer: Composer) -> None:
    await paste(pilot, "@notes.txt and @nowhere.txt")
    assert composer.completion.typed is None
    await pilot.press("enter")
    assert len(screen.submitted) == 1 and screen.warnings() == []


# Keys


@pytest.mark.parametrize("key", ["shift+enter", "alt+enter", "ctrl+j"])
async def test_a_new_line(pilot: Pilot[None], screen: Screen, composer: Composer, key: str) -> None:
    await pilot.press("a", key, "b")
    assert composer.text == "a\nb" and screen.submitted == []


async def test_the_keys_of_a_shell_edit_the_line(pilot: Pilot[None], screen: Screen, composer: Composer) -> None:
    for keys, left in (
        (["ctrl+w"], "one two \nthree four |"),
        (["alt+backspace", "ctrl+w"], "one two \nthree |"),
        (["ctrl+u"], "one two \n|"),
        (["alt+left", "ctrl+k"], "one two \nthree four |"),
        (["ctrl+a", "ctrl+k"], "one two \n|"),
        (["alt+left", "alt+left", "alt+right", "x"], "one two \nthree fourx| five"),
        (["ctrl+left", "ctrl+left", "ctrl+right", "alt+d"], "one two \nthree four|"),
        (["super+left", "x", "super+right", "y"], "one two \nxthree four fivey|"),
        (["alt+shift+left", "x"], "one two \nthree four x|"),
        (["alt+left", "alt+shift+right", "x"], "one two \nthree four x|"),
    ):
        composer.rewrite("one two \nthree four five")
        await pilot.press(*keys)
        row, column = composer.cursor_location
        lines = composer.text.split("\n")
        lines[row] = f"{lines[row][:column]}|{lines[row][column:]}"
        assert "\n".join(lines) == left, keys
    await pilot.press("shift+left", "ctrl+c")
    assert screen.clipboard == "x" and screen.submitted == []


async def test_end_in_an_empty_input_asks_for_the_latest(
    pilot: Pilot[None], screen: Screen, composer: Composer
) -> None:
    await pilot.press("end")
    assert screen.latest == 1
    await pilot.press("a", "b", "home", "end", "c")
    assert (screen.latest, composer.text) == (1, "abc")


@pytest.mark.parametrize(("width", "shown"), [(100, 0), (70, 1), (40, 2), (10, 2)])
async def test_an_empty_input_says_what_fits(pilot: Pilot[None], composer: Composer, width: int, shown: int) -> None:
    await pilot.resize_terminal(width, 20)
    await wait_until(pilot, lambda: composer.placeholder == PLACEHOLDERS[shown], PLACEHOLDERS[shown])


async def test_commands_are_completed(pilot: Pilot[None], screen: Screen, composer: Composer) -> None:
    completion = composer.completion
    await pilot.press("/")
    assert completion.display and completion.choice is None and completion.border_subtitle == HINT
    await pilot.press("e", "f")
    assert completion.names == ["/effort "] and completion.choice == "/effort "
    await pilot.press("enter")
    assert composer.text == "/effort " and completion.names == [f"/effort {each}" for each in ("low", "medium", "high")]
    assert completion.choice is None and completion.border_subtitle == ""
    await pilot.press("down", "down")
    assert completion.choice == "/effort medium"
    await pilot.press("up", "up")
    assert completion.choice == "/effort high"
    await pilot.press("enter")
    assert composer.text == "/effort high" and screen.submitted == []
    await pilot.press("enter")
    assert [each.prompt for each in screen.submitted] == ["/effort high"]


async def test_tab_takes_the_first_and_escape_closes_the_list(
    pilot: Pilot[None], screen: Screen, composer: Composer
) -> None:
    await pilot.press("/", "h", "escape")
    assert not composer.completion.display and composer.text == "/h"
    await pilot.press("backspace", "tab")
    assert composer.text == "/effort "


async def test_during_an_edit_a_slash_is_text(pilot: Pilot[None], composer: Composer) -> None:
    composer.takes_commands = False
    await pilot.press("/", "h")
    assert not composer.completion.display


async def test_a_file_is_completed_and_attached(pilot: Pilot[None], screen: Screen, composer: Composer) -> None:
    await pilot.press("s", "e", "e", "space", "@", "n", "o")
    await wait_until(pilot, lambda: composer.completion.choice == "notes.txt")
    await pilot.press("tab")
    await wait_until(pilot, lambda: attached(composer) == ["notes.txt"])
    assert composer.text == "see @notes.txt " and not composer.completion.display
    await pilot.press("enter")
    assert screen.submitted[0].prompt == join("see @notes.txt ", [NOTES])


async def test_the_files_of_a_command_are_completed(
    pilot: Pilot[None], screen: Screen, composer: Composer, folder: Path
) -> None:
    for name in ("src/old.json", "src/more.txt"):
        (folder / name).write_text("{}")
    completion = composer.completion
    await pilot.press(*"/import s")
    await wait_until(pilot, lambda: completion.display and completion.choice == "/import src/")
    await pilot.press("enter")
    assert composer.text == "/import src/"
    await wait_until(pilot, lambda: completion.names == ["/import src/old.json"])
    assert completion.choice is None  # Enter would import the folder
    await pilot.press("tab", "enter")
    assert [each.prompt for each in screen.submitted] == ["/import src/old.json"] and composer.text == ""
    await pilot.press(*"/export s")
    await wait_until(pilot, lambda: completion.display and completion.names == ["/export src/"])
    assert completion.choice is None  # it may be the name of the new file
    await pilot.press("enter")
    assert screen.submitted[1].prompt == "/export s"
    await pilot.press(*"/import x")
    await wait_until(pilot, lambda: not completion.display)


async def test_keys_typed_fast_do_what_they_do_when_typed_slowly(
    pilot: Pilot[None], screen: Screen, composer: Composer
) -> None:
    for keys, text, choice in (
        ([*"/eff", "tab", "down"], "/effort ", "/effort low"),
        ([*"/eff", "tab", "down", "down", "enter"], "/effort medium", "/effort medium"),
        ([*"/effx", "backspace", "tab", "down"], "/effort ", "/effort low"),
        (["/", "up", "up", "enter"], "/help", "/help"),
        ([*"@sr", "enter"], "@src/", "src/a.py"),
        ([*"@sr", "tab", "tab"], "@src/a.py ", None),
        (["@", "down"], "@", "src/"),
        ([*"@no", "escape", "x"], "@nox", None),
        ([*"/import s", "enter"], "/import src/", None),
        ([*"/export s", "down", "enter"], "/export src/", None),
    ):
        for slowly in (True, False):
            for key in keys:
                composer.post_message(events.Key(key, key if len(key) == 1 else None))
                if slowly:
                    await settled(pilot)
            await settled(pilot)
            assert (composer.text, composer.completion.choice) == (text, choice), (keys, slowly)
            composer.clear_prompt()
    assert screen.submitted == []


async def test_keys_do_not_wait_for_ever_for_a_folder(
    pilot: Pilot[None], screen: Screen, composer: Composer, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer = threading.Event()

    def slow(*_: object) -> list[str]:
        may_answer.wait(120)
        return []

    monkeypatch.setattr(completing_area, "candidates", slow)
    monkeypatch.setattr(completing_area, "PATIENCE_S", 0.01)
    await pilot.press(*"@two", "enter")
    await wait_until(pilot, lambda: [each.prompt for each in screen.submitted] == ["@two"])
    may_answer.set()


async def settled(pilot: Pilot[None]) -> None:
    """Wait for the list of what is typed."""
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def test_a_folder_is_gone_into(pilot: Pilot[None], composer: Composer) -> None:
    await pilot.press("@", "s", "r")
    await wait_until(pilot, lambda: composer.completion.choice == "src/")
    await pilot.press("enter")
    assert composer.text == "@src/"
    await wait_until(pilot, lambda: composer.completion.choice == "src/a.py")
    await pilot.press("enter")
    await wait_until(pilot, lambda: attached(composer) == ["src/a.py"])
    assert composer.text == "@src/a.py "


async def test_a_name_typed_to_its_end_is_a_file_unless_escape_says_no(pilot: Pilot[None], composer: Composer) -> None:
    await pilot.press(*"@notes.txt", "space", "x")
    await wait_until(pilot, lambda: attached(composer) == ["notes.txt"])
    assert composer.text == "@notes.txt x"
    composer.clear_prompt()
    await pilot.press(*"@notes.txt")
    await wait_until(pilot, lambda: composer.completion.choice == "notes.txt")
    await pilot.press("escape", "space", "x")
    assert attached(composer) == [] and composer.text == "@notes.txt x"


async def test_recall_goes_past_what_stands_there_otherwise_than_it_was_sent(
    pilot: Pilot[None], composer: Composer
) -> None:
    noted = Notes("a.txt*", "0123456789abcdef", (Note("line 1", "line 1", "x"),), 1, 1, 9, 9, 9, 1.0, True)
    composer.recall.learn(["one", join("two", [noted.attachment]), "three\x1b"])
    for key, text in (("up", "three\u241b"), ("up", "two"), ("up", "one"), ("down", "two"), ("down", "three\u241b")):
        await pilot.press(key)
        assert composer.text == text
    await pilot.press("up")
    assert [each.text for each in composer.attached.attachments] == [""]  # it may be sent with another question


async def test_recall(pilot: Pilot[None], screen: Screen, composer: Composer) -> None:
    composer.recall.learn(["one", "two\nlines"])
    composer.insert("typed")
    await pilot.press("up")
    assert composer.text == "two\nlines" and composer.cursor_location == (0, 0)
    await pilot.press("up", "up")
    assert composer.text == "one"
    await pilot.press("down")
    assert composer.text == "two\nlines" and composer.cursor_location == (1, 5)
    await pilot.press("up")
    assert composer.text == "two\nlines" and composer.cursor_location[0] == 0  # first to its first line
    await pilot.press("up")
    assert composer.text == "one"
    await pilot.press("down", "down")
    assert composer.text == "typed"
    await pilot.press("shift+left", "up")
    assert composer.text == "typed"  # something is selected
