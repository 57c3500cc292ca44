"""Model-written Markdown: live while it grows, frozen into one widget when it is history. Both are inert."""

from io import StringIO
from typing import ClassVar

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.markdown import CodeBlock, Heading, MarkdownElement
from rich.markdown import Markdown as RichMarkdown
from rich.style import Style
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Markdown


def _parser() -> MarkdownIt:
    # Without HTML: Textual drops what it takes for a tag, and `Vec<u8>` in plain prose would lose its end.
    return MarkdownIt("gfm-like", {"html": False})


class LiveMarkdown(Markdown):
    """A Markdown widget whose links do nothing by themselves: the app decides on LinkClicked."""

    def __init__(self) -> None:
        super().__init__(parser_factory=_parser, open_links=False)


class FrozenMarkdown(Widget):
    """The same text as a single widget, laid out for a width on demand; a long chat stays cheap that way.

    (Textual's Markdown holds a widget per paragraph, list item and table cell: sixty answers of it took
    92% of a core while streaming, sixty of these 16%.) Being plain Content, it can be selected with the
    mouse.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self._laid_out: tuple[int, bool, Content] = (0, True, Content())

    def render(self) -> Content:
        """The text laid out for the present width."""
        return self._at(self.content_size.width)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The number of lines at this width."""
        return self._at(width).plain.count("\n") + 1 if width else 0

    def _at(self, width: int) -> Content:
        dark = self.app.current_theme.dark
        if self._laid_out[:2] != (width, dark):
            self._laid_out = (width, dark, lay_out(self.source, width, dark=dark))
        return self._laid_out[2]


def lay_out(source: str, width: int, *, dark: bool = True) -> Content:
    """Markdown as lines of at most `width` cells."""
    console = Console(width=width, file=StringIO(), force_terminal=True, color_system="truecolor", theme=_STYLES)
    # Without hyperlinks: those would be OSC 8 sequences that hide the address the model chose.
    markdown = _Document(source, code_theme="nord" if dark else "friendly", hyperlinks=False)
    markdown.parsed = _parser().parse(source)  # by the rules of the live view; Rich's own parser drops HTML
    lines = console.render_lines(markdown, console.options.update(width=width), pad=False)
    text = Text("\n", no_wrap=True, end="").join(
        Text.assemble(*((segment.text, _on_any_background(segment.style)) for segment in line)) for line in lines
    )
    text.rstrip()
    return Content.from_rich_text(text)


def _on_any_background(style: Style | None) -> Style:
    """The style without its background, which is the widget's affair."""
    if style is None:
        return Style()
    names = ("bold", "dim", "italic", "underline", "strike")
    return Style(color=style.color, **{name: getattr(style, name) for name in names})


class _Heading(Heading):
    LEVEL_ALIGN: ClassVar[dict[str, JustifyMethod]] = dict.fromkeys(Heading.LEVEL_ALIGN, "left")


class _Code(CodeBlock):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        yield Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True)


class _Document(RichMarkdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **RichMarkdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
    }


_STYLES = Theme(
    {
        "markdown.h1": Style(bold=True, underline=True),
        **{f"markdown.h{level}": Style(bold=True) for level in range(2, 7)},
        "markdown.code": Style(bold=True),
        "markdown.block_quote": Style(dim=True),
        "markdown.item.bullet": Style(dim=True),
        "markdown.item.number": Style(dim=True),
        "markdown.link": Style(underline=True),
        "markdown.link_url": Style(dim=True),
        "markdown.table.header": Style(bold=True),
        "markdown.table.border": Style(dim=True),
    }
)
