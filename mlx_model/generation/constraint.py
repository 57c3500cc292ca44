"""What restricts the tokens that may be sampled: the interface, of which a grammar will be one implementation."""

from typing import Protocol

import mlx.core as mx


class Constraint(Protocol):
    """Follows one answer and says which tokens may come next. An object serves one answer."""

    def mask(self) -> mx.array | None:
        """The tokens allowed at the next position, bool [vocab], at least one of them; None where all are.

        Asked once before each token, while the device may still be computing that position's logits.
        """
        ...

    def accept(self, token: int) -> None:
        """The token that was sampled; every one, the stop token included, before the next `mask`."""
        ...
