"""The pages of a file as they stand in a prompt: each begins with its label in a line of its own."""

import re
from collections.abc import Sequence
from functools import lru_cache

from app.documents.attachments import QUOTE, Attachment
from app.lines import one_line
from mlx_model.documents.document import Page, headings_in

_LABEL = re.compile(
    r"^\[((?:page|slide|chapter|cell) (\d{1,7})(?:, [^\[\]\n]{1,80})?"
    r"|sheet \"[^\n]{0,200}|lines? (\d{1,7})(?: to \d{1,7})?)\]$",
    re.MULTILINE,
)


@lru_cache(maxsize=16)
def pages_in(attachment: Attachment) -> tuple[Page, ...]:
    """The pages; of a text without labels one page without a label. The number of lines is that of their first."""
    text = attachment.text
    labels = [
        match for match in _LABEL.finditer(text) if match.start() == 0 or text.startswith("\n\n", match.start() - 2)
    ]
    if not labels or labels[0].start():
        return (Page(1, text),)
    ends = [*(match.start() - 2 for match in labels[1:]), len(text)]
    return tuple(
        Page(int(match[2] or match[3] or number), text[match.end() + 1 : end], match[1])
        for number, (match, end) in enumerate(zip(labels, ends, strict=True), 1)
    )


def citation_in(pages: Sequence[Page]) -> str:
    """A place in these pages as an answer is to name it, in brackets; "" where the text says nothing of places."""
    first = pages[0]
    if match := re.match(r"(page|slide|chapter|cell|line)s? (\d+)", first.label):
        return f"[p. {match[2]}]" if match[1] == "page" else f"[{match[1]} {match[2]}]"
    if match := re.match(r'sheet "(.+)" ([A-Z]+\d+):', first.label):
        return one_line(f"[{match[1]}!{match[2]}]").replace(QUOTE, "'")
    headings = headings_in(pages)
    title = one_line(headings[0].title).replace(QUOTE, "'") if headings else ""
    return f"[section {title}]" if title and not set(title) & set("[]") else ""
