"""A code block while it grows: only its last lines are highlighted and laid out again."""

from collections.abc import Sequence

from textual.content import Content

from app.tui.text.code_lines import header, on_surface, written_out
from app.tui.text.code_words import Word
from app.tui.text.highlighting import Fragment, highlighted
from app.tui.text.looks import content_of

SURE = 16
"""Lines that look the same without what stands before them: so many are taken to need nothing of it."""


class GrowingCode:
    """The lines of one code block of a document.

    Pygments tells no state in which it could go on. So it begins anew in the middle of what it has to highlight, where
    the lines behind that place then look as before: not within a long string. Where it is wrong (behind a comment of
    many lines that is not closed yet, for one), the colours are until the whole document is laid out at its end.
    """

    def __init__(self, language: str, width: int, number: int) -> None:
        """`number` is that of the block in the document."""
        self.language = language
        self.number = number
        self._width = width
        self._settled = ""
        self._settled_lines: list[Content] = []
        self._open = ""
        self._open_lines: list[list[Fragment]] = []
        self._open_shown: list[list[Content]] = []
        self._enough = 2 * SURE
        """So many open lines are worth looking for a place to begin anew."""

    def extend(self, code: str, words: Sequence[Word] | None) -> list[Content]:
        """The lines of `code`, below a line with the `words` that can be clicked, if not None. It begins as before,
        but for its last line."""
        code = written_out(code)
        self._settle()
        if not code.startswith(self._settled):
            self._settled, self._settled_lines = "", []
        self._open = code[len(self._settled) :]
        self._open_lines = list(highlighted(self._open, self.language))
        self._open_shown = [[content_of(part) for part in on_surface(line, self._width)] for line in self._open_lines]
        lines = [*self._settled_lines, *(part for line in self._open_shown for part in line)]
        if words is not None:
            above = content_of(header(self.language, self._width, self.number, words, len(lines)))
            return [above, *lines]
        return lines

    def _settle(self) -> None:
        """Lay out no longer what stands before the place where highlighting can begin anew, if there is one."""
        count = len(self._open_lines)
        written = self._open.split("\n")
        if count < self._enough or count != len(written):
            return
        self._enough = count + SURE
        cut = next((at for at in range(count // 2, count - SURE) if written[at][:1].strip()), count // 2)
        rest = "\n".join(written[cut:])
        if list(highlighted(rest, self.language)) == self._open_lines[cut:]:
            self._settled += self._open[: len(self._open) - len(rest)]
            self._settled_lines += [part for line in self._open_shown[:cut] for part in line]
            self._enough = 2 * SURE
