"""Documents and runs for the tests of sets."""

from typing import Any

from app.dataset.item import Item
from app.dataset.run import Recipe, Run
from app.dataset.sources import Source
from mlx_model.documents.document import Document, Page
from mlx_model.options import Options
from tests.fixtures.item_writer import facts

RECIPE = Recipe("qa", 40, None, 1, False, Options(max_tokens=500))


def source(name: str, *texts: str) -> Source:
    """A file with pages of these texts."""
    pages = tuple(Page(number, text, f"page {number}") for number, text in enumerate(texts, 1))
    return Source(name, name * 8, Document(pages, "page", len(pages)))


def page(first: int, last: int) -> str:
    """A page about machines of these numbers."""
    return "\n\nAbout machines.\n\n" + "\n".join(facts(first, last))


SOURCES = (source("a.pdf", page(0, 20), page(20, 40)), source("b.pdf", page(40, 60)))


def a_run(recipe: Recipe = RECIPE) -> Run:
    """A run over them."""
    return Run(recipe, SOURCES)


_PLACE = {"difficulty": "easy", "file": "a.pdf", "sha256": "a" * 64, "page": 2, "where": "page 2", "lines": (3, 3)}
_TEXT = {"span": (10, 30), "quote": "a pump of 41 kW", "context": "Hall 2 had a pump of 41 kW."}


def _item(kind: str, question: str, answer: str, *choices: str) -> Item:
    values: dict[str, Any] = {**_PLACE, **_TEXT}
    return Item(id=f"{kind} {answer}", kind=kind, question=question, answer=answer, choices=choices, **values)


ITEMS = {
    "qa": [_item("qa", "How strong was the pump?", "41 kW"), _item("qa", "What is in {{braces}}?", "42 kW")],
    "choice": [_item("choice", "How strong was the pump?", "41 kW", "1 kW", "41 kW", "2 kW", "3 kW")],
    "boolean": [_item("boolean", "Had hall 2 a pump?", "yes")],
}
"""Items of each kind."""
