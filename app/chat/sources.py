"""An answer with the sources that it cites, as Markdown to be kept elsewhere, and as plain lines."""

import re
from collections.abc import Iterable, Mapping

from mlx_model.tools.citations import Source, cited, plain_number
from mlx_model.tools.shown_pages import Page

HEADING = "Sources"
_SIGNS = re.compile(r"[\\`*_<>|~&$]")
"""What would be markup in a title, besides brackets: where those are escaped some programs see a formula."""
_ROUND = str.maketrans("[]", "()")


def with_sources(text: str, pages: Mapping[int, Page]) -> str:
    """A Markdown text with numbered links for its citations, and below it a list of its sources, if it has any."""
    linked, sources = cited(text, pages)
    if not sources:
        return linked
    entries = "\n".join(f"{source.number}. {_entry(source)}" for source in sources)
    return f"{linked.rstrip()}\n\n**{HEADING}**\n\n{entries}"


def with_numbers(text: str, pages: Mapping[int, Page]) -> str:
    """The text with the numbers of its sources alone, as the screen shows it."""
    return cited(text, pages, plain_number)[0]


def source_list(sources: Iterable[Source]) -> str:
    """The sources as plain lines below a heading."""
    return "\n".join([f"{HEADING}:", *(_line(source) for source in sources)])


def _entry(source: Source) -> str:
    title = _SIGNS.sub(r"\\\g<0>", source.title.translate(_ROUND)) or source.site
    parts = [f"[{title}]({source.url})" if source.url else title, source.site, source.where]
    return ", ".join(filter(None, dict.fromkeys(parts)))


def _line(source: Source) -> str:
    """`[1] Title, docs.python.org, L12-15: https://docs.python.org/3/`"""
    about = ", ".join(filter(None, dict.fromkeys([source.title, source.site, source.where])))
    return f"[{source.number}] {about}" + (f": {source.url}" if source.url else "")
