"""A document of the web that the person names: by its URL, or a paper of arXiv by its number."""

import re
from collections.abc import Mapping
from typing import Any

from app.documents.files import MOST_FILE_BYTES
from app.lines import one_line
from mlx_model.errors import RequestError

_ARXIV = re.compile(
    r"(?:arxiv:|https?://(?:www\.)?arxiv\.org/(?:abs|pdf|html)/)\s*"
    r"(?P<id>\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?P<version>v\d{1,3})?(?:\.pdf)?/?",
    re.IGNORECASE,
)
_URL = re.compile(r"https?://\S+", re.IGNORECASE)


def address_of(name: str) -> tuple[str, str] | None:
    """The URL that a person means, and what the document is called; None for the name of a file."""
    if match := _ARXIV.fullmatch(name.strip()):
        paper = match["id"] + (match["version"] or "").lower()
        return f"https://arxiv.org/pdf/{paper}", f"arxiv:{paper}"
    return (name.strip(), name.strip()) if _URL.fullmatch(name.strip()) else None


async def fetch(url: str, settings: Mapping[str, Any]) -> bytes:
    """What is there, fetched as the browser tool does it, with the same table of the `settings`: from public hosts
    alone, bounded. Raises RequestError."""
    from mlx_model.tools.browser.errors import BrowserError
    from mlx_model.tools.browser.fetch import Fetcher

    fetcher = Fetcher(allow_hosts=settings.get("allow_hosts", ()), most_bytes=MOST_FILE_BYTES, most_seconds=60.0)
    try:
        response = await fetcher.fetch(url)
    except BrowserError as error:
        raise RequestError(f"{one_line(url)} can't be opened: {one_line(str(error))}") from None
    if response.is_cut:
        raise RequestError(f"{one_line(url)} has more than {MOST_FILE_BYTES / 1e6:,.0f} MB")
    return response.data
