"""A web page of the model's in a file: nothing in it gets out of its frame, and nobody else can read it.

tests/e2e/test_pages.py opens such files in a browser, and tries to get out of them.
"""

import os
from html.parser import HTMLParser
from pathlib import Path

import pytest

from app.tools import web_pages
from app.tools.web_pages import KEPT, POLICY, framed, write_page
from mlx_model.errors import RequestError
from tests.fixtures import ROOT

HOSTILE = "<title>\"></iframe><script>alert(1)</script> & </title></iframe><script src='https://x.example'></script>"


class Tags(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("page", [HOSTILE, "<p>one</p>", "{braces} {0} \u2028"])
def test_a_page_stands_in_a_frame_that_it_does_not_leave(page: str) -> None:
    whole = framed(page)
    tags = Tags(whole).found
    assert " ".join(tag for tag, _ in tags) == "html head meta meta meta meta title style body iframe script"
    frame = next(attributes for tag, attributes in tags if tag == "iframe")
    assert frame == {"sandbox": "allow-scripts", "referrerpolicy": "no-referrer", "srcdoc": page}
    policies = [attributes["content"] for tag, attributes in tags if tag == "meta" and "http-equiv" in attributes]
    assert policies[0] == POLICY and whole.index(POLICY) < whole.index("<iframe")


def test_the_policy_names_no_source_on_a_network() -> None:
    rules = dict(rule.strip().split(" ", 1) for rule in POLICY.split(";"))
    assert rules["default-src"] == "'none'"
    assert {word for rule in rules.values() for word in rule.split()} <= {
        *("'none'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:", "'block'")
    }


def test_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pages"
    old = os.umask(0o022)
    try:
        paths = [write_page(f"<p>{number}</p>", folder) for number in range(KEPT + 3)]
    finally:
        os.umask(old)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    assert len(list(folder.iterdir())) == KEPT and paths[-1].exists()
    assert write_page(f"<p>{KEPT + 2}</p>", folder) == paths[-1]
    monkeypatch.setattr(web_pages, "MOST_CHARACTERS", 3)
    with pytest.raises(RequestError, match="more than 3"):
        write_page("<p>x", folder)


def test_our_own_examples_need_nothing() -> None:
    examples = sorted((ROOT / "assets" / "pages").glob("*.html"))
    assert len(examples) == 2
    for path in examples:
        text = path.read_text("utf-8")
        assert "http" not in text and "src=" not in text and framed(text).count("<title>") == 1
