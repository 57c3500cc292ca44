"""The settings file: what is wrong in it costs a line, never the rest; changing it keeps what people wrote."""

import os
import tomllib
from pathlib import Path

import pytest

from app import paths
from app.settings import MOST_CALLS, Settings, SettingsError, load, update
from mlx_model.harmony.message import Effort
from mlx_model.options import Options
from mlx_model.tools import loop

WRITTEN = """\
# mine
theme = 'light' # by day
effort = "high"
prompt_lookup = true
new-key = 1

[sampling]
# careful
top_p = 0.9

[presets]
brief = "Answer in one sentence."

[of-a-newer-version]
x = [1, 2]
"""


@pytest.fixture
def file(home: Path) -> Path:
    home.mkdir()
    return home / "settings.toml"


def test_without_a_file_there_are_defaults(home: Path) -> None:
    assert paths.settings_file() == home / "settings.toml"
    assert load() == Settings() and not home.exists()


def test_a_file_is_read(file: Path) -> None:
    file.write_text(
        f'model = "demo"\nanalysis = "hidden"\nnotify = "always"\ntitles = "words"\nmouse = false\n{WRITTEN}', "utf-8"
    )
    found = load()
    assert not found.mouse and Settings().mouse
    assert (found.notify, Settings().notify) == ("always", "auto")
    assert (found.model, found.theme, found.analysis, found.warnings) == ("demo", "light", "hidden", ())
    assert found.titles == "words" and Settings().titles == "model"
    assert found.options == {"effort": Effort.HIGH, "prompt_lookup": True, "top_p": 0.9}
    assert found.presets == {"brief": "Answer in one sentence."}


def test_changing_keeps_comments_unknown_keys_and_what_another_program_has_changed(file: Path) -> None:
    file.write_text(WRITTEN, "utf-8")
    load()
    file.write_text(WRITTEN.replace("brief", "short"), "utf-8")
    several = 'one """ and \\ and\ntwo\x07'
    update({("theme",): "dark", ("sampling", "top_p"): None, ("sampling", "top_k"): 40, ("presets", "a b"): several})
    text = file.read_text("utf-8")
    assert "# mine" in text and "# by day" in text and "# careful" in text
    assert tomllib.loads(text) == {
        "theme": "dark",
        "effort": "high",
        "prompt_lookup": True,
        "new-key": 1,
        "sampling": {"top_k": 40},
        "presets": {"short": "Answer in one sentence.", "a b": several},
        "of-a-newer-version": {"x": [1, 2]},
    }
    assert [path.name for path in file.parent.iterdir()] == ["settings.toml"]


def test_the_first_change_makes_the_file_and_its_folder(home: Path) -> None:
    update({("sampling", "seed"): None})
    update({("sampling", "temperature"): 0.5, ("analysis",): "shown"})
    assert load().options == {"temperature": 0.5} and load().analysis == "shown"
    assert home.stat().st_mode & 0o777 == 0o700


def test_what_is_taken_out_of_a_table_that_is_not_there_changes_nothing(home: Path) -> None:
    update({("sampling", "seed"): None, ("presets", "a"): None})
    assert (home / "settings.toml").read_text("utf-8") == ""
    update({("sampling", "seed"): 3})
    assert load().options == {"seed": 3}


def test_every_option_is_read(file: Path) -> None:
    options = Options(Effort.LOW, 99, 0.5, 0.25, 7, 0.125, 1.5, 3)
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "max_tokens")
    update({("effort",): "low", **{("sampling", name): getattr(options, name) for name in names}})
    assert Options(**load().options) == options and len(load().options) == 8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\ntemperature = 0.5\n", "line 2: temperature has no effect outside [sampling]; write it below that line"),
        ('[sampling]\neffort = "high"\n', "line 2: effort has no effect below [sampling]; write it at the top"),
    ],
)
def test_an_option_in_the_wrong_place_is_said(file: Path, text: str, said: str) -> None:
    """It would do nothing, without a word."""
    file.write_text(text)
    assert load().options == {}
    assert load().warnings == (f"{file}, {said}",)


def test_a_preset_of_several_lines_stands_in_as_many(file: Path) -> None:
    update({("presets", "a"): "one\ntwo\nthree"})
    assert "\ntwo\nthree" in file.read_text("utf-8")


def test_folders_above_are_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GPTOSS_CHAT_HOME", str(tmp_path / "one" / "two"))
    update({("theme",): "light"})
    assert load().theme == "light"


