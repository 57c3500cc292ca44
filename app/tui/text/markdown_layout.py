"""Model-written Markdown as lines of text for a width, whole or as it grows. No widgets; the result is inert.

A document is laid out in pieces: its top-level blocks, and of a top-level list each item. While a text grows, only its
last piece can still change, so all pieces before it are laid out once, and of code most lines (growing_code).
(Reference links that are defined later are the exception; the whole document is laid out once more at the end.)

Code has a surface of its own (app.tui.text.code_lines), and colours come from the theme (app.tui.text.looks).
Formulas, which the model writes as LaTeX, are shown in Unicode or as they were written (app.tui.text.formula_rules),
citations as the numbers of their sources (app.tui.text.citation_tokens).
"""

import re
from collections.abc import Iterator, Sequence
from copy import copy
from io import StringIO
from typing import ClassVar, NamedTuple
from urllib.parse import quote

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich import box
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.markdown import (
    BlockQuote,
    CodeBlock,
    Heading,
    HorizontalRule,
    ImageItem,
    ListElement,
    MarkdownElement,
    TableElement,
)
from rich.markdown import Markdown as RichMarkdown
from rich.segment import Segment
from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text
from rich.theme import Theme
from textual.content import Content

from app.documents.citations import FileCitations
from app.tui.text import formula_rules
from app.tui.text.citation_tokens import cite, cite_files, styles_of
from app.tui.text.code_lines import code_lines
from app.tui.text.code_words import WordsOf, copy_alone
from app.tui.text.growing_code import GrowingCode
from app.tui.text.looks import SECONDARY, content_of, look
from mlx_model.text import clean
from mlx_model.tools.citations import Citations


class _Parser(MarkdownIt):
    """Without HTML: what looks like a tag, as the type in `Vec<u8>` in plain prose, is text."""

    def __init__(self) -> None:
        super().__init__("gfm-like", {"html": False})
        formula_rules.add_to(self)

    def normalizeLinkText(self, link: str) -> str:
        """A bare address stays as it was written, and can be copied."""
        return link


_PARSER = _Parser()
_CODE_TYPES = ("fence", "code_block")


def _language_of(token: Token) -> str:
    return (token.info.split() or [""])[0]


class GrowingLayout:
    """The lines of a document that grows at its end."""

    def __init__(
        self,
        width: int,
        citations: Citations | None = None,
        files: FileCitations | None = None,
        words: WordsOf | None = copy_alone,
    ) -> None:
        """`citations` have read the document, as far as it goes; `files` know what it may cite besides. `words` tells
        what can be clicked above a code block; None: there is no line above them."""
        self.width = width
        self._words = words
        self._citations = citations
        self._files = files
        self._console = Console(
            width=width, file=StringIO(), force_terminal=True, color_system="truecolor", theme=_STYLES
        )
        self._final: list[Content] = []
        self._final_list = ""  # the marker of the list that the final part ends in
        self._final_number = 0  # of the item it ends in
        self._final_chars = 0
        self._final_codes = 0
        self._code = GrowingCode("", 0, -1)
        """The last one that stands in nothing else."""

    def extend(self, source: str) -> list[Content]:
        """The lines of `source`, which begins with all that was given before."""
        lines = source[self._final_chars :].split("\n")
        pieces = list(_pieces(_PARSER.parse("\n".join(lines)), self._final_list, self._final_number))
        # A line shows what it is when it is complete: "-" may become an item, a rule, or go on with the text above.
        still_open = 1 if pieces and pieces[-1].first_line < len(lines) - 1 else 2
        final_pieces, open_pieces = pieces[:-still_open], pieces[-still_open:]
        for piece in final_pieces:
            self._final += self._next(piece, bool(self._final), self._final_list, self._final_codes)
            self._final_list, self._final_number = piece.list_marker, piece.number
            self._final_codes += piece.codes
        if final_pieces:
            self._final_chars = len(source) - len("\n".join(lines[open_pieces[0].first_line :]))
        lines_so_far, marker, codes = list(self._final), self._final_list, self._final_codes
        for piece in open_pieces:
            lines_so_far += self._next(piece, bool(lines_so_far), marker, codes)
            marker = piece.list_marker
            codes += piece.codes
        return lines_so_far

    def _next(self, piece: "_Piece", follows: bool, marker: str, codes: int) -> list[Content]:
        """The lines of a piece and the empty one that parts it from what it follows, in which are so many code
        blocks."""
        if piece.tokens[0].type in _CODE_TYPES:
            lines = self._code_of(piece.tokens[0], codes)
        else:
            markdown = copy(_EMPTY)
            markdown.codes, markdown.words = codes, self._words
            lines = _render(piece.tokens, markdown, self._console, self._citations, self._files)
        parted = lines and follows and not (piece.list_marker and piece.list_marker == marker)
        return [Content(), *lines] if parted else lines

    def _code_of(self, token: Token, number: int) -> list[Content]:
        """The lines of a code block that stands in nothing else."""
        language, code = _language_of(token), token.content
        if (language, number) != (self._code.language, self._code.number):
            self._code = GrowingCode(language, self.width, number)
        return self._code.extend(code, None if self._words is None else self._words(language, code))


