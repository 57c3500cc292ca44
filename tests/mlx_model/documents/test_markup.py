"""Pages of HTML, books and notebooks: their text in its order, what is hidden left out, what is missing said."""

import json

import pytest

from mlx_model.documents.document import Document, DocumentError, Wanted
from mlx_model.documents.formats import Format
from mlx_model.documents.markup import to_markdown
from mlx_model.documents.parsers import parse
from tests.fixtures.office import epub, zipped


def read(data: bytes, kind: Format, most: int = 1_000_000) -> Document:
    return parse(data, kind, Wanted(most))


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<h1>A <em>b</em></h1><p>One<p>two &amp; three<br>four", "# A b\n\nOne\n\ntwo & three\nfour"),
        ("<title>T</title><body>x", "# T\n\nx"),
        ("<head><title>T</title><style>p{}</style><body><h1>H</h1>x", "# H\n\nx"),
        ("<ul><li>a<ul><li>b</ul><li>c</ul><ol><li>d<li>e</ol>f", "- a\n  - b\n- c\n\n1. d\n2. e\n\nf"),
        (
            "<table><tr><th>h<th>i<tr><td>1|2<td><p>x</p><p>y</p></table>",
            "| h | i |\n| --- | --- |\n| 1\\|2 | x y |",
        ),
        ("<table><tr><td>only a<tr><td>column</table>", "only a\ncolumn"),
        ("<pre>a\n  <b>b</b>\n</pre>c", "```\na\n  b\n```\n\nc"),
        ("<script>bad()</script><p hidden>no</p><div aria-hidden=true>no<p>no</p></div>yes<noscript>no", "yes"),
        ("a<img alt='a  cat'>b<input value=v><input type=password value=secret>", "a[picture: a cat]bv"),
        ("<input type=checkbox checked>a <input type=radio>b", "[x] a [ ] b"),
        ("<p>a</div></p></ul>b<!-- c --><![CDATA[d]]>", "a\n\nb"),
        ("<svg><title>no</title></svg>x", "x"),
        ("", ""),
    ],
)
def test_html_as_markdown(html: str, text: str) -> None:
    assert to_markdown(html) == text


@pytest.mark.parametrize("piece", ["<div>", "<table><tr><td>", "<ul><li>", "<p>x", "<b", "</p>", "<pre>", "<b>x</b> "])
def test_deep_and_unclosed_html_does_not_hang(piece: str) -> None:
    assert isinstance(to_markdown(piece * 5_000), str)


def test_a_page_declares_its_encoding() -> None:
    html = '<html><meta charset="{}"><p>\u042d\u0442\u043e \u0442\u0435\u043a\u0441\u0442</p>'
    for name in ("windows-1251", "koi8-r"):
        document = read(html.format(name).encode(name), Format.HTML)
        assert document.text == "\u042d\u0442\u043e \u0442\u0435\u043a\u0441\u0442"
        assert len(document.notes) == 2 and document.notes[1].startswith("read as ")
    latin = read('<meta charset=latin1><p>5 \u20ac "\u201c"'.encode("cp1252"), Format.HTML)
    assert latin.text == '5 \u20ac "\u201c"'
    with pytest.raises(DocumentError, match="has no text"):
        read(b"<html><script>x</script>", Format.HTML)


def test_a_book_has_its_chapters_in_the_order_of_reading() -> None:
    document = read(epub("<h1>One</h1><p>a</p>", "<img>", "<h2>Three</h2>b"), Format.BOOK)
    assert document.text == "[chapter 1]\n# One\n\na\n\n[chapter 3]\n## Three\n\nb"
    assert (document.unit, document.count, document.notes) == ("chapter", 3, ())
    assert [(each.title, each.page) for each in document.headings] == [("One", 0), ("Three", 1)]
    missing = read(epub("a", "b", names=["c1.xhtml"]), Format.BOOK)
    assert missing.text == "[chapter 1]\na" and missing.notes == ("chapter 2 is missing or damaged",)
    assert read(epub("a" * 99, "b", "c"), Format.BOOK, most=50).notes == ("chapters 2 to 3 were not read",)
    with pytest.raises(DocumentError, match="has no text"):
        read(epub("<img>"), Format.BOOK)


def test_a_book_of_a_shop_is_named() -> None:
    parts = {
        "META-INF/container.xml": '<container><rootfile full-path="a.opf"/></container>',
        "a.opf": '<package><item id="i" href="c.xhtml"/><itemref idref="i"/></package>',
        "META-INF/encryption.xml": '<EncryptedData><CipherReference URI="c.xhtml"/></EncryptedData>',
    }
    with pytest.raises(DocumentError, match="is locked by the shop"):
        read(zipped(parts), Format.BOOK)


def test_a_notebook_has_its_cells_and_what_they_printed() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "words"]},
        {
            "cell_type": "code",
            "source": "print(1)\n# no heading",
            "outputs": [
                {"output_type": "stream", "text": ["\x1b[31m1\x1b[0m\n"]},
                {"output_type": "display_data", "data": {"image/png": "xx", "text/plain": "<Figure>"}},
                {"output_type": "error", "ename": "ValueError", "evalue": "no"},
            ],
        },
        {"cell_type": "code", "source": ""},
    ]
    notebook = {"cells": cells, "nbformat": 4, "metadata": {"language_info": {"name": "python"}}}
    document = read(json.dumps(notebook).encode(), Format.NOTEBOOK)
    assert document.text == (
        "[cell 1]\n# Title\nwords\n\n[cell 2]\n```python\nprint(1)\n# no heading\n```\n[output]\n```\n1\n```\n"
        "[output]\n```\n<Figure>\n```\n[output]\n```\nValueError: no\n```"
    )
    assert (document.count, document.notes) == (3, ("1 picture not read",))
    assert [each.title for each in document.headings] == ["Title"]


@pytest.mark.parametrize("notebook", ['{"cells": 1}', "[", '{"cells": [1, {"source": 2, "outputs": 3}]}', "[" * 9999])
def test_what_is_no_notebook_is_one_sentence(notebook: str) -> None:
    with pytest.raises(DocumentError) as error:
        read(notebook.encode(), Format.NOTEBOOK)
    assert "\n" not in str(error.value)
