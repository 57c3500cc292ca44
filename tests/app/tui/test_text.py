"""The parts of the chat that are plain Python: coalescing, commands, Markdown."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from markdown_it.token import Token
from textual.content import Content

from app.chat.code_blocks import code_blocks
from app.chat.commands import COMMANDS, find
from app.tui.text import markdown_layout
from app.tui.text.coalesce import Coalescer
from app.tui.text.code_words import help_of, words_of
from app.tui.text.markdown_layout import GrowingLayout
from app.tui.widgets.markdown import MarkdownText
from tests.fixtures.laid_out import joined, lay_out


class Counter:
    """Counts flushes and what was there to flush."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.pending = 0
        self.flushed: list[int] = []
        self._seconds = seconds

    async def flush(self) -> None:
        took, self.pending = self.pending, 0
        await asyncio.sleep(self._seconds)
        self.flushed.append(took)


async def test_pokes_are_joined_the_first_is_immediate_and_the_last_is_never_lost() -> None:
    counter = Counter()
    coalescer = Coalescer(counter.flush, interval_s=30.0)
    for _ in range(100):
        counter.pending += 1
        coalescer.poke()
        await asyncio.sleep(0)
    assert sum(counter.flushed) < 100 and len(counter.flushed) == 1
    await coalescer.close()
    assert sum(counter.flushed) == 100 and len(counter.flushed) == 2


async def test_nothing_is_flushed_without_a_poke() -> None:
    counter = Counter()
    coalescer = Coalescer(counter.flush, interval_s=0.0)
    await asyncio.sleep(0.02)
    await coalescer.close()
    assert counter.flushed == []


async def test_closing_waits_for_a_flush_under_way() -> None:
    counter = Counter(seconds=0.05)
    coalescer = Coalescer(counter.flush, interval_s=0.0)
    counter.pending = 7
    coalescer.poke()
    await asyncio.sleep(0.01)
    await coalescer.close()
    assert counter.flushed == [7]


async def test_an_error_in_a_flush_reaches_whoever_closes() -> None:
    async def broken() -> None:
        raise ValueError("layout")

    coalescer = Coalescer(broken)
    coalescer.poke()
    await asyncio.sleep(0.01)
    with pytest.raises(ValueError, match="layout"):
        await coalescer.close()


def test_every_command_has_a_way_in_and_an_action() -> None:
    from app.tui.app import ChatApp

    for command in COMMANDS:
        assert command.slash or command.key
        assert callable(getattr(ChatApp, f"action_{command.action}"))
        assert not command.slash or find(command.slash) is command


@pytest.mark.parametrize("width", [20, 40, 200])
def test_markdown_fits_its_width_and_hides_no_address(width: int) -> None:
    source = "# Title\n\n<b>*text*</b> 日本語日本語 [link](http://a.com)\n\n|a|b|\n|-|-|\n|1|2|\n\n```c\nint x;"
    content = lay_out(source, width)
    assert all(line.cell_length <= width for line in content.split("\n"))
    assert "http://a.com" in content.plain.replace("\n", "")
    assert "int x;" in content.plain and "Title" in content.plain and "<b>text</b>" in content.plain


def test_the_screen_and_the_command_load_no_mlx(tmp_path: Path) -> None:
    import subprocess

    for module, absent in (("app.tui.app", ["mlx"]), ("app.cli.main", ["mlx", "textual", "numpy", "huggingface_hub"])):
        code = f"import {module}, sys; print([m for m in {absent} if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]", module