class _Piece(NamedTuple):
    """Tokens of a block, or of one item wrapped in its list; `list_marker` is the item's, "" outside of lists."""

    tokens: Sequence[Token]
    first_line: int
    list_marker: str = ""
    number: int = 0

    @property
    def codes(self) -> int:
        """The number of code blocks in it."""
        return sum(token.type in _CODE_TYPES for token in self.tokens)


def _pieces(tokens: list[Token], marker: str, number: int) -> Iterator[_Piece]:
    """The pieces of what follows an item of such a marker and number: a list goes on counting, whatever is written."""
    start = depth = 0
    for index, token in enumerate(tokens):
        depth += token.nesting
        if depth == 0:
            block = tokens[start : index + 1]
            if block[0].type in ("bullet_list_open", "ordered_list_open"):
                goes_on = start == 0 and block[0].markup == marker
                yield from _items(block, number + 1 if goes_on else int(block[0].attrs.get("start", 1)))
            elif block[0].map is not None:
                yield _Piece(block, block[0].map[0])
            start = index + 1


def _items(block: list[Token], number: int) -> Iterator[_Piece]:
    opening, *inner, closing = block
    start = depth = 0
    for index, token in enumerate(inner):
        depth += token.nesting
        if depth == 0 and (place := inner[start].map) is not None:
            list_opening = opening.copy(attrs={**opening.attrs, "start": number})
            yield _Piece([list_opening, *inner[start : index + 1], closing], place[0], token.markup, number)
            start, number = index + 1, number + 1


def _render(
    tokens: Sequence[Token],
    markdown: "_Document",
    console: Console,
    citations: Citations | None,
    files: FileCitations | None,
) -> list[Content]:
    markdown.parsed = list(tokens)  # Rich's own parser takes HTML for markup
    for token in tokens:
        for child in token.children or ():
            child.content = clean(child.content)  # `&#x202e;` was inert until the parser made a character of it
        _mark_addresses(token.children or [])
        _keep_symbols(token.children or [])
        if citations is not None and token.children:
            token.children = list(cite(token.children, citations))
        if files is not None and token.children:
            token.children = list(cite_files(token.children, token.content, files))
    styles = styles_of(child for token in tokens for child in token.children or ())
    markdown.inlines = markdown.inlines | styles.keys()
    with console.use_theme(Theme({f"markdown.{tag}": style for tag, style in styles.items()}, inherit=False)):
        lines = [content_of(line) for line in console.render_lines(markdown, console.options, pad=False)]
    filled = [index for index, line in enumerate(lines) if line.plain]
    # The caller adds the empty lines around a piece.
    return lines[filled[0] : filled[-1] + 1] if filled else []


_HOST = re.compile(r"([a-z]+://|mailto:)?[\x21-\x7e]*?([/?#]|$)", re.IGNORECASE)
"""An address up to the end of its host, if that is ASCII."""


def _mark_addresses(tokens: list[Token]) -> None:
    """Let links whose text is their address be underlined text, since behind the text of a link stands its address."""
    for opening, text, closing in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if (opening.type, text.type, closing.type) == ("link_open", "text", "link_close"):
            address = quote(text.content, safe=";/?:@&=+$,-_.!~*'()#%")
            is_same = opening.attrs["href"] in (address, f"http://{address}", f"mailto:{address}")
            # Not so for a name of other characters than ASCII's: it may imitate one, or have some that can't be seen.
            if is_same and _HOST.match(text.content):
                opening.type, closing.type = "address_open", "address_close"
                opening.tag = closing.tag = "link"