def test_a_change_outlives_a_power_cut(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    update({("theme",): "light"})
    assert len(synced) == 2  # the content, and the folder with the name


def test_a_pipe_in_its_place_is_not_waited_for(file: Path) -> None:
    os.mkfifo(file)
    [line] = load().warnings
    assert "can't be read: it is not a regular file" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'theme = "dark"\nmodel = "demo\n', ", line 2: Illegal character"),
        (b"theme = ", ", line 1: Invalid value"),
        (b"[presets]\n\n[presets]\n", ", line 3: Cannot declare"),
        (b'theme = "dark"\n# \xff\n', ", line 2: the text is not UTF-8"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = " + b"1" * 5000, "Exceeds the limit"),
    ],
)
def test_a_broken_file_is_told_in_one_line_and_never_written(file: Path, text: bytes, said: str) -> None:
    file.write_bytes(text)
    found = load()
    assert found == Settings(warnings=found.warnings)
    [line] = found.warnings
    assert said in line and str(file) in line and "left as it is; the defaults" in line and "\n" not in line
    with pytest.raises(SettingsError, match="left as it is"):
        update({("theme",): "light"})
    assert file.read_bytes() == text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[sampling]\ntemperature = 'hot'", "line 3: temperature is 'hot'; it must be a number"),
        ("[sampling]\ntop_p = 2", "line 3: top_p is 2; it must be above 0"),
        ("sampling.seed = -1", "line 2: seed is -1"),
        ("effort = 'none'", 'line 2: effort is "none"; gpt-oss knows'),
        ("prompt_lookup = 'on'", "line 2: prompt_lookup is 'on'; it must be true or false"),
        ("[tools]\nmost_calls = 0", "line 3: most_calls is 0; it must be a number from 1 to 1,000"),
        ("[tools]\nmost_calls = true", "line 3: most_calls is True"),
        ("tools = 3", "line 2: tools is 3; it must be a table"),
        ("permissions = 3", "line 2: permissions is 3; it must be a table"),
        ("titles = 'me'", "line 2: titles is 'me'; it must be one of model, words"),
        ("analysis = 'no'", "line 2: analysis is 'no'; it must be one of shown, collapsed, hidden"),
        ("mouse = 1", "line 2: mouse is 1; it must be true or false"),
        ("theme = 3", "line 2: theme is 3; it must be text"),
        ("sampling = 3", "line 2: sampling is 3; it must be a table"),
        ("[presets]\nx = 3", 'line 3: the preset "x" is 3; it must be text'),
    ],
)
def test_a_value_that_makes_no_sense_costs_itself_alone(file: Path, line: str, said: str) -> None:
    file.write_text(f'model = "demo"\n{line}\n', "utf-8")
    found = load()
    assert found.model == "demo" and found.options == {} and found.presets == {}
    assert (found.theme, found.analysis, found.mouse, found.most_calls) == ("dark", "collapsed", True, MOST_CALLS)
    [line] = found.warnings
    assert said in line and line.endswith("; the default is used") and "\n" not in line


def test_how_often_tools_may_be_called(file: Path) -> None:
    assert load().most_calls == MOST_CALLS == loop.MOST_CALLS
    file.write_text("[tools]\nmost_calls = 100\n")
    assert load() == Settings(most_calls=100)


def test_permissions_of_tools(file: Path) -> None:
    """One that makes no sense may have been meant as a limit."""
    file.write_text('[permissions]\npython = "deny"\n"functions.*" = "no"\n', "utf-8")
    found = load()
    assert found.permissions == {"python": "deny", "functions.*": "ask"} and Settings().permissions == {}
    [line] = found.warnings
    assert line.endswith(
        "line 3: the permission of 'functions.*' is 'no'; it must be one of allow, ask, deny; you are asked"
    )


def test_what_cannot_be_read_or_written_is_told(file: Path) -> None:
    file.mkdir()
    [line] = load().warnings
    assert "can't be read: it is a folder; the defaults are used" in line
    file.rmdir()
    file.parent.rmdir()
    file.parent.write_text("in the way")
    assert load() == Settings()
    with pytest.raises(SettingsError, match=r"can't be written: File exists; the changes stay in effect until you"):
        update({("theme",): "light"})


def test_a_permission_that_is_about_no_tool_is_said(file: Path) -> None:
    right = ("python", "*", "mcp.wiki", "functions.wiki_search 3bb9", "browser.open example.org", "brow*", "files.*")
    wrong = ("snake", "", "Python", "wiki.*", "example.org")
    file.write_text("[permissions]\n" + "".join(f'"{name}" = "deny"\n' for name in (*right, *wrong)), "utf-8")
    warnings = load(file).warnings
    assert len(warnings) == len(wrong)
    assert warnings[0] == (
        f"{file}, line 9: the permission of 'snake' is about no tool; its name must begin with one of python, "
        "browser, files, functions, mcp"
    )


def test_a_link_to_the_file_stays_one_and_its_permissions_too(file: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text(WRITTEN, "utf-8")
    real.chmod(0o640)
    file.symlink_to(real)
    update({("theme",): "ansi"})
    assert file.is_symlink() and 'theme = "ansi"' in real.read_text("utf-8") and real.stat().st_mode & 0o777 == 0o640


def test_a_disk_that_fills_up_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(WRITTEN, "utf-8")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SettingsError, match="No space left"):
        update({("theme",): "dark"})
    assert file.read_text("utf-8") == WRITTEN and list(file.parent.iterdir()) == [file]
