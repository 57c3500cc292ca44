"""Which kernels compute a decode step of several rows: tried at the first such step on a machine, then remembered."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import mlx.core as mx

from metal.formats import HEAD_DIM
from metal.operation import Choice, Operation, Variant, rows_of_text
from metal.trust.candidates import dense_operations, expert_operations
from metal.trust.select import KernelChoice
from mlx_model.transformer.cache import Cache
from mlx_model.transformer.decode import Decoder

log = logging.getLogger(__name__)


Choose = Callable[..., KernelChoice]
"""metal.trust.select.choose, which takes operations, and `rechecks`."""


@dataclass(frozen=True, slots=True)
class SeveralRows:
    """The `several` of a Decoder.

    A first start needn't wait for trials that most people never need: the first step of 2, of 4 and of 8 rows waits for
    its own, of up to seven texts, and in later processes for their compilation alone.

    `decoder` has what was chosen for one row; `windows` are those of its layers' caches, `choose` finds out how
    operations run here; `table` says that FP4 is decoded by a table.
    """

    decoder: Decoder
    windows: tuple[int | None, ...]
    dtype: mx.Dtype
    choose: Choose
    table: bool = False
    _found: dict[int, Choice] = field(default_factory=dict)

    def __call__(self, rows: int) -> Choice:
        """The variants for so many rows, 2 at least; empty where all runs by MLX's operations. What has been found out
        holds for as many rows as there is one text of a kernel for."""
        most = rows_of_text(rows)
        if most not in self._found:
            self._found[most] = self._find_out(most)
        return self._found[most]

    def operations(self, rows: int) -> dict[str, Operation]:
        """The operations of a step of up to `rows` rows, by their names in a choice.

        Only those that run by a kernel for one row, with the loads that turned out to be right and faster there: each
        variant is a text that has to be compiled.
        """
        decoder, dtype, cores = self.decoder, self.dtype, self.decoder.gpu_cores
        layers, mixture = [layer.projections for layer in decoder.layers], decoder.layers[0].mixture
        found = {}
        for operation in (
            *dense_operations(layers, decoder.head, dtype, gpu_cores=cores, rows=rows),
            *expert_operations(mixture, dtype, table=self.table, gpu_cores=cores, rows=rows),
        ):
            chosen = decoder.choice[operation.name]
            if chosen is None:
                continue
            variants = tuple(each for each in operation.variants if _loads(each) == _loads(chosen))
            if operation.name == "route":  # whose text is the same for any number of rows
                variants = (chosen,)
            name = f"{operation.name}, {rows} rows"
            found[operation.name] = replace(operation, name=name, variants=variants)
        return found

    def _find_out(self, rows: int) -> Choice:
        operations = self.operations(rows)
        failure: Exception | None = None
        for rechecks in (False, True):
            chosen = self.choose([*operations.values()], rechecks=rechecks)
            choice = {name: chosen[operation.name] for name, operation in operations.items()}
            if all(variant is None for variant in choice.values()):
                return {}
            try:
                self._take_step(choice, rows)
            except Exception as error:  # MLX has several types for what Metal refuses
                failure = error
            else:
                return choice
        log.warning("steps of %d rows run by MLX's own operations: %s", rows, failure)
        return {}

    def _take_step(self, choice: Choice, rows: int) -> None:
        """A token of each row through all layers, whose launches compile what they run."""
        decoder = replace(self.decoder, several=lambda rows: choice)
        caches = [Cache(self.windows) for _ in range(rows)]
        angles = mx.ones((rows, HEAD_DIM // 2))
        x = mx.zeros((rows, self.decoder.head.matrix.columns), self.dtype)
        mx.eval(decoder.logits(decoder.hidden(x, angles, angles, caches)), [cache.arrays() for cache in caches])


def _loads(variant: Variant) -> int:
    return dict(variant).get("PACKED", 0)
