"""A stand-in for metal.adopt with Metal's rules, on machines without Metal: what it adopts it has to copy."""

import mmap
from collections.abc import Callable
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

PAGE = mmap.PAGESIZE


@dataclass
class StandIn:
    """Called in place of `adopt`. Like Metal's arrays, it keeps the memory it adopted alive, in `held`.

    `refuses(pages)` makes it refuse, `gives(bytes)` sees other bytes than there are.
    """

    refuses: Callable[[NDArray[np.uint8]], bool] = lambda pages: False
    gives: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] = lambda pages: pages
    held: list[NDArray[np.uint8]] = field(default_factory=list)

    def __call__(self, pages: NDArray[np.uint8]) -> mx.array | None:
        """The array over copies of the pages, or None where newBufferWithBytesNoCopy gives no buffer."""
        assert pages.dtype == np.uint8
        assert not pages.flags.writeable
        if pages.ctypes.data % PAGE or pages.nbytes % PAGE or not pages.nbytes or self.refuses(pages):
            return None
        self.held.append(pages)
        return mx.array(self.gives(pages))


def asked(name: str) -> int:
    """The alignment that the decode kernels ask of a tensor of the Hub's layout."""
    if name.endswith("_scales"):
        return 1
    return 4 if name.endswith(("_blocks", "_proj.weight", "lm_head.weight")) else 16
