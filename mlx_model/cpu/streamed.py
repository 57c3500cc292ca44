"""A layer on a CPU some of whose experts are in memory: attention and routing, then reading, then the experts.

The kernels are those of any other layer, and find an expert where its slot is. They go through the experts in the order
of their numbers, not of their slots: so every bit is the same.
"""

from typing import Any

import numpy as np

from mlx_model.cpu.attention import Cached
from mlx_model.cpu.layer import Layer, Room, Sizes, add_experts, until_experts
from mlx_model.cpu.threads import Team
from mlx_model.transformer.slots import Slots


def streamed_layer(
    crew: Team,
    threads: int | None,
    slots: Slots,
    sizes: Sizes,
    x: Any,
    room: Room,
    angles: tuple[Any, Any],
    layer: tuple[Layer, Cached, int],
) -> None:
    """What `layer` of layer.py does, by all threads of a team: with its weights, cached keys and values, and window.

    Raises CheckpointError where experts can't be read.
    """
    weights, cached, window = layer

    def attend(state: Any, part: int) -> None:
        until_experts(state, part, weights, sizes, x, room, *angles, cached, window)

    crew.run(attend, threads)
    starts, pairs = room.starts[0], room.tokens[0]
    count = len(starts) - 1
    experts = np.repeat(np.arange(count), np.diff(starts))
    chosen = experts[np.argsort(pairs, kind="stable")].reshape(len(x), -1)
    wanted = slots.count(chosen)
    for group in slots.groups(wanted):
        some = np.clip(starts, starts[group[0]], starts[group[-1] + 1])

        def through(state: Any, part: int, some: Any = some) -> None:
            add_experts(state, part, weights, sizes, some, x, room)

        crew.run(through, threads)
