"""PDF files: pages, headings, columns, forms and notes, what is missing; locked, damaged and hostile files."""

import os
import random
from io import BytesIO

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DecodedStreamObject, EncodedStreamObject, NameObject

from mlx_model.documents.document import Document, DocumentError, DocumentLocked, Heading, Wanted
from mlx_model.documents.pdf import is_pdf, read_pdf
from tests.fixtures.pdf import Run, compressed, drawn, encrypted, number_of_extra, pdf

ALL = Wanted(1_000_000)
BILL = pdf("Total due 41.20")
DAMAGED = ("the PDF is damaged: text may be missing",)


def read(data: bytes, wanted: Wanted = ALL) -> tuple[list[str], tuple[str, ...]]:
    """The text of the pages, and the notes."""
    document = read_pdf(data, wanted)
    assert all(page.label == f"page {page.number}" for page in document.pages) and document.unit == "page"
    return [page.text for page in document.pages], document.notes


def refusal(data: bytes) -> str:
    with pytest.raises(DocumentError) as error:
        read_pdf(data, ALL)
    return str(error.value)


# Pages


def test_a_page_without_text_is_said_where_it_is_and_in_sum() -> None:
    assert read(pdf("one", "", "three")) == (["one", "[empty]", "three"], ("page 2 is empty",))
    assert read(pdf("one", "", "", "", "five", "", "seven", "", ""))[1] == ("pages 2 to 4, 6 and 8, 9 are empty",)
    assert read(pdf(*["", "x"] * 14))[1] == ("14 pages, the first of them 1, are empty",)


def test_a_scan_is_not_called_empty() -> None:
    picture = "BI /W 1 /H 1 /CS /G /BPC 8 ID x EI"
    assert read(drawn([Run("text")], f"q 500 0 0 700 0 0 cm {picture} Q", "0 0 m 9 9 l S")) == (
        ["text", "[a picture without text: a scan]", "[a drawing without text]"],
        ("page 2 is a picture without text (a scan)", "page 3 is a drawing without text"),
    )
    assert refusal(drawn(f"q 500 0 0 700 0 0 cm {picture} Q")).startswith("has no text: it is probably a scan")


def test_a_damaged_page_is_not_called_empty() -> None:
    data = bytearray(compressed(pdf("first " * 30, "second " * 30, "third " * 30)))
    second = [place for place in range(len(data)) if data.startswith(b"stream\n", place)][2]
    data[second + 7 : second + 11] = b"\xff" * 4
    pages, notes = read(bytes(data))
    assert "first" in pages[0] and pages[1] == "[damaged]" and "third" in pages[2]
    assert notes == ("page 2 is damaged: text is missing",)


def test_a_page_that_was_read_in_part_is_said() -> None:
    writer, output = PdfWriter(clone_from=PdfReader(BytesIO(BILL))), BytesIO()
    damaged = EncodedStreamObject()
    damaged._data = b"\xff" * 40
    damaged[NameObject("/Filter")] = NameObject("/FlateDecode")
    page = writer.pages[0]
    page[NameObject("/Contents")] = ArrayObject([page.raw_get("/Contents"), writer._add_object(damaged)])
    writer.write(output)
    assert read(output.getvalue()) == (["Total due 41.20"], DAMAGED)


def test_letters_that_no_one_can_tell_are_not_given_as_text() -> None:
    assert read(pdf("good", "\\001\\002\\003\\004\\005"))[1] == ("page 2 has letters that can't be read",)
    assert "letters can't be told" in refusal(pdf("\\001\\002\\003\\004\\005"))


def test_pages_are_chosen_and_no_more_are_read() -> None:
    data = pdf(*[f"page{n}" for n in range(1, 10)])
    document = read_pdf(data, Wanted(1_000_000, ((2, 3), (8, 99))))
    assert [(page.number, page.text) for page in document.pages] == [(n, f"page{n}") for n in (2, 3, 8, 9)]
    assert document.count == 9 and document.notes == ()
    assert read(data, Wanted(12)) == (["page1", "page2", "page3"], ("pages 4 to 9 were not read",))


