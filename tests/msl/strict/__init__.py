"""A second judge of the kernels' text, by other rules than the bench's: address spaces and words as Metal has them.

`objections(texts)` names what Metal would refuse. Clang reads the texts as C++ for OpenCL, which has Metal's address
spaces as a part of the language (front_end.py); what that lets through is found in their tokens (lint.py).

No objection doesn't mean that Apple's compiler takes a text: that is what `make metal-syntax` asks on a Mac.
"""

from collections.abc import Iterable

from tests.msl.strict.front_end import refused_by_clang
from tests.msl.strict.lint import refused_by_words
from tests.msl.strict.parts import Objection, by_header
from tests.msl.texts import KernelText

__all__ = ["Objection", "objections"]


def objections(texts: Iterable[KernelText]) -> list[Objection]:
    """All that is wrong with the texts, each thing once. Raises BenchUnavailable on a machine without clang."""
    found: dict[Objection, None] = {}
    for together in by_header(texts):
        found |= dict.fromkeys([*refused_by_words(together), *refused_by_clang(together)])
    return list(found)
