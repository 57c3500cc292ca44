"""What a server has sent, as a page: HTML, text, JSON or PDF, by what it says and by how it begins."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from metal.files import parse_json
from mlx_model.documents.document import DocumentError, Wanted
from mlx_model.documents.formats import Format
from mlx_model.documents.process import read_apart
from mlx_model.tools.browser.decoding import decode
from mlx_model.tools.browser.errors import BrowserError
from mlx_model.tools.browser.fetch import Response
from mlx_model.tools.browser.html import read_html
from mlx_model.tools.browser.page import Page, PageWriter, plain

_HTML = ("text/html", "application/xhtml+xml")
_HTML_BEGINS = (b"<!doctype html", b"<html", b"<head", b"<body")
_MOST_PDF_TEXT = 5_000_000
_BINARY_SAMPLE = 1024
CUT = "[Here the page is cut off: it is too large.]"


def read_page(response: Response) -> Page:
    """The page; may take seconds, so it belongs in a thread. Raises BrowserError for what has no text."""
    data, kind = response.data, response.content_type.partition(";")[0].strip().lower()
    if data.startswith(b"%PDF-"):
        page = _written(response, _pdf(response))
    elif kind in _HTML or (kind in ("", "text/plain") and _begins_as_html(data)):
        page = read_html(decode(data, response.content_type), response.url)
    elif _is_text(kind, data):
        page = _written(response, plain(_text(kind, decode(data, response.content_type))))
    else:
        raise BrowserError(f"it is {kind or 'a file'} of {len(data):,} bytes, and has no text")
    return replace(page, text=f"{page.text}\n\n{CUT}") if response.is_cut else page


def read_source(response: Response, url: str) -> Page:
    """The text that a server has sent as it is, as the page with this URL. Raises BrowserError for what is none."""
    if not _is_text(response.content_type.partition(";")[0], response.data):
        raise BrowserError("it is no text, and has no source")
    return PageWriter(url).page(_name(response.url), plain(decode(response.data, response.content_type)))


def _written(response: Response, body: str) -> Page:
    """A page without links."""
    return PageWriter(response.url).page(_name(response.url), body)


def _text(kind: str, text: str) -> str:
    """JSON with line breaks, which a page needs; of anything else, and of JSON that was cut off, the text itself."""
    if kind.endswith("json"):
        with suppress(ValueError):
            return json.dumps(parse_json(text.encode()), indent=1, ensure_ascii=False)
    return text


def _pdf(response: Response) -> str:
    if response.is_cut:
        raise BrowserError("it is a PDF file that is too large")
    try:
        pages = read_apart(response.data, Format.PDF, Wanted(_MOST_PDF_TEXT)).pages
    except DocumentError as error:  # after the semicolon it tells a person what to do
        raise BrowserError(f"the PDF file {str(error).partition(';')[0]}") from None
    return "\n\n".join(f"# Page {page.number}\n\n{plain(page.text)}" for page in pages)


def _begins_as_html(data: bytes) -> bool:
    return data[:_BINARY_SAMPLE].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_HTML_BEGINS)


def _is_text(kind: str, data: bytes) -> bool:
    if kind.startswith(("image/", "audio/", "video/", "font/")) and not kind.startswith("image/svg"):
        return False
    return b"\0" not in data[:_BINARY_SAMPLE] or data.startswith((b"\xff\xfe", b"\xfe\xff"))


def _name(url: str) -> str:
    """The last part of a URL's path: the title of what has no other."""
    return unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])
