"""The arrays of a case, made from a few words on the machine that runs it: of the same bits everywhere.

bfloat16 is held as uint16. A long random array repeats after PERIOD items, a prime, so that no two of its rows are
alike and a gigabyte is made in a second.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.msl.cuda.manifest import Array

PERIOD = 1_000_003

STORED = {
    "bfloat16": np.uint16,
    "float16": np.float16,
    "float32": np.float32,
    "uint32": np.uint32,
    "uint8": np.uint8,
    "int32": np.int32,
    "int64": np.int64,
    "uint64": np.uint64,
    "bool": np.uint8,
}


def nbytes(array: Array) -> int:
    """Its size."""
    return math.prod(array.shape) * np.dtype(STORED[array.dtype]).itemsize


def made(array: Array, index: int = 0) -> NDArray[Any]:
    """Set number `index` of an input."""
    values = stored(_values(array, index), array.dtype)
    return np.ascontiguousarray(np.resize(values, array.shape))


def stored(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Rounded to nearest even."""
    if dtype != "bfloat16":
        return values.astype(STORED[dtype])
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def exact(array: NDArray[Any], dtype: str) -> NDArray[np.float64]:
    """The numbers of an array as it is stored."""
    if dtype == "bfloat16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float64)


def _values(array: Array, index: int) -> NDArray[Any]:
    """The values, or of a long random array those that repeat."""
    how, shape = array.make, array.shape
    rng = np.random.default_rng([how.get("seed", 0), index])
    few = min(math.prod(shape), PERIOD)
    match how["kind"]:
        case "list":
            return np.array(how["values"]).reshape(shape)
        case "normal":
            spread = rng.standard_normal(few, np.float32) * np.float32(how.get("scale", 1))
            return spread + np.float32(how.get("mean", 0))
        case "integers":
            return rng.integers(how["low"], how["high"], few, dtype=np.uint32)
        case "cosines":
            return np.cos(rng.uniform(0, 2 * np.pi, shape))
        case "sines":  # of the same angles
            return np.sin(rng.uniform(0, 2 * np.pi, shape))
        case "logits":  # the experts in turn, `top` a set; each row shares half of them with the row before
            values = np.full(shape, -10.0, np.float32)
            for number, row in enumerate(values.reshape(-1, shape[-1])):
                row[_chosen(array, index, number)] = rng.permutation(how["top"])
            return values
        case "experts":  # those that such logits choose, the largest first
            order = np.argsort(-rng.permutation(how["top"]))
            return _chosen(array, index)[order].reshape(shape)
    raise ValueError(f"no array is made by {how['kind']}")


def _chosen(array: Array, index: int, row: int = 0) -> NDArray[np.int64]:
    top, experts = array.make["top"], array.make["experts"]
    chosen: NDArray[np.int64] = (index * top + row * top // 2 + np.arange(top)) % experts
    return chosen
