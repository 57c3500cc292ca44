"""Random damage to the header of a safetensors file; `make fuzz` does far more of it."""

import json
import os
import random
import struct
from pathlib import Path

from mlx_model.errors import CheckpointError
from mlx_model.transformer.compute import CpuCompute
from mlx_model.transformer.config import ModelConfig
from mlx_model.weights.checkpoint import stored_tensors
from mlx_model.weights.layouts import layout_of
from mlx_model.weights.loader import load_transformer
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.headers import read_header

FUZZ = int(os.environ.get("WEIGHTS_FUZZ", "400"))


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """The header's text with a few changes: of bits, bytes, digits, pieces, entries, fields."""
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(raw)) if raw else 0
        match chance.randrange(6):
            case 0:
                raw = raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1 :]
            case 1:
                raw = raw[:at] + raw[at + chance.randint(1, 40) :]
            case 2:
                raw = raw[:at] + raw[at : at + chance.randint(1, 200)] + raw[at:]
            case 3:
                raw = (
                    raw[:at]
                    + chance.choice([b"-", b"1e9", b"null", b"[", b"}", b'"', b"\\u0000", b"9" * 30])
                    + raw[at:]
                )
            case 4:
                digits = [index for index, byte in enumerate(raw) if byte in b"0123456789"]
                at = chance.choice(digits) if digits else 0
                raw = raw[:at] + b"%d" % chance.randrange(10) + raw[at + 1 :]
            case 5:
                raw = mutated_entries(raw, chance)
    return raw


def mutated_entries(raw: bytes, chance: random.Random) -> bytes:
    """The header with one field of one entry changed, if it can still be read."""
    try:
        header = json.loads(raw)
        entry = header[chance.choice(list(header))]
        field = chance.choice(["dtype", "shape", "data_offsets"])
        number = chance.choice([0, 1, -1, 7, 1 << 31, 1 << 53, 1 << 63, (1 << 64) - 1, 1 << 64, 0.5])
        if field == "dtype":
            entry[field] = chance.choice(["U8", "BF16", "F32", "F64", "I64", "F4", "E8M0", "", "X", 3, None])
        elif chance.random() < 0.5:
            entry[field][chance.randrange(len(entry[field]))] = number
        else:
            entry[field] = chance.choice([[], [number], [number, number], [0, 8], "x", None, {"a": 1}])
        return json.dumps(header).encode()
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return raw


def test_fuzzed_headers(tmp_path: Path) -> None:
    """A header either is refused, with the file's name, or says of every tensor what the unchanged one says."""
    folder = write_checkpoint(tmp_path, tiny_config(num_hidden_layers=1, vocab_size=64, num_local_experts=4))
    config, file = ModelConfig.load(folder), folder / "model.safetensors"
    raw = file.read_bytes()
    text = json.dumps(read_header(file)).encode()
    data = raw[8 + struct.unpack("<Q", raw[:8])[0] :]
    original = {name: data[slice(*entry["data_offsets"])] for name, entry in json.loads(text).items()}
    chance = random.Random(20261122)
    accepted = 0
    for number in range(FUZZ):
        header = mutated(text, chance)
        length = len(header) if chance.random() < 0.95 else chance.choice([0, 7, len(header) + 1, 1 << 62, len(raw)])
        file.write_bytes(struct.pack("<Q", length) + header + data[: len(data) if chance.random() < 0.95 else -1])
        try:
            tensors = stored_tensors(folder)
            layout_of(folder, config, tensors)
        except CheckpointError as error:
            assert str(folder) in str(error), (number, header)
            continue
        accepted += 1
        content = file.read_bytes()
        found = {name: content[tensor.offset : tensor.offset + tensor.nbytes] for name, tensor in tensors.items()}
        # Tensors of one size may have changed places: then each still lies where its header says.
        assert {name: len(part) for name, part in found.items()} == {n: len(part) for n, part in original.items()}
        try:
            load_transformer(folder, config, CpuCompute())
        except CheckpointError as error:
            assert "no numbers" in str(error), (number, header)
    assert 0 < accepted < FUZZ / 2