GROWING = [
    "# Title\n\nA paragraph with **bold**\nand more.\n\nAnother one\n---\nbelow a heading\n\n***\n\nend",
    "- a\n- b `code`\n  - nested\n\n    deep\n- c\n---\n\n* other list\n* again\n\ntext\n\n+ third\n1. one\n2. two\n",
    "\n".join(f"{number}. item {number} with words that wrap" for number in range(7, 13)),
    "| a | b |\n|---|---|\n" + "\n".join(f"| row {number} | **{number}** |" for number in range(8)) + "\n\nafter",
    "Before\n\n```python\ndef f():\n    return '''\n\n- no list\n'''\n```\n\n> quoted\n> more\n\n    indented code\n",
    "1. ~~~sh\n   ls\n   ~~~\n2. b\n\n   ```\n   in\n    it\n   ```\n\n> - ```c\n>   q\n\n"
    "- x\n\n      indented\n\n```\nlast\n```\nend",
    "日本語 [a link](http://a.b) Vec<u8> <b>\n\n- 日本\n\n\n- loose\n\n  paragraph\n\nend\n",
    "The \\(a_1*b\\) and\n\\[ x_1 \\]\n\\[\n  E = mc^2\n  + b\n- c\n- d\n- e\n=\n\\], where *m*\nis\n\nend",
    "\\[\nnever *closed*\n- no item\n\n- an item\n- \\[ a\n- b\n  \\[\n  x\n  + y\n  \\]\n- c\n\\[\nd\n\n\\]\n\n"
    "> \\[\n> + a\n> \\]\n\n- \\[\na\n\\]\n\n```\n\\[\n```\n\n\\( b",
    "3) one\n3) two\n3) three\n9) four\n\n1. one\n1. two\n1. three\n1. four\n",
    "1) one\n2) https://a.b/c_d_e\n\nwww.a.b/c <a@b.de>, [https://a.b](https://a.b) and [https://a.b](https://c.d)\n",
]


@pytest.mark.parametrize("source", GROWING)
@pytest.mark.parametrize("step", [1, 7])
def test_growing_markdown_is_at_every_moment_what_the_whole_is(source: str, step: int) -> None:
    layout = GrowingLayout(30)
    for end in range(step, len(source), step):
        lines = joined(layout.extend(source[:end]))
        if not source[end - 1 : end + 1].isalpha():  # inside a word nothing becomes anything else
            assert lines.plain.strip() == lay_out(source[:end], 30).plain.strip()
    assert joined(layout.extend(source)).is_same(lay_out(source, 30))


@pytest.mark.parametrize("source", [source for source in GROWING if code_blocks(source)])
def test_what_can_be_clicked_is_the_number_of_each_code_block_and_nothing_else(source: str) -> None:
    layout = GrowingLayout(30)
    for end in range(1, len(source) + 1):
        spans = joined(layout.extend(source[:end])).spans
        metas = [span.style.meta for span in spans if not isinstance(span.style, str) and span.style.meta]
        actions = [meta["@click"] for meta in metas if "@click" in meta]
        assert actions == [f"copy_code({number})" for number in range(len(code_blocks(source[:end])))]
        assert all(meta.keys() <= {"header", "@click", "padding", "wrapped", "block_lines"} for meta in metas)
        assert all("header" in meta for meta in metas if "@click" in meta)


def test_code_is_what_was_written_between_the_fences() -> None:
    source = "```py\n\n a\t\n\n```\n\n- ~~~~\n  ~~~\n   b\n  ~~~~\n\n>     c\n>     d\n\n```\nopen\n"
    assert [block.code for block in code_blocks(source)] == ["\n a\t\n", "~~~\n b", "c\nd", "open"]


@pytest.mark.parametrize("width", [1, 3, 5, 8, 12])
def test_the_line_above_code_fits_where_there_is_no_room(width: int) -> None:
    content = lay_out("> ```日本語日本語日本語\n> x\n> ```\n\n```\ny\n```", width)
    assert all(line.cell_length <= max(width, 3) for line in content.split("\n"))
    assert "copy"[: min(width, 4)] in content.plain and (width < 5 or "\u65e5" in content.plain)
    assert width < 12 or content.plain.count("copy") == 2
    clicks = [span.style.meta.get("@click") for span in content.spans if not isinstance(span.style, str)]
    assert width < 5 or [*filter(None, clicks)] == ["copy_code(0)", "copy_code(1)"]  # on the language, or beside it


