"""Search within a document: the passages that have most to do with some words, by SQLite's full-text index (bm25).

A file that is longer than the context can be asked about so; no second model is needed.
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from mlx_model.documents.document import Document, Page
from mlx_model.tokens import about_tokens

MOST_FOUND = 12
WORDS = 160
"""Of a passage, about: it ends with a line. A page has several."""
GAP = "[...]"
"""Stands where lines of a page are left out."""

# The words that most English texts have; a question without others is looked for as it stands.
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """a about all an and are as at be been but by can could did do does for from had has have how i if in into is
        it its me of on or our say says should so than that the their them then there these they this those to was were
        what when where which who whom why will with would you your""",
    )
)
_WORD = re.compile(r"\w+")
_WITHOUT_SPACES = re.compile(r"[\u0e00-\u0eff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff]")


@dataclass(frozen=True, slots=True)
class Passage:
    """Lines of a page: its index, the first of them, and the one behind the last, from 0."""

    page: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in a document: parts of its pages in their order, and `passages` of how many there are."""

    pages: tuple[Page, ...]
    passages: int
    of: int


def search(document: Document, words: str, most: int) -> Found:
    """The passages that have most to do with these words, as many as about `most` tokens have room for; at least
    one."""
    pages = [page.text.split("\n") for page in document.pages]  # once: a page may be all of a long file
    passages = [each for index, lines in enumerate(pages) for each in _passages(index, lines)]
    texts = ["\n".join(pages[each.page][each.start : each.end]) for each in passages]
    chosen: list[Passage] = []
    tokens = 0
    for number in _ranked(texts, words):
        tokens += about_tokens(texts[number])
        if chosen and tokens > most:
            break
        chosen.append(passages[number])
    return Found(tuple(_pages(document, pages, chosen)), len(chosen), len(passages))


def _passages(index: int, lines: Sequence[str]) -> Iterator[Passage]:
    start = words = 0
    for number, line in enumerate(lines):
        count = len(line.split()) + len(_WITHOUT_SPACES.findall(line)) // 2
        if number > start and words + count > WORDS:
            yield Passage(index, start, number)
            start, words = number, 0
        words += count
    yield Passage(index, start, len(lines))


def _ranked(texts: Sequence[str], words: str) -> list[int]:
    """The texts that have some of these words, the best first."""
    terms = _WORD.findall(words)
    terms = [term for term in terms if term.casefold() not in _COMMON] or terms
    is_spaced = _WITHOUT_SPACES.search(words) is None
    # Trigrams find parts of what is written without spaces; `porter` takes the endings off English words.
    tokenizer = "porter unicode61 remove_diacritics 2" if is_spaced else "trigram"
    if not terms:
        return []
    if not is_spaced:
        terms = [term[at : at + 3] for term in terms for at in range(max(1, len(term) - 2))]
        if all(len(term) < 3 for term in terms):  # there is no trigram to look for
            counts = [sum(text.count(term) for term in terms) for text in texts]
            return sorted((n for n, count in enumerate(counts) if count), key=lambda n: -counts[n])[:MOST_FOUND]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE VIRTUAL TABLE passage USING fts5(text, tokenize='{tokenizer}')")
        connection.executemany("INSERT INTO passage(rowid, text) VALUES (?, ?)", enumerate(texts, 1))
        rows = connection.execute(
            "SELECT rowid FROM passage WHERE passage MATCH ? ORDER BY bm25(passage) LIMIT ?",
            (" OR ".join(f'"{term}"' for term in terms), MOST_FOUND),
        )
        return [rowid - 1 for (rowid,) in rows]


def _pages(document: Document, pages: Sequence[Sequence[str]], chosen: Sequence[Passage]) -> Iterator[Page]:
    """The pages of passages, each with those of its lines; of a file without pages each run of lines, with numbers."""
    for index in sorted({passage.page for passage in chosen}):
        page, lines = document.pages[index], pages[index]
        runs: list[tuple[int, int]] = []
        for passage in sorted((each for each in chosen if each.page == index), key=lambda each: each.start):
            if runs and runs[-1][1] == passage.start:
                runs[-1] = runs[-1][0], passage.end
            else:
                runs.append((passage.start, passage.end))
        if not document.has_pages:
            for start, end in ((start, min(end, document.count)) for start, end in runs):
                label = f"lines {start + 1} to {end}" if end > start + 1 else f"line {end}"
                yield Page(start + 1, "\n".join(lines[start:end]), label)
            continue
        texts = ["\n".join(lines[start:end]) for start, end in runs]
        yield replace(page, text=f"\n{GAP}\n".join(texts))
