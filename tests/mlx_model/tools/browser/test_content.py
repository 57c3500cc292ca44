"""Tests for what a server sends as a page: kinds of content, encodings, and what has no text."""

import codecs

import pytest

from mlx_model.tools.browser.content import CUT, read_page, read_source
from mlx_model.tools.browser.decoding import decode
from mlx_model.tools.browser.errors import BrowserError
from mlx_model.tools.browser.fetch import Response
from tests.fixtures.pdf import encrypted, pdf

URL = "https://a.example/files/notes.txt"
JAPANESE, CHINESE, KOREAN = "行列の計算は速い。", "矩阵计算很快。", "행렬 계산은 빠르다."


@pytest.mark.parametrize(
    ("data", "content_type", "text"),
    [
        (b"", "", ""),
        ("héllo".encode(), "", "héllo"),
        ("héllo".encode("latin-1"), "text/html", "héllo"),
        ("h€llo".encode("cp1252"), "text/html; charset=ISO-8859-1", "h€llo"),
        (codecs.BOM_UTF8 + "é".encode(), "text/html; charset=latin-1", "é"),
        (codecs.BOM_UTF16_LE + "é".encode("utf-16-le"), "", "é"),
        (JAPANESE.encode("cp932"), 'text/html; Charset="Shift_JIS"', JAPANESE),
        (JAPANESE.encode("cp932"), "text/html; charset=x-sjis", JAPANESE),
        (CHINESE.encode("gb18030"), "text/html; charset=gb2312", CHINESE),
        (KOREAN.encode("cp949"), "text/html; charset=euc-kr", KOREAN),
        ("é€".encode() + b"\xff end of it", "", "é€\ufffd end of it"),
        ("é".encode(), "text/html; charset=unicode_escape", "é"),
        ("é".encode(), "text/html; charset=utf-16", "é"),
        ("é".encode(), "text/html; charset=no-such-thing", "é"),
        ("a\ufffdé".encode()[:-1], "", "a\ufffd\ufffd"),
    ],
)
def test_encodings(data: bytes, content_type: str, text: str) -> None:
    assert decode(data, content_type) == text


@pytest.mark.parametrize(
    "head",
    ["<meta charset=Shift_JIS>", '<meta http-equiv="Content-Type" content="text/html; charset=shift_jis">'],
)
def test_the_encoding_that_a_page_names(head: str) -> None:
    html = f"<html><head>{head}<title>{JAPANESE}</title><body><p>{JAPANESE}"
    page = read_page(Response(URL, "text/html", html.encode("cp932")))
    assert page.title == JAPANESE and page.text.endswith(JAPANESE)


@pytest.mark.parametrize(
    ("content_type", "data", "title", "body"),
    [
        ("text/plain", b"a\r\nb\t\x1b[1mc\a", "notes.txt", "a\nb\t␛[1mc␇"),
        (
            "application/json; charset=utf-8",
            b'{"a":[1,2],"b":"\\u00e9"}',
            "notes.txt",
            '{\n "a": [\n  1,\n  2\n ],\n "b": "é"\n}',
        ),
        ("application/ld+json", b'{"a":', "notes.txt", '{"a":'),
        ("application/rss+xml", b"<rss><title>x</title></rss>", "notes.txt", "<rss><title>x</title></rss>"),
        ("text/plain", b" <!DOCTYPE HTML><title>T</title><p>x", "T", "x"),
        ("", b"<html><p>x", "a.example", "x"),
        ("application/octet-stream", b"text", "notes.txt", "text"),
    ],
)
def test_kinds_of_text(content_type: str, data: bytes, title: str, body: str) -> None:
    page = read_page(Response(URL, content_type, data))
    assert (page.title, page.url, page.links) == (title, URL, ())
    assert page.text == f"\nURL: {URL}\n{body}"


@pytest.mark.parametrize(
    ("content_type", "data", "reason"),
    [
        ("image/png", b"\x89PNG", "it is image/png of 4 bytes, and has no text"),
        ("application/zip", b"PK\0\0", "it is application/zip of 4 bytes, and has no text"),
        ("", b"\x7fELF\0", "it is a file of 5 bytes, and has no text"),
    ],
)
def test_what_has_no_text(content_type: str, data: bytes, reason: str) -> None:
    with pytest.raises(BrowserError) as raised:
        read_page(Response(URL, content_type, data))
    assert str(raised.value) == reason


def test_a_pdf_file_has_its_pages_as_parts() -> None:
    page = read_page(Response("https://a.example/paper.pdf", "text/html", pdf("one", "two")))
    assert page.title == "paper.pdf" and page.text.split("\n", 2)[2] == "# Page 1\n\none\n\n# Page 2\n\ntwo"
    for response, reason in (
        (Response(URL, "", encrypted(pdf("one"), "AES-256", user="secret")), "the PDF file is locked by a password"),
        (Response(URL, "", b"%PDF-1.7", is_cut=True), "it is a PDF file that is too large"),
    ):
        with pytest.raises(BrowserError) as raised:
            read_page(response)
        assert str(raised.value) == reason


def test_a_page_that_was_cut_says_so() -> None:
    assert read_page(Response(URL, "text/plain", b"a", is_cut=True)).lines[-1] == CUT


def test_the_source_of_a_page_is_its_text() -> None:
    page = read_source(Response(URL, "text/html", b"<p hidden>\x1b x</p>"), f"view-source:{URL}")
    assert page.text == f"\nURL: view-source:{URL}\n<p hidden>␛ x</p>" and page.url == f"view-source:{URL}"
    with pytest.raises(BrowserError):
        read_source(Response(URL, "image/png", b"\0"), URL)
