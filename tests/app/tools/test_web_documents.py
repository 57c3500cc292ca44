"""Documents of the web that a person names."""

import pytest

from app.tools.web_documents import address_of, fetch
from mlx_model.errors import RequestError
from mlx_model.tools.browser import Fetcher
from mlx_model.tools.browser.errors import BrowserError
from mlx_model.tools.browser.fetch import MayOpen, Response


@pytest.mark.parametrize(
    ("name", "url", "title"),
    [
        ("arxiv:2508.10925", "https://arxiv.org/pdf/2508.10925", "arxiv:2508.10925"),
        ("arXiv: 2508.10925V2", "https://arxiv.org/pdf/2508.10925v2", "arxiv:2508.10925v2"),
        ("https://arxiv.org/abs/2508.10925", "https://arxiv.org/pdf/2508.10925", "arxiv:2508.10925"),
        ("http://www.arxiv.org/pdf/2508.10925v1.pdf", "https://arxiv.org/pdf/2508.10925v1", "arxiv:2508.10925v1"),
        ("arxiv:hep-th/9901001", "https://arxiv.org/pdf/hep-th/9901001", "arxiv:hep-th/9901001"),
        ("https://x.org/a.pdf?b=1#c", "https://x.org/a.pdf?b=1#c", "https://x.org/a.pdf?b=1#c"),
    ],
)
def test_an_address(name: str, url: str, title: str) -> None:
    assert address_of(name) == (url, title)


@pytest.mark.parametrize(
    "name", ["paper.pdf", "2508.10925", "arxiv:x", "ftp://x.org/a", "see https://x.org", "arxiv.pdf"]
)
def test_the_name_of_a_file(name: str) -> None:
    assert address_of(name) is None


async def test_what_is_fetched_and_what_is_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Response | BrowserError] = [
        Response("https://x.org/", "application/pdf", b"%PDF"),
        Response("https://x.org/", "application/pdf", b"%PDF", is_cut=True),
        BrowserError("404 Not Found"),
    ]

    async def answer(fetcher: Fetcher, url: str, may_open: MayOpen | None = None) -> Response:
        found = answers.pop(0)
        if isinstance(found, BrowserError):
            raise found
        return found

    monkeypatch.setattr(Fetcher, "fetch", answer)
    assert await fetch("https://x.org/", {}) == b"%PDF"
    for said in ("has more than 50 MB", "can't be opened: 404 Not Found"):
        with pytest.raises(RequestError, match=said):
            await fetch("https://x.org/", {"allow_hosts": ("wiki.local",)})
