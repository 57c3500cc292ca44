"""The texts of documents that are read by parts: kept beside the conversation, found again where it goes on."""

import shutil
from contextlib import suppress
from pathlib import Path

from app.chat.by_parts import ReadingByParts
from app.documents import kept_texts
from app.documents.attachments import AttachmentError
from app.documents.files import attach
from app.documents.notes import notes_of
from app.paths import texts_folder
from mlx_model.errors import RequestError


def find_texts(reading: ReadingByParts, folder: Path) -> None:
    """A message that was set aside may be sent by another process than the one that read its files."""
    for notes in map(notes_of, reading.attachments):
        if notes is not None and not notes.is_over and kept_texts.text_of(notes.digest) is None:
            with suppress(AttachmentError):  # what is missing is said by the plan
                attach(notes.name, folder)


def forget_texts(conversation: str) -> None:
    """Take from the disk what was kept for a conversation, of which nothing is left."""
    shutil.rmtree(texts_folder(conversation), ignore_errors=True)


def keep_texts(reading: ReadingByParts, conversation: str) -> None:
    """Have what is read on the disk. Raises RequestError."""
    try:
        for digest in reading.digests:
            kept_texts.write(texts_folder(conversation), digest)
    except OSError as error:
        raise RequestError(f"the text that is to be read can't be kept: {error.strerror or error}") from None
