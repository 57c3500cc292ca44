"""What an MCP server answers, as text and files."""

import base64
import os
from pathlib import Path
from typing import Any

from mcp_types import CallToolResult

from mlx_model.tools.mcp import results
from mlx_model.tools.mcp.results import NOTHING, ReadResult, read_result

PNG = b"\x89PNG and so on"
DATA = base64.b64encode(PNG).decode()


def read(*content: dict[str, Any], folder: Path | None = None, **rest: Any) -> ReadResult:
    result = CallToolResult.model_validate({"content": content, **rest})
    return read_result(result, folder, "take shot/../x")


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def image(mime: str = "image/png", data: str = DATA) -> dict[str, Any]:
    return {"type": "image", "mimeType": mime, "data": data}


def test_texts_and_resources_are_joined_and_cleaned() -> None:
    inner = {"type": "resource", "resource": {"uri": "file:///a", "text": "A\x1b[2J"}}
    link = {"type": "resource_link", "name": "b", "uri": "https://e.org/b"}
    found = read(text("one\ntwo"), inner, link)
    assert found.text == "one\ntwo\n[resource file:///a]\nA␛[2J\n[resource b: https://e.org/b]"
    assert found.outcome == "5 lines"


def test_what_has_no_text_is_its_structure_or_said_to_be_nothing() -> None:
    assert read(structuredContent={"å": [1, None]}).text == '{"å": [1, null]}'
    assert read(text("shown"), structuredContent={"a": 1}).text == "shown"
    assert (read().text, read().outcome) == (NOTHING, "")


def test_binary_content_becomes_files_that_replace_none_and_follow_no_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "take_shot____x-1.png").symlink_to(victim)
    sound = {"type": "audio", "mimeType": "audio/wav", "data": DATA}
    program = {"type": "resource", "resource": {"uri": "x", "mimeType": "application/x-sh", "blob": DATA}}
    unknown = {"type": "resource", "resource": {"uri": "x", "blob": DATA}}
    found = read(text("Here:"), image(), sound, program, unknown, folder=folder)
    assert [path.name for path in found.files] == [
        f"take_shot____x-{end}" for end in ("2.png", "1.wav", "1.bin", "2.bin")
    ]
    assert all(path.read_bytes() == PNG and not path.stat().st_mode & 0o111 for path in found.files)
    assert found.text.splitlines()[:2] == [
        "Here:",
        "[image: image/png, 14 bytes, saved for the user as take_shot____x-2.png]",
    ]
    assert found.text.endswith("\n[file, 14 bytes, saved for the user as take_shot____x-2.bin]")
    assert found.outcome == "5 lines, 4 files"
    assert not victim.exists()


def test_what_can_t_be_kept_is_said(tmp_path: Path, monkeypatch: Any) -> None:
    assert read(image()).text == "[image: image/png, 14 bytes, not kept]"
    assert read(image(data="!?")).text == "[image: image/png, which can't be read]"
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert read(image(), folder=blocked).text == f"[image: image/png, 14 bytes, not kept: {os.strerror(17)}]"
    monkeypatch.setattr(results, "MOST_FILES", 1)
    two = read(image(), image(), folder=tmp_path / "files")
    assert len(two.files) == 1 and two.text.endswith("[image: image/png, too much to be kept]")
    monkeypatch.setattr(results, "MOST_CHARACTERS", len(DATA))
    assert read(image(), folder=tmp_path / "files").files
    monkeypatch.setattr(results, "MOST_CHARACTERS", len(DATA) - 1)
    assert "too much to be kept" in read(image(), folder=tmp_path / "files").text
