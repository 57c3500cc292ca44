"""Kernels' texts, cut into a header that many share, byte for byte, and a kernel with its template's arguments."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.msl.texts import KernelText


@dataclass(frozen=True, slots=True)
class Objection:
    """What is wrong in a line of a text, which has this name. In a header it is said of one text of those it begins."""

    name: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Parts:
    """A text in parts.

    `kernel` begins in line `line`, with the template's head if it is one, and ends before the template's instantiation,
    whose `arguments` are apart.
    """

    name: str
    header: str
    kernel: str
    arguments: tuple[str, ...]
    line: int


_KERNEL = re.compile(r"(?:^template\s*<[^<>]*>\s*)?\[\[kernel\]\]\s+void\b", re.M)
_INSTANTIATION = re.compile(r"^template\s*\[\[host_name\(.*decltype\(\w+<(.*?)>\)", re.M)


def by_header(texts: Iterable[KernelText]) -> list[list[Parts]]:
    """The texts in parts, those with the same header together."""
    groups: dict[str, list[Parts]] = {}
    for each in texts:
        parts = _parts(each.name, each.text)
        groups.setdefault(parts.header, []).append(parts)
    return list(groups.values())


def _parts(name: str, text: str) -> Parts:
    kernel = _KERNEL.search(text)
    if kernel is None:
        raise ValueError(f"{name} has no kernel function")
    start, end, arguments = kernel.start(), len(text), ""
    if instantiation := _INSTANTIATION.search(text, kernel.end()):
        end, arguments = instantiation.start(), instantiation[1]
    values = tuple(map(str.strip, arguments.split(","))) if arguments else ()
    return Parts(name, text[:start], text[start:end], values, 1 + text.count("\n", 0, start))
