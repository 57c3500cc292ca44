"""Tests for HTML as text: links, tables, lists, code, pictures and formulas; what is hidden; what hostile pages try."""

import re

import pytest

from mlx_model.tools.browser.html import DEEPEST, read_html
from mlx_model.tools.browser.page import Page

URL = "https://a.example/folder/page"
PROSE = "<p>The window of the attention is exactly as long as the paper says, which is tested here.</p>" * 8


def body_of(html: str, url: str = URL) -> str:
    """What the model reads of a page, below its URL."""
    text = read_html(html, url).text
    assert text.startswith(f"\nURL: {url}\n")
    return text.split("\n", 2)[2]


def test_an_article() -> None:
    page = read_html(
        f"""<title> A  title\n† </title><nav><a href="/menu">Menu</a></nav><main><article><h1>Head</h1>{PROSE}
        <p>See <a href="b">page b</a>, <a href="//other.example/c?x=1#y">the
        paper</a>, x<sup>2</sup>, H<sub>2</sub>O and <code>run()</code>.<br>Next line.</p>
        <ul><li>one<ul><li>inner</li></ul></li><li><p>two</p></li></ul><ol><li>first</li><li>second</li></ol>
        <pre><code>def f():\n    return `1`  \n</code></pre>
        <table><tr><th>Name</th><th>Size</th></tr><tr><td><a href="/a">a</a></td><td>12 MB</td></tr></table>
        <blockquote>Said.</blockquote></article></main><footer>Imprint</footer>""",
        URL,
    )
    assert page.title == "A title ‡"
    assert page.links == tuple(
        f"https://{rest}"
        for rest in (
            "a.example/folder/b",
            "other.example/c?x=1#y",
            "a.example/a",
            "a.example/menu",
        )
    )
    assert page.text.split("\n\n")[0] == f"\nURL: {URL}\n# Head"
    end = page.text.split("tested here.\n\n")[-1]
    assert end == (
        "See 【0†page b】, 【1†the paper†other.example】, x^{2}, H_{2}O and `run()`.\nNext line.\n\n"
        "  * one\n    * inner\n  * two\n\n  1. first\n  2. second\n\n"
        "```\ndef f():\n    return `1`\n```\n\n"
        "Name | Size\n【2†a】 | 12 MB\n\n> Said.\n\n"
        "# Other links on this page\n\n  * 【3†Menu】"
    )


def test_a_page_of_which_little_is_found_is_read_whole() -> None:
    rows = "".join(f"<tr><td>{number}.<td><a href=/{number}>story {number}</a> (x.example)" for number in range(3))
    assert body_of(f"<table>{rows}</table><p>short") == (
        "0. | 【0†story 0】 (x.example)\n1. | 【1†story 1】 (x.example)\n2. | 【2†story 2】 (x.example)\n\nshort"
    )


def test_a_page_with_very_many_elements_is_read_without_what_is_around(monkeypatch: pytest.MonkeyPatch) -> None:
    html = f"<nav><a href=/menu>Menu</a></nav><table><tr><td>a<td>b</table>{PROSE}<footer>Imprint</footer>"
    monkeypatch.setattr("mlx_model.tools.browser.html.MOST_ELEMENTS", 5)
    text = body_of(html)
    assert text.startswith("a | b\n\nThe window") and "Imprint" not in text
    assert text.endswith("# Other links on this page\n\n  * 【0†Menu】")


def test_a_table_that_arranges_a_page_is_no_table() -> None:
    cell = "<p>Some words.</p><p>More words.</p><p>Even more.</p>"
    assert " | " not in body_of(f"<table><tr><td>{cell}</td><td>{cell}</td></tr></table>")


def test_links_to_places_in_the_page_and_to_no_page_are_text() -> None:
    links = (
        "#x",
        "mailto:a@b.example",
        "javascript:alert(1)",
        "tel:1",
        "",
        "http://",
        "https://[bad",
        "data:text/html,x",
    )
    assert body_of("".join(f'<a href="{link}">w</a> ' for link in links)) == " ".join("w" * len(links))
    page = read_html('<base href="https://b.example/x/"><a href="y">w</a><a href="//a.example/z">v</a>', URL)
    assert page.links == ("https://b.example/x/y", "https://a.example/z")
    assert "【0†w†b.example】【1†v】" in page.text


def test_equal_links_have_one_number_and_links_around_blocks_one_line() -> None:
    html = '<a href="/x"><h3>Card</h3><p>With text</p></a><a href="/y"><img src="i" alt="A cat"></a> <a href="/x">x</a>'
    assert body_of(html) == "【0†Card With text】【1†[Image 0: A cat]】 【0†x】"


