"""What stands in a PDF file beside its pages: the values of its form, the notes on its pages, the files within it."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from mlx_model.text import clean

if TYPE_CHECKING:
    from pypdf import PdfReader

MOST_FIELDS = 5000
MOST_DEPTH = 50
_RADIO, _PUSH, _PASSWORD = 1 << 15, 1 << 16, 1 << 13  # flags of fields, ISO 32000-1, 12.7.4
_NO_NOTES = ("/Widget", "/Link", "/Popup", "/PrinterMark", "/TrapNet", "/Watermark")
_PLAIN_ON = ("yes", "on", "true", "1", "x", "ja", "oui", "checked")


def form_lines(reader: "PdfReader") -> list[str]:
    """A line for each field with a value, by its full name, and one that counts the empty ones.

    The values of a form are in its fields; the pages' text has the labels alone. Fields that no page shows count too,
    and so do those on a page which the form doesn't list.
    """
    lines: list[str] = []
    empty = 0
    for name, field in _fields(reader):
        value = _value(field)
        if value:
            lines.append(f"{name}: {value}")
        elif value is not None:
            empty += 1
    if empty:
        lines.append(f"({empty:,} {'field is' if empty == 1 else 'fields are'} empty)")
    return lines


def is_unread_form(reader: "PdfReader") -> bool:
    """Whether values stand in XFA alone, which is a format of its own within the file."""
    form = _plain(reader.root_object.get("/AcroForm"))
    return isinstance(form, dict) and "/XFA" in form and not _list(form.get("/Fields"))


def note_lines(page: Any) -> list[str]:
    """What people wrote on a page: comments, text boxes, remarks to a highlight."""
    lines = []
    for note in _annotations(page):
        text = _text(note.get("/Contents"))
        if text and _plain(note.get("/Subtype")) not in _NO_NOTES:
            author = _text(note.get("/T"))
            lines.append(f"{author}: {text}" if author else text)
    return lines


def attached_files(reader: "PdfReader") -> int:
    """The number of files within the file."""
    names = _plain(reader.root_object.get("/Names"))
    files = _plain(names.get("/EmbeddedFiles")) if isinstance(names, dict) else None
    return sum(1 for _ in _leaves(files, 0)) if isinstance(files, dict) else 0


def _leaves(node: dict[str, Any], depth: int) -> Iterator[Any]:
    yield from _list(node.get("/Names"))[1::2]
    if depth < MOST_DEPTH:
        for kid in _list(node.get("/Kids"))[:MOST_FIELDS]:
            if isinstance(plain := _plain(kid), dict):
                yield from _leaves(plain, depth + 1)


def _plain(value: Any) -> Any:
    """An object behind its reference."""
    return value.get_object() if hasattr(value, "get_object") else value


def _list(value: Any) -> list[Any]:
    plain = _plain(value)
    return list(plain) if isinstance(plain, list) else []


def _annotations(page: Any) -> Iterator[dict[str, Any]]:
    for reference in _list(page.get("/Annots"))[:MOST_FIELDS]:
        if isinstance(annotation := _plain(reference), dict):
            yield annotation


def _fields(reader: "PdfReader") -> Iterator[tuple[str, dict[str, Any]]]:
    """Full name and inherited properties of each field: those of the form, then those that stand on pages alone."""
    form = _plain(reader.root_object.get("/AcroForm"))
    seen: set[int] = set()
    if isinstance(form, dict):
        yield from _walk(_list(form.get("/Fields")), "", {}, 0, seen)
    for page in reader.pages[: MOST_FIELDS // 10]:
        widgets = (each for each in _annotations(page) if _plain(each.get("/Subtype")) == "/Widget")
        alone = [each for each in widgets if "/Parent" not in each and id(each) not in seen and "/T" in each]
        yield from _walk(alone, "", {}, 0, seen)


def _walk(
    references: Iterable[Any], prefix: str, inherited: dict[str, Any], depth: int, seen: set[int]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for reference in references:
        node = _plain(reference)
        if not isinstance(node, dict) or id(node) in seen or len(seen) > MOST_FIELDS or depth > MOST_DEPTH:
            continue
        seen.add(id(node))
        own = _text(node.get("/T"))
        name = ".".join(filter(None, (prefix, own)))
        field = {**inherited, **{key: node[key] for key in ("/FT", "/V", "/Ff", "/Opt", "/AS", "/TU") if key in node}}
        kids = [kid for kid in map(_plain, _list(node.get("/Kids"))) if isinstance(kid, dict)]
        named = [kid for kid in kids if "/T" in kid]
        if named:
            yield from _walk(named, name, {key: field[key] for key in field if key != "/TU"}, depth + 1, seen)
            continue
        seen.update(map(id, kids))  # its widgets: one field may stand in several places
        field.setdefault("/AS", next((kid["/AS"] for kid in kids if kid.get("/AS", "/Off") != "/Off"), "/Off"))
        label = _text(field.get("/TU"))
        yield (f"{name} ({label})" if label and label != name else name) or "field without a name", field


def _value(field: dict[str, Any]) -> str | None:
    """A value in words; "" if there is none, None for what has no value, as a button."""
    kind, flags = _plain(field.get("/FT")), _plain(field.get("/Ff", 0))
    flags = int(flags) if isinstance(flags, int) else 0
    value = _plain(field.get("/V"))
    if kind == "/Sig":
        return "signed" if isinstance(value, dict) else ""
    if kind == "/Btn":
        return None if flags & _PUSH else _button(value or _plain(field.get("/AS")), flags, field)
    if flags & _PASSWORD and kind == "/Tx":
        return "(hidden)" if value else ""
    values = value if isinstance(value, list) else [value]
    texts = (_text(each) for each in values)
    if kind == "/Ch":
        texts = (_shown(text, field) for text in texts)
    return ", ".join(filter(None, texts))


def _button(value: Any, flags: int, field: dict[str, Any]) -> str:
    state = _text(value).removeprefix("/")
    if flags & _RADIO:
        return "" if state in ("", "Off") else _option(state, field)
    if state in ("", "Off"):
        return "not ticked"
    return "ticked" if state.casefold() in _PLAIN_ON else f"ticked ({_option(state, field)})"


def _option(state: str, field: dict[str, Any]) -> str:
    """Buttons may have a number for a name, and what it means in a list."""
    options = _list(field.get("/Opt"))
    return _text(options[int(state)]) if state.isdecimal() and int(state) < len(options) else state


def _shown(text: str, field: dict[str, Any]) -> str:
    """What a choice is called on the page."""
    for option in _list(field.get("/Opt")):
        pair = _list(option)
        if len(pair) == 2 and _text(pair[0]) == text:
            return _text(pair[1])
    return text


def _text(value: Any) -> str:
    plain = _plain(value)
    if hasattr(plain, "get_data"):  # a long text may be a stream
        plain = plain.get_data()
    if isinstance(plain, bytes):
        plain = plain.decode("utf-16" if plain.startswith((b"\xfe\xff", b"\xff\xfe")) else "latin-1", "replace")
    if isinstance(plain, str):
        return " ".join(clean(plain).split())
    return str(plain) if isinstance(plain, int | float) else ""