@pytest.mark.parametrize(
    ("width", "header"),
    [
        (40, "python             copy  run  save"),
        (25, "python  copy  run  save"),
        (24, "python      copy  run"),
        (16, "python    copy"),
        (12, "python"),
    ],
)
def test_the_words_above_code_go_before_its_language_does(width: int, header: str) -> None:
    content = lay_out("```python\nprint(1)\n```", width, words=words_of)
    line, code = content.plain.split("\n")
    assert line.split() == header.split() and line[1:-1].startswith("python") and len(line) == len(code) == width


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("```sh\nls\n```", ["copy", "run", "save"]),
        ("```html\n<p>\n```", ["copy", "open", "save"]),
        ("```\n<!doctype html><p>\n```", ["copy", "open", "save"]),
        ("```rust\nfn main() {}\n```", ["copy", "save"]),
        ("    indented", ["copy", "save"]),
    ],
)
def test_only_what_can_be_done_with_code_stands_above_it(source: str, words: list[str]) -> None:
    spans = lay_out(source, 60, words=words_of).spans
    clicks = [span.style.meta.get("@click", "") for span in spans if not isinstance(span.style, str)]
    assert [*filter(None, clicks)] == [f"{word}_code(0)" for word in words]
    assert all(map(help_of, filter(None, clicks)))


def test_blocks_are_parted_by_one_line_and_items_by_none() -> None:
    source = "# T\n\ntext\n1. one\n2. two\n   - nested\n\n> quote\n\n```c\nint x;\n```\n\n|a|b|\n|-|-|\n|1|2|\n\nend"
    plain = lay_out(source, 40).plain
    assert "\n\n\n" not in plain and " 1. one\n 2. two\n     • nested\n\n" in plain


def test_a_rule_is_a_thin_line_across() -> None:
    assert lay_out("above\n\n---\n\nbelow", 20).plain.split("\n") == ["above", "", "\u2500" * 20, "", "below"]


def test_items_are_numbered_as_they_were_written() -> None:
    plain = lay_out("7. a\n8. b\n   1) c\n9. d\n10. e\n11. f\n\nText\n\n0. x\n\n---\n\n100. y\n     z", 40).plain
    assert plain.split("\n")[:6] == [" 7. a", " 8. b", "     1) c", " 9. d", "10. e", "11. f"]
    assert "\n 0. x\n" in plain and plain.endswith("\n100. y z")


# With a macro that this program doesn't know.
FORMULAS = [
    r"\(a_1 * b_2 * c \odd\)",
    r"\[ E = *m*c^2 \{x\} \odd \\ \]",
    r"\(`x` <https://a.b> https://a.b &amp; [b](c) \odd\)",
    "\\[\n  E = mc^2\n+ *b*\n- c\n=\n# d\n1. e\n> f\n```\n\\odd \\]",
    "\\[ a = b\n+ c\n+ \\odd \\],",
    "$$\n  E = mc^2\n- c\n=\n\\odd\n$$",
    r"$a_1 * \odd *$",
]


@pytest.mark.parametrize("level", range(1, 7))
def test_the_first_heading_alone_is_underlined(level: int) -> None:
    content = lay_out(f"{'#' * level} T", 40)
    [style] = [span.style for span in content.spans]
    assert content.plain == "T" and style == ("bold underline $primary" if level == 1 else "bold $primary")


@pytest.mark.parametrize(("follows", "shown"), [("- item", " \u2022 item"), ("# head", "head"), ("1. x", " 1. x")])
def test_a_formula_that_nothing_closes_ends_with_its_quote(follows: str, shown: str) -> None:
    assert lay_out(f"> \\[\n> a\n{follows}", 40).plain == f"\u2502 \\[\n\u2502 a\n\n{shown}"


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize(
    ("written", "layout_text"),  # around it, and before its lines after the first
    [
        (("", "", ""), ("", "", "")),
        (("# T\n\n", "", "\n\nend"), ("T\n\n", "", "\n\nend")),
        (("- a\n- ", "  ", "\n- b"), (" • a\n • ", "   ", "\n • b")),
        (("> ", "> ", "\n"), ("│ ", "│ ", "")),
    ],
)
def test_a_formula_is_shown_as_it_was_written(
    formula: str, written: tuple[str, str, str], layout_text: tuple[str, str, str]
) -> None:
    source, expected = (
        before + formula.replace("\n", "\n" + indent) + after for before, indent, after in (written, layout_text)
    )
    assert lay_out(source, 60).plain == expected


