"""Where the program keeps its files, and the variables that move them."""

from pathlib import Path

import pytest

from app import paths
from mlx_model.errors import RequestError


def test_everything_is_in_the_folder_that_the_variable_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GPTOSS_CHAT_HOME", "~/chat")
    assert paths.conversations_file() == tmp_path / "chat" / "conversations.db"
    assert paths.settings_file() == tmp_path / "chat" / "settings.toml"


@pytest.mark.parametrize("value", ["~nobody-of-this-name/x", "~nobody-of-this-name"])
def test_a_home_of_someone_unknown(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTOSS_CHAT_HOME", value)
    for find in (paths.conversations_file, paths.settings_file):
        with pytest.raises(
            RequestError, match=f"GPTOSS_CHAT_HOME is {value}, but this computer has no home for ~nobody"
        ):
            find()


@pytest.mark.parametrize("value", [None, ""])
def test_without_it_they_are_where_this_system_has_such_files(
    value: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "GPTOSS_CHAT_HOME"):
        monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv("GPTOSS_CHAT_HOME", value)
    for path in (paths.conversations_file(), paths.settings_file()):
        assert path.is_relative_to(tmp_path) and path.parent.name == "gptoss-chat"


def test_debugging_is_asked_for_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPTOSS_CHAT_DEBUG", raising=False)
    assert not paths.is_debugging()
    monkeypatch.setenv("GPTOSS_CHAT_DEBUG", "1")
    assert paths.is_debugging()
