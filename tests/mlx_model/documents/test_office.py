"""Word, slides, sheets and OpenDocument: what the person sees is in the text, where it stands, and the rest is said."""

import pytest

from mlx_model.documents.document import Document, DocumentError, Wanted
from mlx_model.documents.formats import format_of
from mlx_model.documents.parsers import parse
from tests.fixtures.office import docx, open_document, paragraph, pptx, row, shape, xlsx, zipped


def read(data: bytes, most: int = 1_000_000) -> Document:
    kind = format_of(data)
    assert kind is not None
    return parse(data, kind, Wanted(most))


def refusal(data: bytes) -> str:
    with pytest.raises(DocumentError) as error:
        read(data)
    return str(error.value)


STYLES = (
    '<w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>'
    '<w:style w:styleId="T"><w:name w:val="Title"/></w:style>'
    '<w:style w:styleId="Own"><w:name w:val="Own"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>'
    '<w:style w:styleId="Dots"><w:name w:val="List Bullet"/><w:numPr><w:numId w:val="1"/></w:numPr></w:style>'
)
NUMBERING = (
    '<w:abstractNum w:abstractNumId="7"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/></w:lvl></w:abstractNum>'
    '<w:abstractNum w:abstractNumId="8"><w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/></w:lvl></w:abstractNum>'
    '<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="8"/></w:num>'
)


def numbered(text: str) -> str:
    return paragraph(text).replace("<w:p>", '<w:p><w:pPr><w:numPr><w:numId w:val="2"/></w:numPr></w:pPr>')


def test_a_word_document_has_its_headings_and_lists() -> None:
    body = (
        paragraph("Report", "T")
        + paragraph("Scope", "berschrift1")
        + paragraph("Below", "Own")
        + "".join(paragraph(text, "Dots") for text in ("one", "two"))
        + "".join(numbered(text) for text in ("first", "second"))
        + "<w:sdt><w:sdtContent>" + paragraph("in a control") + "</w:sdtContent></w:sdt>"
    )  # fmt: skip
    document = read(docx(body, styles=STYLES, numbering=NUMBERING))
    assert (
        document.text == ("# Report\n\n# Scope\n\n## Below\n\n- one\n- two\n1. first\n2. second\nin a control")
        and not document.has_pages
    )
    assert [(each.title, each.level) for each in document.headings] == [("Report", 1), ("Scope", 1), ("Below", 2)]


def test_what_is_inserted_is_text_and_what_is_deleted_is_said() -> None:
    runs = (
        "<w:ins><w:r><w:t> inserted</w:t></w:r></w:ins><w:del><w:r><w:delText> deleted</w:delText></w:r></w:del>"
        '<w:r><w:tab/><w:t>tab</w:t><w:br/><w:t>line</w:t><w:footnoteReference w:id="2"/></w:r>'
        '<w:r><w:commentReference w:id="0"/></w:r><w:drawing><w:docPr descr="a chart"/></w:drawing>'
        "<w:pict><w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent></w:pict>"
    )
    document = read(
        docx(
            paragraph("kept", runs=runs) + "<w:ins>" + paragraph("a whole paragraph") + "</w:ins>",
            footnotes=f'<w:footnote w:id="2">{paragraph("see there")}</w:footnote>',
            comments=f'<w:comment w:id="0" w:author="Ada">{paragraph("really?")}</w:comment>',
            header=paragraph("secret"),
        )
    )
    assert document.text == (
        "kept inserted\ttab\nline[footnote 1][comment 1] [picture: a chart]  [boxed] \n\na whole paragraph\n\n"
        "[footnote 1] see there\n[comment 1] Ada: really?\n\n[header] secret"
    )
    assert document.notes == (
        "1 tracked insertion kept as text", "1 tracked deletion left out", "1 picture not read"
    )  # fmt: skip


def test_the_pages_of_word_are_those_it_showed_last() -> None:
    there = "<w:r><w:lastRenderedPageBreak/><w:t>page two</w:t></w:r>"
    pages = read(docx(paragraph("one") + paragraph("still one ", runs=there) + paragraph("two"))).pages
    assert [(page.label, page.text) for page in pages] == [
        ("page 1", "one\n\nstill one "),
        ("page 2", "page two\n\ntwo"),
    ]


def test_tables_of_word_keep_their_rows_and_merged_cells() -> None:
    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr>{paragraph(text)}</w:tc>"

    table = (
        "<w:tbl><w:tr>" + cell("wide", '<w:gridSpan w:val="2"/>') + cell("c") + "</w:tr><w:tr>"
        + cell("tall", '<w:vMerge w:val="restart"/>') + cell("a|b") + cell("1") + "</w:tr><w:tr>"
        + cell("", "<w:vMerge/>") + cell("x") + "</w:tr></w:tbl>"
    )  # fmt: skip
    assert read(docx(table)).text == ("| wide |  | c |\n| --- | --- | --- |\n| tall | a\\|b | 1 |\n|  | x |  |")


