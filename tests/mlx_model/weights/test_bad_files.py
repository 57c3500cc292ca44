"""Every way in which a checkpoint's files can be wrong gives one error, naming the file, before anything is loaded."""

import gc
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from mlx_model.checkpoint_files import INDEX
from mlx_model.errors import CheckpointError
from mlx_model.model import load
from mlx_model.weights import checkpoint
from mlx_model.weights.checkpoint import stored_tensors
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.headers import replace_header, rewrite_header

DOWN = "model.layers.1.mlp.experts.down_proj_blocks"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny"), tiny_config(num_hidden_layers=2), shards=3)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "checkpoint"))


@pytest.fixture
def nothing_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test if any tensor is read: what is wrong must have been seen before."""

    def fail(*arguments: Any) -> None:
        raise AssertionError("a tensor was read")

    monkeypatch.setattr(mx, "load", fail)


def file_of(folder: Path, tensor: str) -> Path:
    name: str = json.loads((folder / INDEX).read_text())["weight_map"][tensor]
    return folder / name


def error_of(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        load(folder)
    return str(error.value)


# What the tensors are


def test_missing_tensor(folder: Path, nothing_read: None) -> None:
    file = file_of(folder, DOWN)
    rewrite_header(file, lambda header: header.__setitem__("model.layers.1.mlp.experts.lost", header.pop(DOWN)))
    message = error_of(folder)
    assert DOWN in message
    assert "is missing" in message


def test_extra_tensor(folder: Path, nothing_read: None) -> None:
    def add(header: dict[str, Any]) -> None:
        end = max(entry["data_offsets"][1] for entry in header.values())
        header["model.layers.0.mlp.shared_expert"] = {"dtype": "U8", "shape": [0], "data_offsets": [end, end]}

    file = file_of(folder, "lm_head.weight")
    rewrite_header(file, add)
    message = error_of(folder)
    assert "model.layers.0.mlp.shared_expert" in message
    assert file.name in message


@pytest.mark.parametrize(
    ("field", "value"),
    [("shape", [8, 64, 96 // 32 * 16]), ("shape", [4, 128, 3, 16]), ("dtype", "I8"), ("dtype", "F8_E4M3")],
)
def test_wrong_shape_or_dtype(folder: Path, nothing_read: None, field: str, value: Any) -> None:
    file = file_of(folder, DOWN)
    rewrite_header(file, lambda header: header[DOWN].__setitem__(field, value))
    message = error_of(folder)
    assert DOWN in message
    assert file.name in message
    assert "U8 [8, 64, 3, 16]" in message


def test_config_of_another_model(folder: Path, nothing_read: None) -> None:
    (folder / "config.json").write_text(json.dumps(tiny_config(hidden_size=128)))
    assert "don't belong together" in error_of(folder)


def test_a_tensor_in_two_files(folder: Path, nothing_read: None) -> None:
    first, second = sorted(folder.glob("*.safetensors"))[:2]
    shutil.copy(first, second)
    message = error_of(folder)
    assert f"{second} and {first.name} both hold the tensor " in message


@pytest.mark.parametrize("kind", ["gate_up_proj", "down_proj"])
@pytest.mark.parametrize("where", [0, -1])
def test_scales_that_are_no_numbers(folder: Path, kind: str, where: int) -> None:
    name = f"model.layers.1.mlp.experts.{kind}_scales"
    tensor = stored_tensors(folder)[name]
    gc.collect()
    memory = mx.get_active_memory()
    with tensor.file.open("r+b") as file:
        file.seek(tensor.offset + where % tensor.nbytes)
        file.write(b"\xff")
    assert f"{tensor.file} is damaged: {name} holds scales that are not numbers" in error_of(folder)
    gc.collect()
    assert mx.get_active_memory() == memory
    with tensor.file.open("r+b") as file:
        file.seek(tensor.offset + where % tensor.nbytes)
        file.write(b"\xfe")
    load(folder)


# What the files are


@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, 0.999])
def test_truncated_file(folder: Path, nothing_read: None, kept: float) -> None:
    file = file_of(folder, "lm_head.weight")
    raw = file.read_bytes()
    file.write_bytes(raw[: int(kept * len(raw)) if isinstance(kept, float) else kept])
    message = error_of(folder)
    assert str(file) in message
    assert "is damaged" in message
    if isinstance(kept, float):
        assert "within or before the tensor " in message


def first_two(header: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entries whose data come first."""
    one, two = sorted((entry["data_offsets"], name) for name, entry in header.items())[:2]
    return header[one[1]], header[two[1]]


def overlap(header: dict[str, Any]) -> None:
    one, two = first_two(header)
    two["data_offsets"] = [start - (one["data_offsets"][1] - one["data_offsets"][0]) for start in two["data_offsets"]]


def swap_ends(header: dict[str, Any]) -> None:
    first_two(header)[0]["data_offsets"].reverse()


def leave_a_hole(header: dict[str, Any]) -> None:
    header.pop(min(header, key=lambda name: header[name]["data_offsets"]))


def reach_beyond(header: dict[str, Any]) -> None:
    max(header.values(), key=lambda entry: entry["data_offsets"][1])["data_offsets"][1] += 1 << 40


def other_size(header: dict[str, Any]) -> None:
    first_two(header)[0]["shape"].append(2)


def overflow(header: dict[str, Any]) -> None:
    first_two(header)[0]["shape"] = [1 << 40, 1 << 40]


def below_zero(header: dict[str, Any]) -> None:
    first_two(header)[0]["data_offsets"][0] = -8


def unknown_dtype(header: dict[str, Any]) -> None:
    first_two(header)[0]["dtype"] = "BF17"


def no_offsets(header: dict[str, Any]) -> None:
    del first_two(header)[0]["data_offsets"]


