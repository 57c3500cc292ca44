"""E-books (EPUB): each file of the text, in the order of reading, is a page, called a chapter."""

from posixpath import dirname, join, normpath
from urllib.parse import unquote

from mlx_model.documents.decoding import NotText, decode
from mlx_model.documents.document import Document, DocumentError, Page, headings_in
from mlx_model.documents.markup import to_markdown
from mlx_model.documents.packed import DAMAGED, Packed, attribute, descendants


def read_book(data: bytes, most: int) -> Document:
    """No more chapters once there are `most` characters. Raises DocumentError."""
    file = Packed(data)
    container = file.xml("META-INF/container.xml")
    name = (
        next((attribute(each, "full-path") for each in descendants(container, "rootfile")), "")
        if container is not None
        else ""
    )
    package = file.xml(name)
    if package is None:
        raise DocumentError(DAMAGED)
    items = {attribute(each, "id"): attribute(each, "href") for each in descendants(package, "item")}
    order = [items.get(attribute(each, "idref"), "") for each in descendants(package, "itemref")]
    targets = [normpath(join(dirname(name), unquote(href.partition("#")[0]))) for href in order]
    if b"EncryptedData" in (locks := file.read("META-INF/encryption.xml") or b"") and any(
        target.encode() in locks for target in targets
    ):
        raise DocumentError("is locked by the shop that sold it; only its reader opens it")
    pages: list[Page] = []
    notes, length = list[str](), 0
    for number, target in enumerate(targets, 1):
        if length > most:
            notes.append(f"chapters {number:,} to {len(targets):,} were not read")
            break
        chapter = file.read(target)
        try:
            text = "" if chapter is None else to_markdown(decode(chapter).text)
        except NotText:
            chapter, text = None, ""
        if chapter is None:
            notes.append(f"chapter {number:,} is missing or damaged")
        length += len(text)
        if text:
            pages.append(Page(number, text, f"chapter {number}"))
    if not pages:
        raise DocumentError("has no text: its pages are pictures, or missing")
    return Document(tuple(pages), "chapter", len(targets), tuple(notes), headings_in(pages))
