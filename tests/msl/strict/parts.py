"""Kernels' texts, cut into a header that many share, byte for byte, and a kernel."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.msl.prepass import without_comments
from tests.msl.texts import KernelText


@dataclass(frozen=True, slots=True)
class Objection:
    """What is wrong in a line of a text, which has this name. In a header it is said of one text of those it begins."""

    name: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Parts:
    """A text without its comments, in two; `line` is that in which the kernel begins."""

    name: str
    header: str
    kernel: str
    line: int


_KERNEL = re.compile(r"(?:^template\s*<[^<>]*>\s*)?\[\[kernel\]\]\s+void\b", re.M)


def by_header(texts: Iterable[KernelText]) -> list[list[Parts]]:
    """The texts in parts, those with the same header together."""
    groups: dict[str, list[Parts]] = {}
    for each in texts:
        parts = _parts(each.name, without_comments(each.text))
        groups.setdefault(parts.header, []).append(parts)
    return list(groups.values())


def _parts(name: str, text: str) -> Parts:
    kernel = _KERNEL.search(text)
    if kernel is None:
        raise ValueError(f"{name} has no kernel function")
    start = kernel.start()
    return Parts(name, text[:start], text[start:], 1 + text.count("\n", 0, start))
