"""Writes browser_displays.json: what OpenAI's own browser tool answers to some calls, on pages of ours.

    PYTHONPATH=. python -m tests.oracle.write_displays FOLDER_OF_OPENAI_GPT_OSS

Needs a clone of github.com/openai/gpt-oss and what its tool imports: aiohttp, chz, html2text, lxml, pydantic,
structlog, tenacity, tiktoken. Only the texts are committed, none of its code. The pages are given to it as text, since
its reader of HTML is not ours; the results of the search are given to it as HTML, as its own backends do.
"""

import asyncio
import hashlib
import json
import random
import sys
import tempfile
from importlib import import_module
from os import environ
from pathlib import Path
from typing import Any

from tests.fixtures.vocabulary import tiktoken_folder

DISPLAYS = Path(__file__).parent.parent / "fixtures" / "data" / "browser_displays.json"
SITE = "https://metal.example"
WORDS = [
    "kernel",
    "thread",
    "memory",
    "buffer",
    "shader",
    "cache",
    "matrix",
    "vector",
    "token",
    "expert",
    "router",
    "attention",
    "window",
    "sink",
    "decode",
]
RESULTS = [
    {"title": "Metal guide", "url": f"{SITE}/guide", "snippet": "How kernels are written, in some length."},
    {"title": "漢字の頁", "url": "https://ja.example/kanji", "snippet": "Wide letters."},
    {"title": "No such page", "url": f"{SITE}/gone", "snippet": ""},
]
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("open", {"id": 0}),  # nothing is open
    ("search", {"query": "metal kernels"}),
    ("open", {"id": 0}),
    ("open", {"loc": 60}),
    ("open", {"cursor": 1, "loc": 200, "num_lines": 10}),
    ("find", {"pattern": "Sliding", "cursor": 1}),
    ("open", {"id": 1}),
    ("open", {"id": 0, "cursor": 4}),
    ("find", {"pattern": "zebra", "cursor": 1}),
    ("open", {"cursor": 0, "id": 1}),
    ("open", {"loc": 3}),
    ("find", {"pattern": "索引"}),
    ("open", {"id": 2, "cursor": 0}),  # 404
    ("open", {"id": "https://metal.example/b"}),
    ("open", {"id": 99}),
    ("open", {"id": 0, "cursor": 44}),
    ("find", {"pattern": "x", "cursor": []}),
    ("open", {"loc": 4000}),
    ("open", {"id": "https://metal.example/b", "view_source": True}),
    ("find", {"pattern": "guide", "cursor": 4}),
    # On, to as many displays as OpenAI's demonstration of browsing has: 27 in a row.
    ("search", {"query": "sliding window", "topn": 5, "source": "web"}),
    ("open", {"id": 0, "cursor": 13, "loc": 120}),
    ("open", {"id": 1}),
    ("find", {"pattern": "matrix matrix", "cursor": 14}),
    ("open", {"id": 2}),
    ("open", {"cursor": 14, "num_lines": 1}),
    ("open", {"cursor": 14, "loc": 389, "num_lines": 50}),
    ("open", {"cursor": 13}),  # not cursor 0: it takes the results of all searches for one page, the newest
    ("open", {"id": 0, "loc": 0}),
    ("find", {"pattern": "page"}),
    ("open", {"id": 3, "loc": 10}),
    ("open", {"cursor": 8, "loc": 15}),
    ("open", {"cursor": 16}),
    ("open", {"id": "https://ja.example/kanji", "loc": 2, "num_lines": 2}),
    ("open", {"loc": 1}),
]


def pages() -> dict[str, dict[str, Any]]:
    """Pages as our reader could have made them: their text, and their links in order."""
    dice = random.Random(1)
    guide, links = [f"\nURL: {SITE}/guide", "# Metal guide", ""], [f"{SITE}/b", "https://arxiv.example/abs/1"]
    for number in range(90):
        words = " ".join(dice.choice(WORDS) for _ in range(dice.randrange(15, 45)))
        if number % 3 == 0:
            link = "the paper with a long title of its own†arxiv.example" if number % 2 else "page b"
            words += f" 【{number % 2}†{link}】 and more"
        if number % 17 == 5:
            words = f"Sliding windows: {words}"
        guide += [f"{words.capitalize()}.", ""] if number % 10 else ["## Part", "", "| a | b |", "  * item", ""]
    kanji = "索引は頁の終わりにある。" * 30 + "\n\n" + "行列の計算は速い。 " * 60
    return {
        f"{SITE}/guide": {"title": "Metal guide", "text": "\n".join(guide), "links": links},
        f"{SITE}/b": {"title": "Page b", "text": f"\nURL: {SITE}/b\nShort.", "links": []},
        f"view-source:{SITE}/b": {"title": "b", "text": f"\nURL: view-source:{SITE}/b\n<p>Short.</p>", "links": []},
        "https://ja.example/kanji": {"title": "漢字", "text": f"\nURL: https://ja.example/kanji\n{kanji}", "links": []},
    }


def main(reference: Path) -> None:
    """Run the calls, and write what came of them."""
    sys.path.insert(0, str(reference))
    with tempfile.TemporaryDirectory() as folder:
        # Where tiktoken looks for the vocabulary before it loads it from the network.
        url = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
        name = hashlib.sha1(url.encode()).hexdigest()
        (Path(folder) / name).write_bytes((tiktoken_folder() / "o200k_base.tiktoken").read_bytes())
        environ["TIKTOKEN_CACHE_DIR"] = folder
        displays = asyncio.run(_displays())
    content = {"pages": pages(), "results": RESULTS, "calls": displays}
    DISPLAYS.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")


async def _displays() -> list[dict[str, Any]]:
    harmony = import_module("openai_harmony")
    contents = import_module("gpt_oss.tools.simple_browser.page_contents")
    browser = import_module("gpt_oss.tools.simple_browser.simple_browser_tool").SimpleBrowserTool(_Site(contents))
    displays = []
    for function, arguments in CALLS:
        message = harmony.Message.from_role_and_content(harmony.Role.ASSISTANT, json.dumps(arguments))
        message = message.with_recipient(f"browser.{function}").with_channel("analysis")
        texts = [answer.content[0].text async for answer in browser.process(message)]
        displays.append({"function": function, "arguments": arguments, "display": "".join(texts)})
    return displays


class _Site:
    """What gpt_oss calls a backend."""

    source = "web"

    def __init__(self, contents: Any) -> None:
        self._contents = contents

    async def search(self, query: str, topn: int, session: Any) -> Any:
        items = "".join(f"<li><a href='{each['url']}'>{each['title']}</a> {each['snippet']}</li>" for each in RESULTS)
        html = f"\n<html><body>\n<h1>Search Results</h1>\n<ul>\n{items}\n</ul>\n</body></html>\n"
        return self._contents.process_html(html=html, url="", title=query, display_urls=True, session=session)

    async def fetch(self, url: str, session: Any) -> Any:
        page = pages().get(url)
        if page is None:
            raise ValueError("404 Not Found")
        links = {str(number): link for number, link in enumerate(page["links"])}
        return self._contents.PageContents(url=url, title=page["title"], text=page["text"], urls=links)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