def test_slides_are_in_order_with_titles_tables_and_notes() -> None:
    table = (
        "<p:graphicFrame><a:tbl><a:tr><a:tc><a:p><a:r><a:t>h</a:t></a:r></a:p></a:tc><a:tc><a:p/></a:tc></a:tr>"
        "<a:tr><a:tc><a:p/></a:tc><a:tc><a:p><a:r><a:t>v</a:t></a:r></a:p></a:tc></a:tr></a:tbl></p:graphicFrame>"
    )
    data = pptx(
        [
            shape("title", "Last") + table + "<p:pic/>",
            shape("title", "First") + shape("body", "a", "b") + shape("", "x"),
        ],
        notes={2: "say this"},
    )
    document = read(data)
    assert document.text == (
        "[slide 1]\n# First\n\n- a\n- b\n\nx\n\n[speaker notes]\nsay this\n\n"
        "[slide 2]\n# Last\n\n| h |  |\n| --- | --- |\n|  | v |"
    )
    assert (document.unit, document.count, document.notes) == ("slide", 2, ("1 picture not read",))
    assert [(each.title, each.page) for each in document.headings] == [("First", 0), ("Last", 1)]


def test_sheets_have_their_ranges_and_hidden_ones_are_said() -> None:
    formula = '<row r="5"><c r="B5"><f>SUM(B2:B3)</f></c></row>'
    sales = row(2, None, "what", "share") + row(3, None, "a|b", 0.125) + formula + row(20, None, None, None, 7.0)
    document = read(xlsx({"Sales": sales, "Empty": "", "Old": row(1, "x")}, hidden=("Old",)))
    assert document.text == (
        '[sheet "Sales" B2:D20]\nwhat | share\na\\|b | 0.125\n\n[row 20]\n |  | 7\n\n[sheet "Old" A1:A1, hidden]\nx'
    )
    assert document.notes == (
        "sheet 2 is empty",
        "sheet 3 is hidden in the program that made it",
        "1 formula has no value yet",
    )
    assert (document.count, [each.title for each in document.headings]) == (3, ["Sales", "Old"])
    assert refusal(xlsx({"Empty": ""})) == "has no cells with values"


def test_a_sheet_that_is_too_long_is_cut_and_that_is_said() -> None:
    rows = "".join(row(number, "x" * 30, number) for number in range(1, 2000))
    document = read(xlsx({"Long": rows, "Next": row(1, "x")}), most=3000)
    assert len(document.text) < 3200 and document.notes == ("sheet 1 was not read to its end", "sheet 2 was not read")


def test_text_of_open_document() -> None:
    body = (
        "<text:tracked-changes><text:deletion><text:p>gone</text:p></text:deletion></text:tracked-changes>"
        '<text:h text:outline-level="2">Head</text:h><text:p>two<text:s text:c="2"/>spaces<text:note>'
        "<text:note-citation>1</text:note-citation><text:note-body><text:p>foot</text:p></text:note-body></text:note></text:p>"
        "<text:list><text:list-item><text:p>a</text:p><text:list><text:list-item><text:p>b</text:p></text:list-item>"
        "</text:list></text:list-item></text:list><text:p>before<text:soft-page-break/>behind</text:p>"
        '<table:table><table:table-row><table:table-cell table:number-columns-repeated="2"><text:p>c</text:p>'
        "</table:table-cell></table:table-row></table:table>"
    )
    document = read(open_document(body))
    assert document.text == (
        "[page 1]\n## Head\n\ntwo  spaces[footnote 1]\n\n- a\n  - b\n\nbefore\n\n"
        "[page 2]\nbehind\n\n| c | c |\n| --- | --- |\n\n[footnote 1] foot"
    )
    assert document.notes == ("1 tracked deletion left out",)


def test_slides_of_open_document() -> None:
    frame = '<drawing:frame presentation:class="title"><text:p>T</text:p></drawing:frame>'
    body = f"<drawing:page>{frame}<text:p>one</text:p></drawing:page><drawing:page><text:p>two</text:p></drawing:page>"
    assert read(open_document(body, "presentation")).text == "[slide 1]\n# T\n\none\n\n[slide 2]\ntwo"


# Files that aren't as they should be


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><x>&b;</x>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_that_could_grow_is_refused(encoding: str) -> None:
    data = zipped({"content.xml": BOMB.encode(encoding)}, "application/vnd.oasis.opendocument.text")
    assert "declares entities" in refusal(data)
    assert "nested too deep" in refusal(open_document("<text:p>" * 500 + "</text:p>" * 500))


def test_a_zip_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = xlsx({"a": row(1, "x" * 5000)})
    monkeypatch.setattr("mlx_model.documents.packed.MOST_UNPACKED", 4000)
    assert "unpacks to too much" in refusal(data)
    monkeypatch.setattr("mlx_model.documents.packed.MOST_UNPACKED", 10**9)
    monkeypatch.setattr("mlx_model.documents.packed.MOST_OF_ONE", 1000)  # sizes that the file states may be lies
    assert "unpacks to too much" in refusal(docx(paragraph("x" * 5000)))


def test_damaged_and_locked_files_are_one_sentence() -> None:
    whole = docx(paragraph("x" * 500))
    assert "damaged" in refusal(whole[:-30]) and "damaged" in refusal(zipped({"word/a.xml": "x"}))
    assert "damaged" in refusal(xlsx({"a": row(1, "x")}).replace(b"PK\5\6", b"PK\5\7"))
    assert refusal(pptx([])) == "has no slides"
    locked = {"META-INF/manifest.xml": "<encryption-data/>", "content.xml": "x"}
    assert "locked" in refusal(zipped(locked, "application/vnd.oasis.opendocument.text"))