# The order of reading


LEFT = [f"left {n} is a line of prose that fills its column" for n in range(12)]
RIGHT = [f"right {n} is a line of prose that fills its own" for n in range(12)]


def columns(*, across: bool) -> list[Run]:
    """A page of two columns under a title, drawn line by line across, or one column after the other."""
    left = [Run(text, 72, 700 - 14 * n) for n, text in enumerate(LEFT)]
    right = [Run(text, 320, 700 - 14 * n) for n, text in enumerate(RIGHT)]
    lines = [run for pair in zip(left, right, strict=True) for run in pair] if across else [*left, *right]
    return [Run("A Title That Goes Across The Whole Page", 72, 740, 20), *lines]


@pytest.mark.parametrize("across", [False, True])
def test_columns_are_read_one_after_the_other(across: bool) -> None:
    pages, _ = read(drawn(columns(across=across)))
    assert pages[0].split("\n") == ["# A Title That Goes Across The Whole Page", *LEFT, *RIGHT]


def test_the_rows_of_a_table_stay_rows_however_it_was_drawn() -> None:
    cells = [[f"r{row}c{column}" for column in range(4)] for row in range(8)]
    places = [(row, column) for column in range(4) for row in range(8)]
    by_columns = [Run(cells[row][column], 72 + 120 * column, 700 - 14 * row) for row, column in places]
    by_rows = sorted(by_columns, key=lambda run: (-run.y, run.x))
    for runs, gap in ((by_columns, "  "), (by_rows, " ")):
        assert read(drawn(runs))[0] == ["\n".join(gap.join(row) for row in cells)]


def test_a_word_that_is_hyphenated_at_the_end_of_a_line_is_whole() -> None:
    runs = [Run("all regular expres-", 72, 700), Run("sions of a well-", 72, 686), Run("known kind", 72, 672)]
    text = read(drawn(runs))[0][0]
    assert "expressions" in text and "\x02" not in text and "\ufffe" not in text


def test_headings_are_lines_in_larger_letters_or_bold_with_a_number() -> None:
    body = [Run("Some words of the text that go on for a while.", 72, 700 - 14 * n) for n in range(1, 9)]
    first = [Run("A Paper On", 72, 760, 20), Run("Two Lines", 72, 736, 20), Run("1 Method", 72, 700, 10, bold=True)]
    second = [
        Run("2 Results", 72, 700, 13),
        Run("1 ........ 2", 72, 720, 13),
        Run("Bold words alone", 72, 400, bold=True),
    ]
    document = read_pdf(drawn([*first, *body], [*second, *body]), ALL)
    assert document.headings == (
        Heading("A Paper On Two Lines", 1, 0, 0),
        Heading("1 Method", 3, 0, 1),
        Heading("2 Results", 2, 1, 0),
    )
    assert document.pages[0].text.split("\n")[:2] == ["# A Paper On Two Lines", "### 1 Method"]
    assert "\nBold words alone" in document.pages[1].text and "\n1 ........ 2" in document.pages[1].text


# Forms and notes


def form(*fields: str, extra: str = "") -> bytes:
    """One page whose form has these fields."""
    numbers = " ".join(f"{number_of_extra(n, 1)} 0 R" for n in range(len(fields)))
    catalog = f"/AcroForm << /Fields [{numbers}] {extra} >>"
    return pdf("Claim", extras=[f"<< {each} >>" for each in fields], catalog=catalog, annotations=numbers)


WIDGET = "/Subtype /Widget /Type /Annot /Rect [0 0 9 9]"