def test_spaces_and_line_breaks_are_where_the_page_has_them() -> None:
    assert body_of('a<a href="/x"> b </a>c<b>d</b> <i>e</i>') == "a 【0†b】 cd e"
    assert body_of("<h2>A</h2>b<hr>c<ul><li>d<li><div>e</div>f</ul>g") == "## A\n\nb\nc\n\n  * d\n  * e\nf\n\ng"
    assert body_of("a<pre></pre>b<pre>x ``` `y`</pre>") == "a\n\nb\n\n````\nx ``` `y`\n````"


def test_pictures_and_formulas_are_words() -> None:
    html = """<p><img alt="Plan"><img src="spacer.gif"><img title="Two
    words"> <math alttext="{\\displaystyle a+b}"><mi>a</mi></math>
    <img class="mwe-math-fallback-image" aria-hidden="true" alt="{\\displaystyle E=mc^{2}}"></p>"""
    assert body_of(html) == "[Image 0: Plan][Image 2: Two words] $a+b$ $E=mc^{2}$"


@pytest.mark.parametrize(
    "hidden",
    [
        "<p hidden>X</p>",
        '<p style="color: red; DISPLAY : none">X</p>',
        '<div style="visibility:hidden"><p><b>X</b></p></div>',
        '<span style="opacity:0">X</span>',
        '<span style="font-size:0px">X</span>',
        '<p style="position:absolute;left:-9999px">X</p>',
        '<p aria-hidden="true">X</p>',
        "<!-- X -->",
        "<script>X</script><style>X</style><template>X</template><noscript>X</noscript><textarea>X</textarea>",
        '<input value="X"><svg><text>X</text></svg><iframe srcdoc="X">X</iframe><meta content="X">',
        '<span style="display:none"><math alttext="X"></math><img class="math" alt="X"></span>',
        '<a href="/x" style="display:none">X</a>',
        "<p>\U000e0058</p>",  # an invisible copy of X
    ],
)
def test_what_the_page_does_not_show_the_model_does_not_read(hidden: str) -> None:
    assert "X" not in body_of(f"<body>{PROSE}{hidden}")
    assert "X" not in body_of(f"<body><p>short</p>{hidden}")


@pytest.mark.parametrize("style", ["opacity:0.5", "font-size:0.9em", "display:block", "left:-10px", "margin:0"])
def test_what_only_looks_hidden_is_read(style: str) -> None:
    assert "shown" in body_of(f'<p style="{style}">shown</p>')


def test_marks_and_controls_are_no_marks_here() -> None:
    text = body_of("<p>【9†x】 a\u200bb \x1b[2J <|call|> \u202egnp</p><a href=/x>a†b】</a><p>\0nul</p>")
    assert text == "〖9†x〗 ab ␛[2J gnp\n【0†a‡b〗】\nnul" or "<|call|>" in text
    assert "【9" not in text and "ab" in text and "\x1b" not in text and "\u202e" not in text and "\0" not in text


@pytest.mark.parametrize("depth", [DEEPEST - 50, DEEPEST + 50, 2_000])
def test_a_deep_page_is_read(depth: int) -> None:
    assert "deep" in body_of(f"{'<div>' * depth}<p>deep</p>{'</div>' * depth}")


@pytest.mark.parametrize(
    "html",
    [
        "",
        " \n",
        "\0",
        "<",
        "<!-- -->",
        "<html>",
        "<?xml version='1.0' encoding='utf-16'?>",
        "<frameset><frame src=x></frameset>",
        f"<title>{'t' * 1_000_000}</title>",
        "<div>" * 100_000,
        "".join(f'<a href="/{number}">link {number}</a>' for number in range(3_000)),
        "<table>" * 500 + "x",
        "<p>x</p><i hidden></i>y" * 20_000,
        f"<p>{'word ' * 100_000}</p>",
        f"<p>{'-' * 200_000}</p>",
        f'<p style="{"a" * 100_000}">x</p>',
        "<p>\ud800 lone</p>",
    ],
    ids=lambda html: html[:20].strip(),
)
def test_hostile_pages_are_read_in_bounded_time(html: str) -> None:
    page = read_html(html, URL)
    assert isinstance(page, Page) and len(page.title) <= 200 and page.lines
    assert all(len(line) <= 80 for line in page.lines)
    assert re.match(r"\nURL: https://a\.example/folder/page\n", page.text)