@pytest.mark.parametrize(
    ("source", "layout_text"),
    [
        (r"so \(a*b*c\) is **\(x_1\)**, *y*", "so a*b*c is x₁, y"),
        (r"$x^2$ and $x$ are *not* $5 and $10, nor $ x^2 $ or $x", "x² and x are not $5 and $10, nor $ x^2 $ or $x"),
        (r"\$x^2\$ costs $3_000 or `$x^2$`", "$x^2$ costs $3_000 or $x^2$"),
        ("$$\n\\frac{a}{b}\n- *c*\n$$", "a/b - *c*"),
        (
            "\\[\nA = \\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}\n\\].",
            "A = ⎛ 1  2 ⎞\n    ⎝ 3  4 ⎠.",
        ),
        (
            r"in a line: \[\begin{pmatrix} 1 \\ 2 \end{pmatrix}\]",
            r"in a line: \[\begin{pmatrix} 1 \\ 2 \end{pmatrix}\]",
        ),
        (r"open \( a and \[ b *c*", r"open \( a and \[ b c"),
        (r"escaped \*a\* \{b\} \\(c)", r"escaped *a* {b} \(c)"),
        ("`\\(a\\)` and `\\[`", r"\(a\) and \["),
        ("- \\(x \\to y\\)\n- | a", "• x → y\n • | a"),
        ("a \\(\n\nb\\)", "a \\(\n\nb)"),
        ("Thus\n\\[\nx\n+ y\n\\]\nwhere *x*", "Thus\n\nx + y\n\nwhere x"),
        ("\\[\nx *y*\n- z\n\n- item", "\\[\nx *y*\n- z\n\n • item"),
        ("    \\[\n    x", "copy\n \\[\n x"),
    ],
)
def test_what_is_a_formula(source: str, layout_text: str) -> None:
    assert "\n".join(line.rstrip() for line in lay_out(source, 60).plain.split("\n")).strip() == layout_text


@pytest.mark.parametrize(
    ("source", "layout_text"),
    [
        ("https://a.b/c_d_e", "https://a.b/c_d_e"),
        ("<https://a.b/?c=d%20e&f>", "https://a.b/?c=d%20e&f"),
        ("https://a.b/Käse", "https://a.b/Käse"),
        ("www.a.com/b", "www.a.com/b"),
        ("<a@b.de>", "a@b.de"),
        ("[https://a.b](https://a.b)", "https://a.b"),
        ("[text](https://a.b)", "text (https://a.b)"),
        ("[https://a.b](https://c.d)", "https://a.b (https://c.d)"),
        ("[https://a.b/@c.d](https://a.b%2F@c.d)", "https://a.b/@c.d (https://a.b%2F@c.d)"),
        ("https://\u0430.com", "https://\u0430.com (https://xn--80a.com)"),
        ("https://xn--80a.com", "https://xn--80a.com"),
        ("[https://a.b/&#x202e;c](https://a.b/&#x202e;c)", "https://a.b/c (https://a.b/%E2%80%AEc)"),
    ],
)
def test_an_address_is_shown_once_and_never_hidden(source: str, layout_text: str) -> None:
    content = lay_out(source, 80)
    assert content.plain == layout_text
    assert any(not isinstance(span.style, str) and span.style.underline for span in content.spans)


def test_to_copy_code_that_is_not_there_does_nothing() -> None:
    for number in (-1, 0, 1):
        MarkdownText("no code").action_copy_code(number)


def test_growing_markdown_renders_only_what_can_still_change(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[int] = []
    render = markdown_layout._render

    def counting(tokens: Sequence[Token], *rest: Any) -> list[Content]:
        rendered.append(len(tokens))
        return render(tokens, *rest)

    monkeypatch.setattr(markdown_layout, "_render", counting)
    layout, source = GrowingLayout(40), ""
    for number in range(200):
        source += f"- item {number}\n"
        layout.extend(source)
    assert len(rendered) < 3 * 200
