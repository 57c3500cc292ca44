"""Displays beside those of OpenAI's own browser tool, which tests/oracle/write_displays.py has written.

Where ours differ on purpose: a phrase is found over line breaks, too; each search has its own results; a URL has no
spaces; more lines than a view has are not shown, however many the model asks for.
"""

import json
from pathlib import Path

import pytest

from mlx_model.harmony.message import Message, Role
from mlx_model.tokens import about_tokens
from mlx_model.tools.browser import Browser, Fetcher, Result, session
from mlx_model.tools.browser.errors import BrowserError
from mlx_model.tools.browser.fetch import MayOpen, Response
from mlx_model.tools.browser.page import Page
from tests.fixtures import ROOT
from tests.fixtures.vocabulary import o200k
from tests.mlx_model.tools.browser.conftest import Results, use

DATA = json.loads((ROOT / "tests/fixtures/data/browser_displays.json").read_text("utf-8"))


class Recorded(Fetcher):
    """The pages that the reference had."""

    async def fetch(self, url: str, may_open: MayOpen | None = None) -> Response:
        if url not in DATA["pages"]:
            raise BrowserError("404 Not Found")
        return Response(url, "", b"")


def read(response: Response, source_url: str = "") -> Page:
    """In place of both readers."""
    url = source_url or response.url
    fields = DATA["pages"][url]
    return Page(url, fields["title"], fields["text"], tuple(fields["links"]))


async def test_displays_are_those_of_the_reference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(session, "read_page", read)
    monkeypatch.setattr(session, "read_source", read)
    tokenizer, results = o200k(), Results(*(Result(**each) for each in DATA["results"]))

    def count(text: str) -> int:
        return len(tokenizer.encode(text))

    browser = Browser(results, fetcher=Recorded(), count=count)
    estimating = Browser(results, fetcher=Recorded())
    messages: list[Message] = []
    for call in DATA["calls"]:
        # Its one difference: a URL has no spaces here, so that a display can be read again.
        expected = call["display"].replace("pattern=matrix matrix", "pattern=matrix%20matrix")
        result = await use(browser, call["function"], **call["arguments"])
        assert result.text == expected, call["arguments"]
        assert result.error is not expected.startswith("[")
        # Another one, which knows no more than what the conversation and the folder have, as after a kill.
        again = Browser(results, pages=tmp_path, fetcher=Recorded(), count=count)
        again.restore(messages)
        assert (await use(again, call["function"], **call["arguments"])).text == expected, call["arguments"]
        messages.append(Message(Role.TOOL, expected, f"browser.{call['function']}", "analysis", "assistant"))
        # Whole lines, so that the estimate need not be exact; what it allows is about as much.
        estimated = (await use(estimating, call["function"], **call["arguments"])).text
        assert 0.8 < count(estimated) / count(result.text) < 1.25
    assert sum(message.text.startswith("[") for message in messages) == 27


def test_the_count_of_a_line_needs_no_other_line() -> None:
    text = "".join(call["display"] for call in DATA["calls"])
    lines = [f"L{number}: {line}\n" for number, line in enumerate(text.split("\n"))]
    tokenizer = o200k()
    assert sum(len(tokenizer.encode(line)) for line in lines) == len(tokenizer.encode("".join(lines)))
    assert about_tokens("L0: \n") == 4
