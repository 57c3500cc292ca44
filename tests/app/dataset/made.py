"""Documents and runs for the tests of sets."""

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
    return "About machines.\n\n" + "\n".join(facts(first, last))


SOURCES = (source("a.pdf", page(0, 20), page(20, 40)), source("b.pdf", page(40, 60)))


def a_run(recipe: Recipe = RECIPE) -> Run:
    """A run over them."""
    return Run(recipe, SOURCES)
