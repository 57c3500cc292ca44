"""A layer's mixture of experts some of which are in memory, by MLX's operations and the same kernels as any other."""

import mlx.core as mx
import numpy as np

from metal.weights import Mixture
from mlx_model.transformer.experts import run, sorted_rows
from mlx_model.transformer.slots import Slots


class Streamed:
    """`mixture` has an expert's matrices where its slot is; its router is that of all experts.

    Every step waits once until its routing is known. Slots are written behind MLX's back, so what reads them has been
    computed before: a step hands its result to the device at once (`computing`), and the next one waits for that.
    """

    def __init__(self, mixture: Mixture, slots: Slots) -> None:
        self.mixture = mixture
        self.slots = slots
        self._computing: mx.array | None = None

    def rows(self, x: mx.array, experts: mx.array) -> mx.array:
        """x [N, hidden], normed, through its experts [N, top_k], to [N, top_k, hidden]. Raises CheckpointError."""
        chosen = np.array(experts)
        wanted = self._count(chosen)
        if len(wanted) > self.slots.size:
            return self._swept(x, chosen, wanted)
        self.slots.hold(wanted)
        rows = sorted_rows(x, mx.array(self.slots.slot_of[chosen].astype(np.uint32)), self.mixture)
        self.computing(rows)
        return rows

    def logits_of_slots(self, logits: mx.array) -> mx.array:
        """The router's logits float32 [N, E] as [N, slots]: those that are chosen where their experts are, -inf else.

        So the same are chosen again, in the same order; of equal ones that with the lowest slot comes first.
        """
        scores = np.array(logits)
        # Best first, of equal ones the lowest, as `best` and the kernels choose.
        chosen = np.argsort(-scores, axis=1, kind="stable")[:, : self.mixture.top_k]
        self.slots.hold(self._count(chosen))
        row = np.arange(len(scores))[:, None]
        found = np.full((len(scores), self.slots.size), -np.inf, np.float32)
        found[row, self.slots.slot_of[chosen]] = scores[row, chosen]
        return mx.array(found)

    def computing(self, result: mx.array) -> None:
        """Notes what is computed of the experts that are in memory now."""
        mx.async_eval(result)  # type: ignore[no-untyped-call]
        self._computing = result

    def _count(self, chosen: np.ndarray) -> list[int]:
        if self._computing is not None:
            mx.eval(self._computing)
            self._computing = None
        return self.slots.count(chosen)

    def _swept(self, x: mx.array, chosen: np.ndarray, wanted: list[int]) -> mx.array:
        """More experts than slots: some at a time, while the next are read, so that each is read once."""
        flat = chosen.ravel()
        by_expert = np.argsort(flat, kind="stable")
        starts = np.searchsorted(flat[by_expert], np.arange(len(self.slots.slot_of) + 1))
        parts, places = list[mx.array](), list[np.ndarray]()
        for group in self.slots.groups(wanted):
            slots = self.slots.slot_of
            in_order = sorted(group, key=lambda expert: slots[expert])
            pairs = np.concatenate([by_expert[starts[each] : starts[each + 1]] for each in in_order])
            for start in range(0, len(pairs), len(chosen)):  # the memory plan has room for so many rows
                some = pairs[start : start + len(chosen)]
                rows = x[mx.array(some // chosen.shape[1])][:, None, :]
                parts.append(run(rows, mx.array(slots[flat[some]].astype(np.uint32)), self.mixture, is_sorted=True))
                places.append(some)
                mx.eval(parts[-1])
        back = mx.array(np.argsort(np.concatenate(places)))
        return mx.concatenate(parts)[back].reshape(*chosen.shape, -1)