def _keep_symbols(tokens: list[Token]) -> None:
    """Show the signs of an emphasis that is none to a reader: the stars of 2*3*4, the underscores of __init__."""
    opened: list[Token] = []
    for index, token in enumerate(tokens):
        if token.type in ("em_open", "strong_open"):
            opened.append(token)
        elif token.type in ("em_close", "strong_close"):
            opening = opened.pop()
            start = next(at for at, each in enumerate(tokens) if each is opening)
            inside = "".join(each.content for each in tokens[start + 1 : index])
            before, after = (_text(tokens, start - 1)[-1:], _text(tokens, index + 1)[:1])
            within_a_word = token.markup == "*" and before.isalnum() and after.isalnum()
            if within_a_word or (token.markup == "__" and inside.isidentifier()):
                for sign in (opening, token):
                    sign.type, sign.tag, sign.nesting, sign.content = "text", "", 0, token.markup


def _text(tokens: list[Token], index: int) -> str:
    return tokens[index].content if 0 <= index < len(tokens) else ""


class _Heading(Heading):
    LEVEL_ALIGN: ClassVar[dict[str, JustifyMethod]] = dict.fromkeys(Heading.LEVEL_ALIGN, "left")


class _Code(CodeBlock):
    """Code with its language and what can be clicked."""

    number = 0
    """Which of the document's code blocks it is."""
    words: WordsOf | None = None

    @classmethod
    def create(cls, markdown: RichMarkdown, token: Token) -> "_Code":
        assert isinstance(markdown, _Document)
        code = cls(_language_of(token), "")
        code.number, markdown.codes = markdown.codes, markdown.codes + 1
        code.words = markdown.words
        return code

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text)
        words = None if self.words is None else self.words(self.lexer_name, code)
        for line in code_lines(code, self.lexer_name, options.max_width, self.number, words):
            yield from (*line, Segment.line())


class _Quote(BlockQuote):
    """Behind a thin line, which is not that of the person's messages."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        margin = Segment("\u2502 ", self.style)
        room = options.update(width=max(1, options.max_width - 2))
        for line in console.render_lines(self.elements, room, style=self.style, pad=False):
            yield from (margin, *line, Segment.line())


class _Rule(HorizontalRule):
    """A thin line across."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment("\u2500" * options.max_width, console.get_style("markdown.hr"))
        yield Segment.line()


class _Table(TableElement):
    """With thin lines between columns and below the headings."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        (table,) = super().__rich_console__(console, options)
        assert isinstance(table, RichTable)
        table.box = box.MINIMAL
        table.show_edge = table.collapse_padding = False
        yield table


class _Image(ImageItem):
    """A line of what an image shows, and its address: it is not loaded."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        style = console.get_style("markdown.link_url")
        yield Text.assemble(("image: ", style), self.text, " " if self.text else "", (f"({self.destination})", style))


class _List(ListElement):
    """Numbers take the same room in every item, though each is laid out by itself."""

    delimiter = "."
    """What stands behind a number."""

    @classmethod
    def create(cls, markdown: RichMarkdown, token: Token) -> "_List":
        made = cls(token.type, int(token.attrs.get("start", 1)))
        made.delimiter = token.markup
        return made

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for number, item in enumerate(self.items, self.list_start or 0):
            if self.list_type == "bullet_list_open":
                yield from item.render_bullet(console, options)
                continue
            numeral = f"{number:>2}{self.delimiter} "
            margin = Segment(numeral, console.get_style("markdown.item.number"))
            room = options.update(width=options.max_width - len(numeral))
            for line in console.render_lines(item.elements, room, style=item.style):
                yield from (margin, *line, Segment.line())
                margin = Segment(" " * len(numeral))


class _Document(RichMarkdown):
    codes = 0
    """The code blocks before the next."""
    words: WordsOf | None = None
    """What can be clicked above them."""

    inlines = RichMarkdown.inlines | {"link"}
    """The tags within a line whose text has the style `markdown.` of that name."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **RichMarkdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
        "blockquote_open": _Quote,
        "table_open": _Table,
        "hr": _Rule,
        "image": _Image,
        "bullet_list_open": _List,
        "ordered_list_open": _List,
    }


_EMPTY = _Document("", hyperlinks=False)  # those would be OSC 8, which hides the address the model chose
"""Copied for each piece: Rich makes a parser for every document, which takes as long as laying a short one out."""

_STYLES = Theme(
    {
        "markdown.h1": look("bold underline $primary"),
        **{f"markdown.h{level}": look("bold $primary") for level in range(2, 7)},
        "markdown.code": look("$secondary"),
        "markdown.block_quote": look("$foreground 75%"),
        "markdown.item.bullet": look(SECONDARY),
        "markdown.item.number": look(SECONDARY),
        "markdown.link": Style(underline=True),
        "markdown.link_url": look(SECONDARY),
        "markdown.hr": look("$foreground 40%"),
        "markdown.table.header": Style(bold=True),
        "markdown.table.border": look("$foreground 40%"),
    }
)
