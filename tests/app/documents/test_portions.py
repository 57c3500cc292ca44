"""The parts in which a long text is read: within their bound, cut at pages and headings, nothing lost."""

import re
from collections.abc import Sequence

import pytest

from app.documents.portions import Portion, portions
from mlx_model.documents.document import Page, joined

LINE = "Some words of a page that stand in a line of it."


async def characters(texts: Sequence[str]) -> list[int]:
    return [len(text) for text in texts]


def pages(*sizes: int) -> str:
    return joined(Page(n, "\n".join([f"{n}: {LINE}"] * lines), f"page {n}") for n, lines in enumerate(sizes, 1))


def words(parts: Sequence[Portion]) -> list[str]:
    return [word for part in parts for word in re.sub(r"^\[[^\n]*\]$", "", part.text, flags=re.M).split()]


async def test_pages_stay_whole_and_every_part_keeps_to_its_bound() -> None:
    text = pages(5, 5, 5, 5, 5, 5, 5)
    parts = await portions(text, characters, 900)
    assert [(part.first, part.last) for part in parts] == [("p. 1", "p. 3"), ("p. 4", "p. 6"), ("p. 7", "p. 7")]
    assert all(part.tokens == len(part.text) <= 900 for part in parts)
    assert "\n\n".join(part.text for part in parts) == text
    assert await portions(text, characters, 900) == parts
    exact = len(pages(5, 5, 5))
    assert (await portions(text, characters, exact))[0].last in ("p. 2", "p. 3")


async def test_a_page_that_is_too_large_is_cut_within() -> None:
    text = pages(2, 60, 2)
    parts = await portions(text, characters, 900)
    assert max(part.tokens for part in parts) <= 900 and len(parts) < 8
    assert words(parts) == words([Portion(text, 0, "", "")])
    assert all(re.match(r"\[page \d\]\n", part.text) for part in parts)  # each says which page it is
    assert [part.first for part in parts if part.first == part.last][:2] == ["p. 2", "p. 2"]
    one_line = joined([Page(1, "word " * 2000, "page 1")])
    parts = await portions(one_line, characters, 300)
    assert max(part.tokens for part in parts) <= 300 and words(parts) == ["word"] * 2000
    endless = joined([Page(1, "x" * 5000, "page 1")])
    assert sum(part.text.count("x") for part in await portions(endless, characters, 300)) == 5000


async def test_a_part_ends_before_a_heading_near_its_end() -> None:
    text = joined(Page(n, f"# Chapter\n{LINE}" if n == 9 else LINE, f"page {n}") for n in range(1, 13))
    parts = await portions(text, characters, 10 * len(f"[page 1]\n{LINE}\n\n"))
    assert [part.last for part in parts] == ["p. 8", "p. 12"]


async def test_lines_have_their_numbers() -> None:
    lines = [f"## Section {n}" if n % 20 == 0 else f"{n}. {LINE}" for n in range(1, 201)]
    parts = await portions("\n".join(lines), characters, 3000)
    assert max(part.tokens for part in parts) <= 3000
    at = 1
    for part in parts:
        head, _, text = part.text.partition("\n")
        first, last = (int(number) for number in re.findall(r"\d+", head))
        assert first == at and text == "\n".join(lines[first - 1 : last])
        at = last + 1
    assert at == 201
    assert sum(lines[int(re.findall(r"\d+", part.first)[0]) - 1].startswith("##") for part in parts) >= len(parts) // 2


async def test_pages_without_text_are_no_parts() -> None:
    assert await portions("", characters, 100) == []
    blank = joined([Page(1, "", "page 1"), Page(2, LINE, "page 2"), Page(3, " \n", "page 3")])
    assert [(part.first, part.last) for part in await portions(blank, characters, 100)] == [("p. 2", "p. 2")]


@pytest.mark.parametrize("most", [64, 100, 257, 1000])
async def test_whatever_the_bound(most: int) -> None:
    text = pages(1, 3, 40, 2, 2, 9)
    parts = await portions(text, characters, most)
    assert all(part.tokens == len(part.text) <= most for part in parts)
    assert "".join(words(parts)) == "".join(words([Portion(text, 0, "", "")]))
