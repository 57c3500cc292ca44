"""PDF files: pages, forms and notes, what is missing; locked, damaged and hostile files end in one sentence."""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DecodedStreamObject, EncodedStreamObject, NameObject

from mlx_model.pdf import process as pdf_process
from mlx_model.pdf import reading as pdf_module
from mlx_model.pdf.process import read_apart
from mlx_model.pdf.reading import PdfError, PdfText, is_pdf, read_pdf
from tests.fixtures.pdf import compressed, encrypted, number_of_extra, pdf

MOST = 1_000_000
BILL = pdf("Total due 41.20")


def refusal(data: bytes) -> str:
    with pytest.raises(PdfError) as error:
        read_pdf(data, MOST)
    return str(error.value)


# Pages


def test_a_page_without_text_is_said_where_it_is_and_in_sum() -> None:
    assert read_pdf(pdf("one", "", "three"), MOST) == PdfText(
        "one\n\n[page 2 has no text]\n\nthree", ("page 2 has no text (blank, or a scan)",)
    )
    several = read_pdf(pdf("one", "", "", "", "five", "", "seven", "", ""), MOST).notes
    assert several == ("pages 2 to 4, 6 and 8, 9 have no text (blank, or scans)",)
    many = read_pdf(pdf(*["", "x"] * 14), MOST).notes
    assert many == ("14 pages, the first of them 1, have no text (blank, or scans)",)


def test_a_damaged_page_is_not_called_blank() -> None:
    data = bytearray(compressed(pdf("first " * 30, "second " * 30, "third " * 30)))
    second = [place for place in range(len(data)) if data.startswith(b"stream\n", place)][2]
    data[second + 7 : second + 11] = b"\xff" * 4
    result = read_pdf(bytes(data), MOST)
    assert "first" in result.text and "[page 2 is damaged]" in result.text and "third" in result.text
    assert result.notes == ("page 2 is damaged and was not read",)


def test_a_page_that_was_read_in_part_is_said() -> None:
    writer, output = PdfWriter(clone_from=PdfReader(BytesIO(BILL))), BytesIO()
    damaged = EncodedStreamObject()
    damaged._data = b"\xff" * 40
    damaged[NameObject("/Filter")] = NameObject("/FlateDecode")
    page = writer.pages[0]
    page[NameObject("/Contents")] = ArrayObject([page.raw_get("/Contents"), writer._add_object(damaged)])
    writer.write(output)
    assert read_pdf(output.getvalue(), MOST) == PdfText("Total due 41.20", ("page 1 is damaged: text may be missing",))


def test_letters_that_no_one_can_tell_are_not_given_as_text() -> None:
    assert read_pdf(pdf("good", "\\001\\002\\003\\004\\005"), MOST).notes == ("page 2 has letters that can't be read",)
    assert "letters can't be told" in refusal(pdf("\\001\\002\\003\\004\\005"))


def test_no_page_is_read_beyond_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "page4" not in read_pdf(pdf(*[f"page{n}" for n in range(1, 10)]), 12).text
    monkeypatch.setattr(pdf_module, "MOST_PAGES", 2)
    result = read_pdf(pdf("one", "two", "three", "four"), MOST)
    assert (result.text, result.notes) == ("one\n\ntwo", ("pages 3 to 4 were not read",))


# Forms and notes


def form(*fields: str, listed: bool = True, extra: str = "") -> bytes:
    """One page whose form has these fields."""
    numbers = " ".join(f"{number_of_extra(n, 1)} 0 R" for n in range(len(fields)))
    catalog = f"/AcroForm << /Fields [{numbers if listed else ''}] {extra} >>"
    return pdf("Claim", extras=[f"<< {each} >>" for each in fields], catalog=catalog, annotations=numbers)


WIDGET = "/Subtype /Widget /Type /Annot /Rect [0 0 9 9]"


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("/FT /Tx /T (name) /V (Ada Example)", "name: Ada Example"),
        ("/FT /Tx /T (name) /TU (Full name) /V (Ada)", "name (Full name): Ada"),
        ("/FT /Tx /T (name) /V <FEFF00C400640061>", "name: \u00c4da"),
        ("/FT /Tx /T (amount) /V 1234.56", "amount: 1234.56"),
        ("/FT /Tx /T (two) /V (line 1\\nline 2)", "two: line 1 line 2"),
        ("/FT /Tx /T (pin) /Ff 8192 /V (1234)", "pin: (hidden)"),
        ("/FT /Tx /T (name)", "(1 field is empty)"),
        ("/FT /Btn /T (agree) /V /Yes", "agree: ticked"),
        ("/FT /Btn /T (agree) /AS /Yes", "agree: ticked"),
        ("/FT /Btn /T (agree) /V /Off", "agree: not ticked"),
        ("/FT /Btn /T (agree)", "agree: not ticked"),
        ("/FT /Btn /T (diet) /V /Vegan", "diet: ticked (Vegan)"),
        ("/FT /Btn /T (pay) /Ff 32768 /V /Card", "pay: Card"),
        ("/FT /Btn /T (pay) /Ff 32768 /V /1 /Opt [(cash) (card)]", "pay: card"),
        ("/FT /Ch /T (country) /V (DE) /Opt [[(FR) (France)] [(DE) (Germany)]]", "country: Germany"),
        ("/FT /Ch /T (days) /V [(Mon) (Tue)] /Opt [(Mon) (Tue)]", "days: Mon, Tue"),
        ("/FT /Sig /T (sign) /V << /Type /Sig >>", "sign: signed"),
    ],
)
def test_the_values_of_a_form(field: str, line: str) -> None:
    for data in (form(f"{field} {WIDGET}"), form(field), form(f"{field} {WIDGET}", listed=False)):
        if b"/Widget" in data or b"/Fields [6" in data:
            assert read_pdf(data, MOST).text == f"Claim\n\n[form fields]\n{line}"


