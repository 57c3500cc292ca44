"""The fingerprint of a checkpoint: the same for a copy, another where any tensor has other numbers, shape or name."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from mlx_model.weights.fingerprint import fingerprint


def written(folder: Path, **tensors: np.ndarray) -> str:
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    return fingerprint(folder)


def test_it_tells_weights_apart(tmp_path: Path) -> None:
    matrix, bias = np.arange(6000, dtype=np.float32).reshape(60, 100), np.ones(3, np.float32)
    first = written(tmp_path / "first", matrix=matrix, bias=bias)
    assert written(tmp_path / "copy", bias=bias, matrix=matrix) == first
    others = [
        written(tmp_path / "trained", matrix=matrix + np.float32(1e-3), bias=bias),
        written(tmp_path / "small", matrix=matrix, bias=bias + np.float32(1)),
        written(tmp_path / "shape", matrix=matrix.reshape(100, 60), bias=bias),
        written(tmp_path / "name", other=matrix, bias=bias),
    ]
    assert len({first, *others}) == 5
