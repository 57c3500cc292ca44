"""Files that are zip files of XML: opened with their size bounded, and parsed without anything that could grow."""

import re
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from posixpath import dirname, join, normpath
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from mlx_model.documents.document import DocumentError

MOST_UNPACKED = 300_000_000
"""Bytes of all files within."""
MOST_OF_ONE = 100_000_000
MOST_DEPTH = 200
"""Of elements in elements."""

DAMAGED = "can't be read: the file is damaged"
TOO_LARGE = "unpacks to too much; attach a part of it, saved as a file of its own"
RELATIONSHIPS = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"


class Packed:
    """A zip file, by the names of the files within."""

    def __init__(self, data: bytes) -> None:
        """Raises DocumentError for a file that is damaged or locked, or unpacks to too much."""
        try:
            self._file = zipfile.ZipFile(BytesIO(data))
            infos = self._file.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            raise DocumentError(DAMAGED) from None
        if sum(info.file_size for info in infos) > MOST_UNPACKED:
            raise DocumentError(TOO_LARGE)
        self.names = [info.filename for info in infos]

    def read(self, name: str) -> bytes | None:
        """The file of this name, None if there is none. Raises DocumentError for a damaged one."""
        try:
            with self._file.open(name) as file:
                data = file.read(MOST_OF_ONE + 1)
        except KeyError:
            return None
        except RuntimeError:
            raise DocumentError("is locked by a password; save a copy without one") from None
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError):
            raise DocumentError(DAMAGED) from None
        if len(data) > MOST_OF_ONE:
            raise DocumentError(TOO_LARGE)
        return data

    def xml(self, name: str) -> Element | None:
        """The root of an XML file within, None if there is none. Raises DocumentError, likewise."""
        data = self.read(name)
        return None if data is None else parse_xml(data)

    def relations(self, name: str) -> dict[str, tuple[str, str]]:
        """What an Office file within refers to: for each id the kind of relation, and the name of the file."""
        root = self.xml(join(dirname(name), "_rels", f"{name.rpartition('/')[2]}.rels"))
        return {
            each.get("Id", ""): (
                each.get("Type", "").rpartition("/")[2],
                normpath(join("/", dirname(name), each.get("Target", ""))).lstrip("/"),
            )
            for each in (root if root is not None else ())
            if each.get("TargetMode") != "External"
        }


def parse_xml(data: bytes) -> Element:
    """The root element, whose names are `{namespace}name`. Raises DocumentError for what is no XML, and for any
    declaration of a document type: entities could grow without end, and none of these formats has them."""
    builder, parser = TreeBuilder(), expat.ParserCreate(namespace_separator="}")
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MOST_DEPTH:
            raise DocumentError("can't be read: its XML is nested too deep")
        builder.start(_name(name), {_name(key): value for key, value in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_name(name))

    def refuse(*_: object) -> NoReturn:
        raise DocumentError("can't be read: its XML declares entities, which no such file needs")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    parser.buffer_text = True
    try:
        parser.Parse(data, True)
        return builder.close()
    except expat.ExpatError:
        raise DocumentError(DAMAGED) from None


def _name(name: str) -> str:
    return f"{{{name}" if "}" in name else name


def local(element: Element) -> str:
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def attribute(element: Element, name: str) -> str:
    """The value of an attribute by its name without the namespace, "" if there is none."""
    return next((value for key, value in element.items() if key.rpartition("}")[2] == name), "")


def descendants(element: Element, name: str) -> Iterator[Element]:
    """All elements within of this local name."""
    return (each for each in element.iter() if local(each) == name)


def markdown_table(rows: list[list[str]]) -> list[str]:
    """The lines of a table: the first row is its head. Cells are on one line, and short rows are filled up."""
    rows = [[re.sub(r"\s+", " ", cell).strip().replace("|", "\\|") for cell in row] for row in rows if row]
    rows = [row for row in rows if any(row)]
    if not rows:
        return []
    width = max(map(len, rows))
    lines = ["| " + " | ".join([*row, *[""] * (width - len(row))]) + " |" for row in rows]
    return [lines[0], "|" + " --- |" * width, *lines[1:]]