def test_fields_within_fields_have_their_full_name_and_are_read_once() -> None:
    kids = [f"{number_of_extra(n, 1)} 0 R" for n in range(6)]
    fields = [
        f"/T (person) /FT /Tx /Kids [{kids[1]} {kids[2]} {kids[0]}]",  # and itself: a ring
        "/T (first) /V (Ada)",
        f"/T (seal) /V (same) /Kids [{kids[3]} {kids[4]}]",
        WIDGET,
        WIDGET,
        "/FT /Btn /Ff 65536 /T (print)",  # a button has no value
    ]
    catalog = f"/AcroForm << /Fields [{kids[0]} {kids[5]}] >>"
    data = pdf("Claim", extras=[f"<< {each} >>" for each in fields], catalog=catalog, annotations=" ".join(kids[3:5]))
    assert read_pdf(data, MOST).text.splitlines()[3:] == ["person.first: Ada", "person.seal: same"]


def test_a_form_of_another_format_is_named() -> None:
    xfa = "/AcroForm << /Fields [] /XFA (data) >>"
    assert read_pdf(pdf("Please wait", catalog=xfa), MOST).notes == ("the values of its XFA form were not read",)
    assert refusal(pdf("", catalog=xfa)).startswith("is an XFA form")


def test_notes_on_pages_and_files_within() -> None:
    notes = (
        "<< /Subtype /Text /T (Bob) /Contents (Wrong sum) >> << /Subtype /Highlight /Contents (why?) >>"
        "<< /Subtype /Popup /Contents (twice) >> << /Subtype /Highlight >> 99 0 R (no dictionary)"
    )
    files = "/Names << /EmbeddedFiles << /Kids [<< /Names [(a.csv) << >> (b.csv) << >>] >>] >> >>"
    result = read_pdf(pdf("Claim", annotations=notes, catalog=files), MOST)
    assert result.text == "Claim\n\n[notes on the pages]\npage 1, Bob: Wrong sum\npage 1, why?"
    assert result.notes == ("2 files within it not read",)


# Locked files


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256-R5", "AES-256"])
def test_permissions_lock_no_one_out_and_a_password_does(algorithm: str) -> None:
    assert read_pdf(encrypted(BILL, algorithm), MOST) == PdfText("Total due 41.20")
    assert refusal(encrypted(BILL, algorithm, user="secret")).startswith("is locked by a password; save a copy")


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
    assert is_pdf(data) and read_pdf(data, MOST).text == "Total due 41.20"


def test_a_file_without_its_end_is_read_and_said() -> None:
    whole = pdf("Total due 41.20", tail=False)
    assert read_pdf(whole, MOST) == PdfText("Total due 41.20", ("the PDF is damaged: text may be missing",))
    assert read_pdf(BILL[: BILL.index(b"xref")] + b"trail", MOST).text == "Total due 41.20"
    assert "damaged" in refusal(whole[:200]) and "damaged" in refusal(b"%PDF-1.7\nnothing")
    assert refusal(pdf()) == "has no pages"


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
    assert len(output.getvalue()) < 200_000 and "damaged" in refusal(output.getvalue())


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
            result = read_pdf(bytes(data), MOST)
        except PdfError as error:
            assert "\n" not in str(error)
        else:
            assert result.text.strip() and all("\n" not in note for note in result.notes)


# In a process of its own


def test_the_process_gives_the_same_text_or_error() -> None:
    assert read_apart(pdf("one", ""), MOST) == read_pdf(pdf("one", ""), MOST)
    with pytest.raises(PdfError, match="probably a scan"):
        read_apart(pdf(""), MOST)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("import time; time.sleep(60)", "takes more than 0.2 s"),
        ("import os; os.abort()", "too much memory or time"),
        ("print('{')", "too much memory or time"),
    ],
)
def test_a_process_that_hangs_or_dies_is_one_sentence(command: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_process, "MOST_SECONDS", 0.2 if "sleep" in command else 60)
    monkeypatch.setattr(pdf_process, "READER", (pdf_process.READER[0], "-c", command))
    with pytest.raises(PdfError, match=said):
        read_apart(BILL, MOST)
    monkeypatch.setattr(pdf_process, "READER", ("/none",))
    with pytest.raises(PdfError, match="no process could be started"):
        read_apart(BILL, MOST)


def test_reading_ends_when_the_chat_does(monkeypatch: pytest.MonkeyPatch) -> None:
    command = "import sys, time; sys.stdin.buffer.read(); time.sleep(60)"
    monkeypatch.setattr(pdf_process, "READER", (pdf_process.READER[0], "-c", command))
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_apart, BILL, MOST)
        while not reading.done():
            pdf_process.stop_readers()
        with pytest.raises(PdfError):
            reading.result()
    assert not pdf_process._readers