CHANGES: tuple[Callable[[dict[str, Any]], None], ...] = (
    *(overlap, swap_ends, leave_a_hole, reach_beyond, other_size, overflow, below_zero, unknown_dtype, no_offsets),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_header_that_contradicts_the_file(folder: Path, nothing_read: None, change: Any) -> None:
    file = file_of(folder, DOWN)
    rewrite_header(file, change)
    message = error_of(folder)
    assert message.startswith(f"{file} is damaged: ")
    assert message.endswith("; delete it and download the checkpoint again")


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"3", b"{", b"null", b"\xff" * 64, b"{}" + b"[" * 3000, b'{"a": ' * 3000, b'{"a": {}}']
)
def test_header_that_is_none(folder: Path, nothing_read: None, text: bytes) -> None:
    file = file_of(folder, DOWN)
    replace_header(file, text)
    assert f"{file} is damaged" in error_of(folder)


@pytest.mark.parametrize("length", [0, 1, 1 << 20, 100_000_001, 1 << 40, (1 << 63) - 1, (1 << 64) - 1])
def test_header_longer_than_the_file(folder: Path, nothing_read: None, length: int) -> None:
    file = file_of(folder, DOWN)
    file.write_bytes(struct.pack("<Q", length) + file.read_bytes()[8:])
    assert f"{file} is damaged" in error_of(folder)


def test_a_sparse_file_that_claims_a_header_of_its_length(folder: Path, nothing_read: None) -> None:
    file = file_of(folder, DOWN)
    with file.open("r+b") as content:
        content.write(struct.pack("<Q", 20 << 30))
        content.truncate(21 << 30)
    assert f"{file} is damaged" in error_of(folder)


def test_a_clone_without_git_lfs(folder: Path, nothing_read: None) -> None:
    file = file_of(folder, DOWN)
    file.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 13761300984\n")
    assert f"{file} is only git-lfs's pointer to the file: run `git lfs pull`" in error_of(folder)


# Where the files are


def test_files_behind_links(original: Path, tmp_path: Path) -> None:
    """As in the Hub's cache, where each file is a link to a blob."""
    for file in original.iterdir():
        (tmp_path / file.name).symlink_to(file)
    load(tmp_path)


def test_files_of_other_names(folder: Path) -> None:
    """What a file is, the index says, not its name."""
    for number, file in enumerate(folder.glob("*.safetensors")):
        index = (folder / INDEX).read_text()
        (folder / INDEX).write_text(index.replace(file.name, f"part {number}"))
        file.rename(folder / f"part {number}")
    load(folder)


def test_missing_shard(folder: Path, nothing_read: None) -> None:
    file = file_of(folder, DOWN)
    file.unlink()
    assert f"{file} is missing" in error_of(folder)


@pytest.mark.parametrize("name", [INDEX, "model-00001-of-00002.safetensors"])
def test_links_that_lead_nowhere(folder: Path, nothing_read: None, name: str) -> None:
    file, other = folder / name, folder / "other"
    file.unlink()
    file.symlink_to(other)
    assert f"{file} is a link that leads to no file" in error_of(folder)
    other.symlink_to(file)  # in a circle
    assert f"{file} is a link that leads to no file" in error_of(folder)


@pytest.mark.parametrize("name", [INDEX, "model-00001-of-00002.safetensors"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_no_file(folder: Path, nothing_read: None, name: str, make: Callable[[Path], None]) -> None:
    file = folder / name
    file.unlink()
    make(file)
    assert f"{file} is not a file" in error_of(folder)


@pytest.mark.parametrize("failing", ["open", "map"])
def test_files_that_the_system_keeps(folder: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """No permission, or a file system that can't map files: it isn't the file that is at fault."""
    ordinary = Path.open

    def fail(file: Path, *arguments: Any, **options: Any) -> Any:
        if file.suffix == ".safetensors":
            raise PermissionError(13, "Permission denied")
        return ordinary(file, *arguments, **options)

    def missed(*arguments: Any, **options: Any) -> None:
        raise FileNotFoundError("No such file or directory: what the library says of any file it can't open")

    if failing == "open":
        monkeypatch.setattr(Path, "open", fail)
    monkeypatch.setattr(checkpoint, "safe_open", missed if failing == "open" else fail)
    with pytest.raises(
        CheckpointError, match=r"safetensors can't be read \(Permission denied\); check its permissions"
    ):
        stored_tensors(folder)


@pytest.mark.parametrize(
    "index",
    [
        *(
            "",
            "[]",
            "{}",
            "\x00",
            "[" * 100_000,
            '{"weight_map": 3}',
            '{"weight_map": {}}',
            '{"weight_map": {"a": {}}}',
        ),
        *('{"weight_map": {"a": 3}}', '{"weight_map": {"a": null}}', '{"weight_map": {"a": "x", "b": 3}}'),
    ],
    ids=lambda text: text[:20],
)
def test_damaged_index(folder: Path, nothing_read: None, index: str) -> None:
    (folder / INDEX).write_text(index)
    assert INDEX in error_of(folder)


def test_index_that_is_no_text(folder: Path, nothing_read: None) -> None:
    (folder / INDEX).write_bytes(b"\xff\xfe\x00{")
    assert f"{folder / INDEX} can't be read" in error_of(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "/etc/passwd",
        "a/model.safetensors",
        "..",
        ".",
        "",
        "a\0b",
        "./model.safetensors",
        "a/..",
    ],
)
def test_index_reaching_out_of_the_folder(folder: Path, nothing_read: None, name: str) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    assert "not a plain file name" in error_of(folder)


def test_no_weights(folder: Path, nothing_read: None) -> None:
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    assert "not a complete checkpoint" in error_of(folder)
