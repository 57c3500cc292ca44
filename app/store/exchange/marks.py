"""The marks in ChatGPT's answers where its page shows a source: they become the source's text, or vanish.

A mark is private-use characters around words for the page: U+E200, a kind, U+E202 before each argument, U+E201. Older
answers have brackets with a dagger instead. `content_references` in the message's metadata say what a mark shows;
`citations`, by the place in the text, what an older one does.
"""

import json
import re
from typing import Any

_MARK = re.compile("( ?)(\ue200[^\ue200\ue201]*\ue201)")
_CUT_OFF = re.compile(" ?\ue200[^\\s\ue200-\ue206]*(?:\ue202[^\\s\ue200-\ue206]*)*")
_REST = re.compile("[\ue200-\ue206]")
_BRACKETS = re.compile("\u3010[^\u3010\u3011]*\u3011")


def without_marks(text: str, metadata: dict[str, Any]) -> str:
    """The text of a message with what its sources are called in the place of the marks."""
    text = _with_citations(text, metadata.get("citations"))
    references = metadata.get("content_references")
    shown: dict[str, str] = {}
    for reference in references if isinstance(references, list) else ():
        matched = reference.get("matched_text") if isinstance(reference, dict) else None
        if isinstance(matched, str):
            shown[matched] = _shown(reference)
    text = _BRACKETS.sub(lambda match: shown.get(match[0], match[0]), text)
    if not _REST.search(text):
        return text

    def replaced(match: re.Match[str]) -> str:
        words = shown.get(match[2]) or _entity(match[2])
        return f"{match[1]}{words}" if words else ""

    return _REST.sub("", _CUT_OFF.sub("", _MARK.sub(replaced, text)))


def _shown(reference: dict[str, Any]) -> str:
    """What the page shows for a reference, "" for nothing."""
    alt = reference.get("alt")
    if isinstance(alt, str):
        return _REST.sub("", alt)
    items = reference.get("items")
    sources = [reference, *(items if isinstance(items, list) else ())]
    return " ".join(filter(None, map(_link, sources)))


def _with_citations(text: str, citations: Any) -> str:
    spans: dict[int, tuple[int, str]] = {}
    for citation in citations if isinstance(citations, list) else ():
        if not isinstance(citation, dict):
            continue
        start, end = citation.get("start_ix"), citation.get("end_ix")
        if not (type(start) is int and type(end) is int and 0 <= start < end <= len(text)):
            continue
        link = _link(citation.get("metadata"))
        if link and (_BRACKETS.fullmatch(text, start, end) or _MARK.fullmatch(text, start, end)):
            spans[start] = end, link
    pieces, at = [], 0
    for start, (end, link) in sorted(spans.items()):
        pieces += [text[at:start].rstrip(" "), f" {link}"]
        at = end
    return "".join(pieces) + text[at:]


def _link(source: Any) -> str:
    if not isinstance(source, dict):
        return ""
    title, url = (value if isinstance(value := source.get(key), str) else "" for key in ("title", "url"))
    title = " ".join(title.split())
    if not url.startswith(("http://", "https://")) or re.search(r"[\s<>()]", url):
        return f"({title})" if title else ""
    return f"([{title or url}]({url}))"


def _entity(mark: str) -> str:
    """The name in a mark of a person, a place or the like."""
    kind, _, argument = mark[1:-1].partition("\ue202")
    try:
        values = json.loads(argument) if kind == "entity" else None
    except (ValueError, RecursionError):
        return ""
    name = values[1] if isinstance(values, list) and len(values) > 1 else None
    return _REST.sub("", name) if isinstance(name, str) else ""
