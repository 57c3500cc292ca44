"""Where the code blocks of a laid-out text end, and the text in pieces that end there."""

from collections.abc import Sequence

from textual.content import Content
from textual.style import Style

from app.tui.text.looks import BLOCK_LINES


def block_ends(content: Content) -> list[int]:
    """The end of the last line of each code block, as a place in the text, in their order."""
    places: dict[int, int] = {}
    for span in content.spans:
        mark = span.style.meta.get(BLOCK_LINES) if isinstance(span.style, Style) else None
        if mark is not None and mark[0] not in places:
            end = content.plain.find("\n", span.start)
            for _ in range(mark[1]):
                if end < 0:
                    break
                end = content.plain.find("\n", end + 1)
            places[mark[0]] = end if end >= 0 else len(content.plain)
    return [places[number] for number in sorted(places)]


def pieces(content: Content, ends: Sequence[int]) -> list[Content]:
    """The text up to the first of these ends of lines, from there to the second, and so on; what is empty has no
    line."""
    cuts = [at for end in ends for at in (end, end + 1)]
    parts = content.divide([min(cut, len(content.plain)) for cut in cuts])
    return parts[::2]  # without the line breaks between them
