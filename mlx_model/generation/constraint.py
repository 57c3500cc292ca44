"""What restricts the tokens that may be sampled, as the runner sees it."""

from collections.abc import Sequence
from typing import Protocol

import mlx.core as mx


class Constraint(Protocol):
    """Follows one answer and says which tokens may come next. An object serves one answer."""

    def mask(self) -> mx.array | None:
        """The tokens allowed at the next position, bool [vocab], at least one of them; None where all are, or so nearly
        all that the next is drawn from all and `accept` may refuse it.

        Asked before each token that is drawn, while the device may still be computing that position's logits; and once
        more, for the mask, when a token was refused.
        """
        ...

    def accept(self, token: int) -> bool:
        """Takes the token that comes next, drawn or not; every one, the stop token included. False where it is not
        allowed, which may happen only after a `mask` of None: another is then drawn in its place."""
        ...

    def forced(self) -> Sequence[int]:
        """The next tokens, as far as there is only one way to go on. Each will be accepted before the next question."""
        ...
