"""The texts of pages, kept in a folder: one small file a page, the oldest go when there are too many."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from pathlib import Path

from metal.files import parse_json, read_small, replace_file
from mlx_model.tools.browser.page import Page

MOST_BYTES = 20_000_000
"""Of all pages of a conversation."""
_MOST_FILE = 16 << 20
# Pages in memory, where there is a folder: those that a person scrolls and searches in.
_IN_MEMORY = 8


class KeptPages:
    """Pages by key. Without a folder they are kept in memory alone; what a folder can't hold is not kept, and can be
    had again. May be used from several threads, one at a time."""

    def __init__(self, folder: Path | None = None, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._recent: OrderedDict[str, Page] = OrderedDict()

    def get(self, key: str) -> Page | None:
        """The page with this key, None if it is not kept."""
        page = self._recent.pop(key, None) or self._read(key)
        if page is not None:
            self._remember(key, page)
        return page

    def put(self, key: str, page: Page) -> None:
        """Keeps a page in place of the one with the same key."""
        self._remember(key, page)
        if self._folder is not None:
            fields = {"url": page.url, "title": page.title, "links": page.links, "text": page.text}
            try:
                replace_file(self._path(self._folder, key), json.dumps(fields).encode())
                self._make_room(self._folder)
            except OSError:  # a full disk; the page stays in memory for now
                pass

    def _remember(self, key: str, page: Page) -> None:
        self._recent.pop(key, None)
        self._recent[key] = page
        size = sum(len(each.text) for each in self._recent.values())
        while len(self._recent) > 1 and (
            size > self._most_bytes or (self._folder is not None and len(self._recent) > _IN_MEMORY)
        ):
            _, oldest = self._recent.popitem(last=False)
            size -= len(oldest.text)

    def _read(self, key: str) -> Page | None:
        if self._folder is None:
            return None
        try:
            fields = parse_json(read_small(self._path(self._folder, key), _MOST_FILE))
            page = Page(fields["url"], fields["title"], fields["text"], tuple(fields["links"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        texts = (page.url, page.title, page.text, *page.links)
        return page if all(isinstance(text, str) for text in texts) else None

    def _make_room(self, folder: Path) -> None:
        files = sorted(((path.stat(), path) for path in folder.glob("*.json")), key=lambda each: each[0].st_mtime_ns)
        size = sum(status.st_size for status, _ in files)
        for status, path in files[:-1]:
            if size <= self._most_bytes:
                return
            path.unlink(missing_ok=True)
            size -= status.st_size

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        return folder / f"{key}.json"


def key_of(text: str) -> str:
    """The key for what a text identifies: a page's URL, or the first display of the results of a search."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
