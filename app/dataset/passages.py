"""A document in passages, each as much as one question is asked about, with its place in the document."""

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlx_model.documents.document import Document
from mlx_model.documents.quotes import folded
from mlx_model.tokens import about_tokens

MOST_TOKENS = 900
"""Of a passage, about. One line may have more."""
LEAST_TOKENS = 25
"""A passage with fewer has nothing to ask about."""
_ALIKE = 0.8
"""Of what two passages have together, the share that they have in common where one of them is a copy."""
_RUN = 8
"""Words in a row that are compared at once."""
_NOT_READ = re.compile(
    r"(?:[\d.]+\s+)?(?:references|bibliography|works cited|literature|(?:table of )?contents|index|acknowledge?ments?"
    r"|literatur(?:verzeichnis)?|quellen(?:verzeichnis)?|inhalt(?:sverzeichnis)?|stichwortverzeichnis"
    r"|bibliographie|table des mati[eè]res|bibliograf[ií]a|[ií]ndice)",
    re.IGNORECASE,
)
"""Headings of sections that only lead elsewhere."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Text of one page of a file, from a character of that page on. `page` is an index of the document's pages,
    `heading` the title of the section that it begins in, "" if there is none."""

    file: str
    page: int
    start: int
    text: str
    heading: str = ""


@dataclass(frozen=True, slots=True)
class _Block:
    """Lines of a page that stay together, if they can: a paragraph, a table, a heading."""

    start: int
    text: str
    tokens: int
    heading: str
    begins_section: bool = False

    @property
    def end(self) -> int:
        """The first character behind it."""
        return self.start + len(self.text)


def passages(document: Document, file: str) -> list[Passage]:
    """The passages of a document: cut at headings and paragraphs, without lists of references and contents."""
    found: list[Passage] = []
    heading, is_skipped = "", False
    for page, each in enumerate(document.pages):
        titles = {place.line: place.title for place in document.headings if place.page == page}
        blocks: list[_Block] = []
        for block in _blocks(each.text, titles):
            if block.begins_section:
                heading, is_skipped = block.heading, _NOT_READ.fullmatch(block.heading.strip()) is not None
            if not is_skipped:
                blocks.append(_Block(block.start, block.text, block.tokens, heading, block.begins_section))
        found += (_passage(file, page, group, each.text) for group in _grouped(blocks, each.text))
    return [passage for passage in found if _is_worth_asking(passage.text)]


def without_copies(found: Sequence[Passage]) -> list[Passage]:
    """The passages without those that say again what an earlier one says."""
    kept: list[Passage] = []
    sizes: list[int] = []
    known: dict[tuple[str, ...], list[int]] = {}  # the kept passages that have these words in a row
    for passage in found:
        words = folded(passage.text).split()
        runs = {tuple(words[at : at + _RUN]) for at in range(max(1, len(words) - _RUN + 1))}
        common = Counter(number for run in runs for number in known.get(run, ()))
        if any(count > _ALIKE * (len(runs) + sizes[number] - count) for number, count in common.items()):
            continue
        for run in runs:
            known.setdefault(run, []).append(len(kept))
        kept.append(passage)
        sizes.append(len(runs))
    return kept


def in_turn(found: Sequence[Passage], seed: int) -> list[Passage]:
    """The passages in an order drawn by the seed, in which each beginning has of every file its share."""
    by_file: dict[str, list[Passage]] = {}
    for passage in found:
        by_file.setdefault(passage.file, []).append(passage)
    placed: list[tuple[float, str, Passage]] = []
    for file, members in by_file.items():
        random.Random(f"{seed} {file}").shuffle(members)
        placed += [((at + 0.5) / len(members), file, passage) for at, passage in enumerate(members)]
    return [passage for *_, passage in sorted(placed, key=lambda each: each[:2])]


def _blocks(text: str, titles: dict[int, str]) -> Iterator[_Block]:
    """A page as blocks. What is longer than a passage is cut between lines."""
    lines = text.split("\n")
    start, taken, tokens = 0, list[str](), 0
    at = 0

    def block(title: str | None = None) -> _Block:
        return _Block(start, "\n".join(taken), tokens, title or "", title is not None)

    for number, line in enumerate(lines):
        size = about_tokens(line) if line.strip() else 0
        ends = not line.strip() or number in titles or tokens + size > MOST_TOKENS
        if ends and taken:
            yield block()
            taken, tokens = [], 0
        if line.strip():
            if not taken:
                start = at
            taken.append(line)
            tokens += size
            if number in titles:
                yield block(titles[number])
                taken, tokens = [], 0
        at += len(line) + 1
    if taken:
        yield block()


def _grouped(blocks: Sequence[_Block], text: str) -> Iterator[list[_Block]]:
    """Blocks that make one passage: a section, or as much of it as fits; short sections stand together."""
    group: list[_Block] = []
    total = 0
    for block in blocks:
        is_full = total + block.tokens > MOST_TOKENS or (block.begins_section and total > MOST_TOKENS // 2)
        if group and (is_full or text[group[-1].end : block.start].strip()):
            yield group
            group, total = [], 0
        group.append(block)
        total += block.tokens
    if group:
        yield group


def _passage(file: str, page: int, group: Sequence[_Block], text: str) -> Passage:
    start, end = group[0].start, group[-1].end
    return Passage(file, page, start, text[start:end], group[0].heading)


def _is_worth_asking(text: str) -> bool:
    """Whether it has words enough, and is no list that leads to page numbers."""
    lines = [line for line in text.split("\n") if line.strip()]
    leading = sum(bool(re.search(r"(?:\. ?){5,}\s*\d*\s*$", line)) for line in lines)
    return about_tokens(text) >= LEAST_TOKENS and leading * 3 < len(lines)
