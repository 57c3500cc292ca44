"""A page of HTML as the text that the model reads: what the page is about, with numbered links and readable tables.

trafilatura finds what the page is about; the links that it leaves out come last. Where it finds next to nothing, all
that the page shows is read. What it doesn't show is taken out before anything else: hidden text is how a page speaks to
a model alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from copy import deepcopy
from typing import Any
from urllib.parse import urljoin, urlsplit

from mlx_model.tools.browser.page import Page, PageWriter, one_line
from mlx_model.tools.browser.rendering import Renderer

LEAST_CHARACTERS = 200
"""What trafilatura has to find; less is probably not what the page is about."""
MOST_OTHER_LINKS = 200
MOST_ELEMENTS = 40_000
"""Of a page that trafilatura looks through; some three times as many as Wikipedia's longest articles have."""
DEEPEST = 250
"""Levels of elements; deeper ones are read as plain text."""

_NEVER_SHOWN = (
    *("script", "style", "template", "noscript", "svg", "canvas", "iframe", "object", "embed", "audio", "video", "map"),
    *("input", "textarea", "select", "button", "datalist", "dialog", "head", "meta", "link"),
)
_HIDDEN_STYLE = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|opacity:0*(?:\.0+)?(?:;|!|$)|font-size:0+(?:\.0+)?(?:[a-z%]*)(?:;|!|$)"
    r"|clip-path:inset\((?:50|100)%|(?:left|top|text-indent):-\d{4}"
)
_AROUND = ("nav", "aside", "footer")
_SIMPLE = re.compile(r"[\w+\-−]{1,40}")  # noqa: RUF001  # a minus in an exponent
_FORMULA = re.compile(r"\\(?:display|text)style\s*")


def read_html(text: str, url: str) -> Page:
    """The page of an HTML text that came from `url`. Never raises for what the text is."""
    from lxml import etree, html  # only now: they take a tenth of a second to load

    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    writer = PageWriter(url)
    try:
        root = html.document_fromstring(text.replace("\0", "").encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, AssertionError):  # nothing in it
        return writer.page("", "")
    title = root.findtext(".//title") or ""
    _resolve_links(root, url)
    body = _body(root)
    _write_out_pictures(root)
    _drop_hidden(root)
    is_ordinary = _is_ordinary(root)
    written = Renderer(writer, DEEPEST).text(_extracted(root)) if is_ordinary else ""
    if len(written) < LEAST_CHARACTERS:
        writer = PageWriter(url)
        written = Renderer(writer, DEEPEST, () if is_ordinary else _AROUND).text([body])
    return writer.page(title, written + _other_links(body, writer))


def _other_links(body: Any, writer: PageWriter) -> str:
    """The links that what is written has left out: menus, and paragraphs that are mostly links."""
    lines = list[str]()
    for anchor in body.iter("a"):
        url, words = anchor.get("href"), one_line(" ".join(anchor.itertext()))
        if url and words and not writer.has(url):
            lines.append(f"  * {writer.link(url, words)}")
            if len(lines) == MOST_OTHER_LINKS:
                break
    return "\n\n# Other links on this page\n\n" + "\n".join(lines) if lines else ""


def _body(root: Any) -> Any:
    """The body, with what libxml2 took for parts of the head: before HTML 5 there was no <main> to begin a body."""
    head, body = root.find("head"), root.find("body")
    if body is None:
        body = root.makeelement("body")
        root.append(body)
    if head is not None:
        for place, element in enumerate([element for element in head if element.tag != "title"]):
            body.insert(place, element)
    return body


def _resolve_links(root: Any, url: str) -> None:
    """Leaves only links to pages, with their whole URL."""
    base = url
    for element in root.iter("base"):
        with suppress(ValueError):
            base = urljoin(url, element.get("href", ""))
            break
    for anchor in root.iter("a"):
        href = (anchor.attrib.pop("href", None) or "").strip()
        if not href or href.startswith("#"):
            continue
        with suppress(ValueError):
            target = "".join(urljoin(base, href).split())
            parts = urlsplit(target)
            if parts.scheme in ("http", "https") and parts.hostname:
                anchor.set("href", target)


def _write_out_pictures(root: Any) -> None:
    """Pictures as the text that stands for them, formulas as TeX, and raised or lowered letters as in TeX."""
    pictures = 0
    for element in list(root.iter("img", "math", "sup", "sub")):
        match element.tag:
            case "img":
                name = one_line(element.get("alt") or element.get("title") or "")
                if "math" in element.get("class", ""):
                    _become_text(element, _formula(element.get("alt") or ""))
                else:
                    _become_text(element, f"[Image {pictures}: {name}]" if name else "")
                    pictures += 1
            case "math":
                if tex := element.get("alttext"):
                    _become_text(element, _formula(tex))
            case tag if not len(element) and _SIMPLE.fullmatch(element.text or ""):
                _become_text(element, f"{'^' if tag == 'sup' else '_'}{{{element.text}}}")


def _formula(tex: str) -> str:
    tex = _FORMULA.sub("", tex).strip()
    inner = tex[1:-1] if tex.startswith("{") and tex.endswith("}") else tex
    return f"${inner.strip()}$" if inner.strip() else ""


def _become_text(element: Any, text: str) -> None:
    """An element that is a text and no more; what hides it stays."""
    for child in list(element):
        element.remove(child)
    hiding = {name: value for name, value in element.attrib.items() if name in ("style", "hidden")}
    element.attrib.clear()
    element.attrib.update(hiding)
    element.tag, element.text = "span", text


def _drop_hidden(root: Any) -> None:
    for element in list(root.iter()):
        if isinstance(element.tag, str) and _is_hidden(element):
            element.clear(keep_tail=True)
            element.tag = "span"


def _is_hidden(element: Any) -> bool:
    if element.tag in _NEVER_SHOWN or element.get("hidden") is not None or element.get("aria-hidden") == "true":
        return True
    style = element.get("style")
    return bool(style) and bool(_HIDDEN_STYLE.search(re.sub(r"\s+", "", style.lower())))


def _extracted(root: Any) -> Iterable[Any]:
    """What the page is about, as trafilatura finds it; nothing where it finds nothing or fails."""
    from trafilatura import bare_extraction

    try:
        found = bare_extraction(
            deepcopy(root), include_links=True, include_formatting=True, include_tables=True, favor_recall=True
        )
    except Exception:  # on a hostile page it may fail in any way
        return []
    return [part for part in (found.body, found.commentsbody) if part is not None] if found else []


def _is_ordinary(root: Any) -> bool:
    """Whether there are neither too many elements nor too many levels of them for trafilatura, which goes down by
    recursion and takes some 0.1 ms for an element."""
    from lxml import etree

    depth = 0
    for number, (event, _) in enumerate(etree.iterwalk(root, events=("start", "end"))):
        depth += 1 if event == "start" else -1
        if depth > DEEPEST or number > 2 * MOST_ELEMENTS:
            return False
    return True