def states(*names: str) -> str:
    """The appearances that a button has."""
    return f"/AP << /N << {' '.join(f'/{name} << >>' for name in names)} >> >>"


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("/FT /Tx /T (name) /V (Ada Example)", "name: Ada Example"),
        ("/FT /Tx /T (name) /TU (Full name) /V (Ada)", "name (Full name): Ada"),
        ("/FT /Tx /T (name) /V <FEFF00C400640061>", "name: \u00c4da"),
        ("/FT /Tx /T (two) /V (line 1\\nline 2)", "two: line 1 line 2"),
        ("/FT /Tx /T (pin) /Ff 8192 /V (1234)", "pin: (hidden)"),
        ("/FT /Tx /T (name)", "(1 field is empty)"),
        (f"/FT /Btn /T (agree) /V /Yes /AS /Yes {states('Yes', 'Off')}", "agree: ticked"),
        (f"/FT /Btn /T (agree) /V /Off /AS /Off {states('Yes', 'Off')}", "agree: not ticked"),
        (f"/FT /Btn /T (diet) /V /Vegan /AS /Vegan {states('Vegan', 'Off')}", "diet: ticked (Vegan)"),
        (f"/FT /Btn /T (pay) /Ff 32768 /V /Card /AS /Card {states('Card', 'Off')}", "pay: Card"),
        ("/FT /Ch /Ff 131072 /T (country) /V (DE) /Opt [[(FR) (France)] [(DE) (Germany)]]", "country: Germany"),
        ("/FT /Ch /Ff 2097152 /T (days) /V [(Mon) (Tue)] /Opt [(Mon) (Tue) (Wed)]", "days: Mon, Tue"),
        ("/FT /Sig /T (sign) /V << /Type /Sig >>", "sign: signed"),
    ],
)
def test_the_values_of_a_form(field: str, line: str) -> None:
    assert read(form(f"{field} {WIDGET}"))[0] == [f"Claim\n\n[form fields]\n{line}"]


def test_fields_within_fields_have_their_full_name_and_are_read_once() -> None:
    kids = [f"{number_of_extra(n, 1)} 0 R" for n in range(6)]
    fields = [
        f"/T (person) /FT /Tx /Kids [{kids[1]} {kids[2]}]",
        f"/T (first) /V (Ada) /Parent {kids[0]} {WIDGET}",
        f"/T (seal) /V (same) /Parent {kids[0]} /Kids [{kids[3]} {kids[4]}]",
        f"/Parent {kids[2]} {WIDGET}",
        f"/Parent {kids[2]} {WIDGET}",
        f"/FT /Btn /Ff 65536 /T (print) {WIDGET}",  # a button has no value
    ]
    catalog = f"/AcroForm << /Fields [{kids[0]} {kids[5]}] >>"
    shown = " ".join((kids[1], *kids[3:6]))
    data = pdf("Claim", extras=[f"<< {each} >>" for each in fields], catalog=catalog, annotations=shown)
    assert read(data)[0][0].splitlines()[3:] == ["person.first: Ada", "person.seal: same"]


def test_a_form_of_another_format_is_named() -> None:
    xfa = "/AcroForm << /Fields [] /XFA [(template) 3 0 R] >>"
    assert read(pdf("Please wait", catalog=xfa))[1] == ("the values of its XFA form were not read",)
    assert refusal(pdf("", catalog=xfa)).startswith("is an XFA form")


def test_notes_on_pages_and_files_within() -> None:
    place = "/Rect [0 0 9 9] /Type /Annot"
    notes = (
        f"<< /Subtype /Text /T (Bob) /Contents (Wrong sum) {place} >>"
        f"<< /Subtype /Highlight /Contents (why?) {place} >>"
        f"<< /Subtype /Popup /Contents (twice) {place} >> << /Subtype /Highlight {place} >> 99 0 R (no dictionary)"
    )
    files = "/Names << /EmbeddedFiles << /Names [(a.csv) << >> (b.csv) << >>] >> >>"
    pages, more = read(pdf("Claim", annotations=notes, catalog=files))
    assert pages == ["Claim\n\n[notes on the page]\nBob: Wrong sum\nwhy?"]
    assert more == ("2 files within it not read",)


# Locked files


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256-R5", "AES-256"])
def test_permissions_lock_no_one_out_and_a_password_does(algorithm: str) -> None:
    assert read(encrypted(BILL, algorithm)) == (["Total due 41.20"], ())
    locked = encrypted(BILL, algorithm, user="secret")
    for password, said in ((None, "is locked by a password"), ("wrong", "is locked by another password")):
        with pytest.raises(DocumentLocked, match=said):
            read_pdf(locked, Wanted(1000, password=password))
    assert read(locked, Wanted(1000, password="secret")) == (["Total due 41.20"], ())


