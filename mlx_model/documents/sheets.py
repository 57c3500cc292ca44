"""Tables of Excel and OpenDocument (XLSX, XLSB, XLS, ODS): a sheet is a page, labelled with the range of its cells."""

import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

from mlx_model.documents.document import Document, DocumentError, Heading, Page, listed
from mlx_model.documents.packed import DAMAGED, Packed

if TYPE_CHECKING:
    from python_calamine import CalamineWorkbook, SheetMetadata

LEAST_GAP = 3
"""Empty rows between two ranges of a sheet; fewer stay as they are."""

_WITHOUT_VALUE = re.compile(rb"(?:</f>|<f\b[^>]{0,200}/>)\s*(?:<v\s*/>|<v></v>)?\s*</c>")
_FLAWS = {
    "empty": ("is empty", "are empty"),
    "chart": ("is a chart and was not read", "are charts and were not read"),
    "hidden": ("is hidden in the program that made it", "are hidden in the program that made them"),
    "cut": ("was not read to its end", "were not read to their ends"),
    "unread": ("was not read", "were not read"),
}


def read_sheets(data: bytes, most: int) -> Document:
    """The sheets that have cells, as tables of rows with `|` between cells; no more once there are `most` characters.

    Raises DocumentError.
    """
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    # Its size comes before anything is unpacked.
    uncalculated = _uncalculated(Packed(data)) if data.startswith(b"PK") else 0
    try:
        workbook = CalamineWorkbook.from_filelike(BytesIO(data))
        sheets = list(workbook.sheets_metadata)
        flaws: dict[str, list[int]] = {}
        pages: list[Page] = []
        for number, sheet in enumerate(sheets, 1):
            page, flaw = _page(workbook, number, sheet, most - sum(len(page.text) for page in pages))
            if page is not None:
                pages.append(page)
            if flaw:
                flaws.setdefault(flaw, []).append(number)
    except PasswordError:
        raise DocumentError("is locked by a password; save a copy without one and attach that") from None
    except (CalamineError, OSError, ValueError):
        raise DocumentError(DAMAGED) from None
    if not pages:
        raise DocumentError("has no cells with values")
    notes = [
        f"{listed('sheet', numbers)} {(one if len(numbers) == 1 else several)}"
        for flaw, (one, several) in _FLAWS.items()
        if (numbers := flaws.get(flaw))
    ]
    if uncalculated:
        notes.append(f"{uncalculated:,} {'formula has' if uncalculated == 1 else 'formulas have'} no value yet")
    names = {number: sheet.name for number, sheet in enumerate(sheets, 1)}
    headings = tuple(Heading(names[page.number], 1, index, 0) for index, page in enumerate(pages))
    return Document(tuple(pages), "sheet", len(sheets), tuple(notes), headings)


def _uncalculated(file: Packed) -> int:
    """How many formulas no program has calculated: their cells are empty."""
    sheets = (file.read(name) or b"" for name in file.names if re.match(r"xl/worksheets/[^/]+\.xml$", name))
    return sum(len(_WITHOUT_VALUE.findall(sheet)) for sheet in sheets)


def _page(workbook: "CalamineWorkbook", number: int, sheet: "SheetMetadata", most: int) -> tuple[Page | None, str]:
    """The sheet as a page, if it has cells, and its flaw, a key of _FLAWS, if it has one."""
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    if sheet.typ != SheetTypeEnum.WorkSheet:
        return None, "chart"
    if most <= 0:
        return None, "unread"
    content = workbook.get_sheet_by_name(sheet.name)
    first_row, first_column = content.start or (0, 0)
    rows = content.to_python(skip_empty_area=True)
    lines, is_whole = _lines(rows, first_row, most)
    if not lines:
        return None, "empty"
    is_hidden = sheet.visible != SheetVisibleEnum.Visible
    last = f"{_column(first_column + max(map(len, rows)) - 1)}{first_row + len(rows)}"
    label = f'sheet "{sheet.name}" {_column(first_column)}{first_row + 1}:{last}{", hidden" if is_hidden else ""}'
    page = Page(number, "\n".join(lines), re.sub(r"\s+", " ", label).replace("]", ")"))
    return page, "hidden" if is_hidden and is_whole else "" if is_whole else "cut"


def _lines(rows: Sequence[Sequence[Any]], first: int, most: int) -> tuple[list[str], bool]:
    """A line for each row that has values, and whether all were written; after a gap, the number of the next row."""
    lines: list[str] = []
    length, gap = 0, 0
    for number, row in enumerate(rows, first + 1):
        cells = [_written(value) for value in row]
        if not any(cells):
            gap += 1
            continue
        if gap >= LEAST_GAP and lines:
            lines += ["", f"[row {number}]"]
        elif lines:
            lines += [""] * gap
        gap = 0
        while not cells[-1]:
            cells.pop()
        lines.append(" | ".join(cells))
        length += len(lines[-1]) + 1
        if length > most:
            return lines, number == first + len(rows)
    return lines, True


def _written(value: Any) -> str:
    """A cell as a person reads it. A number that has no fraction has none here."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(round(value, 12))
    if isinstance(value, datetime):
        return value.isoformat(" ") if value.time() != time() else value.date().isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    return re.sub(r"\s*[\r\n]+\s*", " / ", str(value).strip()).replace("|", "\\|")


def _column(index: int) -> str:
    """The letters of a column, from 0."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
