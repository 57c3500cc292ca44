"""What stands on a page of a PDF beside its text: the values of its form, the notes of people; and files within."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mlx_model.text import clean

if TYPE_CHECKING:
    import pypdfium2

MOST_FIELDS = 5000
"""Of a page, notes and fields together."""
MOST_OPTIONS = 1000
_PASSWORD = 1 << 13  # a flag of fields, ISO 32000-1, 12.7.4
_PLAIN_ON = ("yes", "on", "true", "1", "x", "ja", "oui", "checked")
_XFA = 2
"""From here on the kind of a form is XFA, which is a format of its own within the file."""


def remarks(document: "pypdfium2.PdfDocument", page: "pypdfium2.PdfPage", seen: set[str]) -> list[str]:
    """The lines of a page's form, then those of its notes, each under a line in brackets.

    A form's values are in its fields; the page's text has the labels alone. `seen` has the fields of pages before: one
    field may stand in several places.
    """
    fields, notes = dict[str, str | None](), list[str]()
    for annotation, kind in _annotations(page):
        if kind == "widget":
            if document.formenv is not None:
                _add_field(document.formenv.raw, annotation, fields)
        elif note := _note(annotation):
            notes.append(note)
    new = {name: value for name, value in fields.items() if name not in seen}
    seen.update(new)
    lines = [f"{name}: {value}" for name, value in new.items() if value]
    if empty := sum(value == "" for value in new.values()):
        lines.append(f"({empty:,} {'field is' if empty == 1 else 'fields are'} empty)")
    return [*(["", "[form fields]", *lines] if lines else []), *(["", "[notes on the page]", *notes] if notes else [])]


def is_unread_form(document: "pypdfium2.PdfDocument") -> bool:
    """Whether values stand in XFA alone."""
    import pypdfium2.raw as pdfium

    return bool(pdfium.FPDF_GetFormType(document.raw) >= _XFA)


def attached_files(document: "pypdfium2.PdfDocument") -> int:
    """The number of files within the file."""
    import pypdfium2.raw as pdfium

    return max(0, int(pdfium.FPDFDoc_GetAttachmentCount(document.raw)))


def _annotations(page: "pypdfium2.PdfPage") -> Iterator[tuple[Any, str]]:
    """Each with its kind: a field of the form ("widget"), or what a person may have written ("")."""
    import pypdfium2.raw as pdfium

    unwritten = (
        pdfium.FPDF_ANNOT_LINK,
        pdfium.FPDF_ANNOT_POPUP,
        pdfium.FPDF_ANNOT_PRINTERMARK,
        pdfium.FPDF_ANNOT_TRAPNET,
        pdfium.FPDF_ANNOT_WATERMARK,
    )
    for index in range(min(MOST_FIELDS, pdfium.FPDFPage_GetAnnotCount(page.raw))):
        with _annotation(page, index) as annotation:
            kind = pdfium.FPDFAnnot_GetSubtype(annotation) if annotation else pdfium.FPDF_ANNOT_LINK
            if kind not in unwritten:
                yield annotation, "widget" if kind == pdfium.FPDF_ANNOT_WIDGET else ""


@contextmanager
def _annotation(page: "pypdfium2.PdfPage", index: int) -> Iterator[Any]:
    import pypdfium2.raw as pdfium

    annotation = pdfium.FPDFPage_GetAnnot(page.raw, index)
    try:
        yield annotation
    finally:
        if annotation:
            pdfium.FPDFPage_CloseAnnot(annotation)


def _note(annotation: Any) -> str:
    text, author = _key(annotation, b"Contents"), _key(annotation, b"T")
    return f"{author}: {text}" if author and text else text


def _add_field(form: Any, annotation: Any, fields: dict[str, str | None]) -> None:
    """Put the field that a widget belongs to among `fields`, by its full name, with its value in words: "" if it has
    none, None for what has no value, as a button."""
    import pypdfium2.raw as pdfium

    own, label = (
        _of_field(form, annotation, function)
        for function in (pdfium.FPDFAnnot_GetFormFieldName, pdfium.FPDFAnnot_GetFormFieldAlternateName)
    )
    name = (f"{own} ({label})" if label and label != own else own) or "field without a name"
    fields[name] = _value(form, annotation) or fields.get(name, "")  # of radio buttons one has the value
    if _kind(form, annotation) in (pdfium.FPDF_FORMFIELD_PUSHBUTTON, pdfium.FPDF_FORMFIELD_UNKNOWN):
        fields[name] = None


def _kind(form: Any, annotation: Any) -> int:
    import pypdfium2.raw as pdfium

    return int(pdfium.FPDFAnnot_GetFormFieldType(form, annotation))


def _value(form: Any, annotation: Any) -> str:
    import pypdfium2.raw as pdfium

    match _kind(form, annotation):
        case pdfium.FPDF_FORMFIELD_CHECKBOX | pdfium.FPDF_FORMFIELD_RADIOBUTTON as kind:
            is_radio = kind == pdfium.FPDF_FORMFIELD_RADIOBUTTON
            if not pdfium.FPDFAnnot_IsChecked(form, annotation):
                return "" if is_radio else "not ticked"
            state = _of_field(form, annotation, pdfium.FPDFAnnot_GetFormFieldExportValue)
            if is_radio:
                return state
            return "ticked" if state.casefold() in _PLAIN_ON or not state else f"ticked ({state})"
        case pdfium.FPDF_FORMFIELD_COMBOBOX | pdfium.FPDF_FORMFIELD_LISTBOX:
            count = min(MOST_OPTIONS, pdfium.FPDFAnnot_GetOptionCount(form, annotation))
            chosen = [n for n in range(count) if pdfium.FPDFAnnot_IsOptionSelected(form, annotation, n)]
            labels = [_string(pdfium.FPDFAnnot_GetOptionLabel, form, annotation, n) for n in chosen]
            return ", ".join(labels) or _of_field(form, annotation, pdfium.FPDFAnnot_GetFormFieldValue)
        case pdfium.FPDF_FORMFIELD_SIGNATURE:
            return "signed" if pdfium.FPDFAnnot_HasKey(annotation, b"V") else ""
    value = _of_field(form, annotation, pdfium.FPDFAnnot_GetFormFieldValue)
    is_secret = pdfium.FPDFAnnot_GetFormFieldFlags(form, annotation) & _PASSWORD
    return "(hidden)" if value and is_secret else value


def _of_field(form: Any, annotation: Any, function: Callable[..., int]) -> str:
    return _string(function, form, annotation)


def _key(annotation: Any, key: bytes) -> str:
    import pypdfium2.raw as pdfium

    return _string(pdfium.FPDFAnnot_GetStringValue, annotation, key)


def _string(function: Callable[..., int], *arguments: Any) -> str:
    """A text that pdfium writes into a buffer, in UTF-16 with a NUL at its end, on one line."""
    size = function(*arguments, None, 0)
    if size <= 2:
        return ""
    buffer = (ctypes.c_ushort * (size // 2))()
    function(*arguments, buffer, size)
    return " ".join(clean(bytes(buffer).decode("utf-16-le", "replace").removesuffix("\0")).split())