def test_other_locks_are_named() -> None:
    data = BILL.replace(b"/Root 1 0 R", b"/Root 1 0 R /Encrypt << /Filter /Adobe.PubSec /V 1 >>")
    assert refusal(data).startswith("is encrypted for a certificate")


# Files that aren't as they should be


@pytest.mark.parametrize(
    "data",
    [
        b"\n" + BILL,
        b"\xef\xbb\xbf" + BILL,
        b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n\r\n" + BILL,
        b"\xff" * 1000 + BILL,
        b"junk\n" + encrypted(BILL, "AES-256"),
        b"junk\n" + compressed(BILL),
        BILL + b"\0" * 3000,
        BILL + b"<!-- trailing -->" * 100,
        BILL.replace(b"startxref\n", b"startxref\n9"),
        BILL.replace(b"0 R", b"0 R", 1).replace(b"%PDF-1.4", b"%PDF-2.0"),
    ],
)
def test_what_stands_before_and_behind_is_no_obstacle(data: bytes) -> None:
    assert is_pdf(data) and read(data) == (["Total due 41.20"], ())


def test_a_file_without_its_end_is_read_and_said() -> None:
    whole = pdf("Total due 41.20", tail=False)
    for data in (whole, BILL[: BILL.index(b"xref")] + b"trail"):
        pages, (note,) = read(data)
        assert pages == ["Total due 41.20"] and note.startswith("the PDF is damaged")
    assert "damaged" in refusal(whole[:200]) and "damaged" in refusal(b"%PDF-1.7\nnothing")


@pytest.mark.parametrize(
    "data",
    [
        b"The header of a PDF is:\n%PDF-1.4\n1 0 obj\nendobj\n",
        b"",
        b"%PD",
        b" " * 2000 + BILL,
        b"# notes\n" + b"x" * 1100 + BILL,
    ],
)
def test_text_that_shows_a_pdf_is_text(data: bytes) -> None:
    assert not is_pdf(data)


def test_a_bomb_is_one_sentence() -> None:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(BILL)))
    stream = DecodedStreamObject()
    stream.set_data(b" " * 75_000_001)
    writer.pages[0][NameObject("/Contents")] = writer._add_object(stream.flate_encode())
    output = BytesIO()
    writer.write(output)
    assert len(output.getvalue()) < 200_000 and refusal(output.getvalue())


def test_a_ring_in_the_tree_of_pages_ends() -> None:
    data = BILL.replace(b"/Kids [4 0 R]", b"/Kids [2 0 R]")
    assert "2 0 R] /Count 1" in data.decode("latin-1")
    try:
        assert isinstance(read_pdf(data, ALL), Document)
    except DocumentError as error:
        assert "\n" not in str(error)


MUTATIONS = int(os.environ.get("PDF_FUZZ", "60"))


def test_mutated_files_end_in_text_or_in_one_sentence() -> None:
    chance = random.Random(2026)
    field = f"/FT /Tx /T (name) /V (Ada Example) {WIDGET}"
    seeds = [
        compressed(form(field)),
        form(field),
        pdf("one", "", "three", annotations="<< /Subtype /Text /Contents (note) >>"),
        encrypted(BILL, "AES-256"),
    ]
    for number in range(MUTATIONS):
        data = bytearray(seeds[number % len(seeds)])
        for _ in range(chance.randint(1, 12)):
            place = chance.randrange(len(data))
            change = chance.choice([b"", b"\0", b"/", b"<<", b"99999999999", b"[" * 50, data[place : place + 40] * 2])
            data[place : place + chance.randint(0, 6)] = change
        try:
            pages, notes = read(bytes(data))
        except DocumentError as error:
            assert "\n" not in str(error)
        else:
            assert "".join(pages).strip() and all("\n" not in note for note in notes)
