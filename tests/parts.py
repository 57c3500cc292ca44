"""The arrays that a loaded model consists of, to compare two models bit for bit."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.embedding import Embedding


def arrays(part: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Every MLX and numpy array of a model's part, with its path. An embedding's rows are in no array."""
    if isinstance(part, mx.array | np.ndarray):
        yield at, part
    elif isinstance(part, list | tuple):
        for index, item in enumerate(part):
            yield from arrays(item, f"{at}[{index}]")
    elif isinstance(part, ModelConfig | Embedding):
        return
    elif is_dataclass(part):
        for field in fields(part):
            yield from arrays(getattr(part, field.name), f"{at}.{field.name}")
    elif hasattr(part, "__dict__"):
        for name, value in vars(part).items():
            yield from arrays(value, f"{at}.{name}")


def bits(array: Any) -> bytes:
    """The bytes of an array."""
    return np.array(array.view(mx.uint8) if isinstance(array, mx.array) and array.ndim else array).tobytes()


def assert_bit_equal(one: Any, other: Any) -> None:
    """Fails unless the two parts hold the same arrays in the same places."""
    left, right = dict(arrays(one)), dict(arrays(other))
    assert left.keys() == right.keys()
    assert len(left) > 20
    for name, array in left.items():
        assert (array.dtype, array.shape) == (right[name].dtype, right[name].shape), name
        assert bits(array) == bits(right[name]), name
