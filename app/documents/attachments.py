"""Files as part of a prompt: read with their limits, put behind the person's text, and found there again."""

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.documents.fences import fenced
from app.lines import one_line
from mlx_model.errors import GptossError

MOST_BYTES = 1_000_000
"""Of text, in UTF-8: some 250,000 tokens, twice what gpt-oss reads at once."""
MOST_PDF_BYTES = 50_000_000
"""Of a PDF file, most of which may be pictures."""

GAP, HEAD, TAIL = "\n\n", '[file "', "]"
QUOTE, NOTE = '"', "; "
STANDARD_INPUT = "standard input"


class AttachmentError(GptossError):
    """A file that can't be part of a prompt; the text names it and says why."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A name to show, which is one line without control characters, and the text that the model is given.

    `note` says in one line without double quotes what of the file is not in the text, or how it differs; the person and
    the model read the same.
    """

    name: str
    text: str
    note: str = ""

    @property
    def size(self) -> int:
        """Bytes of the text in UTF-8."""
        return len(self.text.encode("utf-8", "replace"))


def find(name: str, folder: Path) -> Path:
    """The file that a person means by `name` in `folder`. Raises AttachmentError.

    A relative name leads out of the folder only where the person wrote `..` themselves, never through a link.
    """
    label = one_line(name)
    try:
        path = Path(name).expanduser() if name.startswith("~") else Path(name)
        own_way = path.is_absolute() or ".." in path.parts
        inside = own_way or (folder / path).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # an unknown user's home, a loop of links, a NUL in the name
        raise AttachmentError(f"there is no file {label}") from None
    if not inside:
        raise AttachmentError(f"{label} leads out of this folder through a link; give its full path")
    return folder / path


def read(path: Path, name: str | None = None) -> Attachment:
    """Read a text, code or PDF file; `name` is what to call it. Raises AttachmentError.

    Of a PDF the text, the values of its form and the notes on its pages are read.
    """
    name = one_line(str(path) if name is None else name)
    return read_bytes(_bytes(path, name), name)


def read_bytes(data: bytes, name: str) -> Attachment:
    """As `read`: a file that was read already, or standard input, as far as MOST_PDF_BYTES and one more byte."""
    # Now: most prompts have no file, and what reads files takes time to load.
    from app.documents.decoding import NotText, decode
    from mlx_model.pdf import process as pdf_process
    from mlx_model.pdf.reading import PdfError, is_pdf

    try:
        if len(data) > MOST_PDF_BYTES:
            raise AttachmentError(f"{name} has more than {MOST_PDF_BYTES / 1e6:,.0f} MB; {_LIMIT}")
        if is_pdf(data):
            pdf = pdf_process.read_apart(data, MOST_BYTES)
            text, notes = pdf.text, pdf.notes
        else:
            decoded = decode(_checked(data, name))
            text, notes = decoded.text, decoded.notes
    except (PdfError, NotText) as error:
        raise AttachmentError(f"{name} {error}") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise AttachmentError(f"{name} is empty")
    attachment = Attachment(name, text, one_line("; ".join(notes)).replace(QUOTE, "'"))
    if attachment.size > MOST_BYTES:
        raise AttachmentError(_too_large(name, attachment.size))
    return attachment


def join(text: str, attachments: Sequence[Attachment]) -> str:
    """The prompt: the person's text, then each file in a fence that is longer than any in the file.

    So the model can tell where a file ends whatever stands in it, and so can `split`.
    """
    return (text + "".join(map(_block, attachments))).removeprefix("" if text else GAP)


def split(prompt: str) -> tuple[str, list[Attachment]]:
    """The person's text and the files of a prompt: what `join` took."""
    lead = GAP if prompt.startswith(HEAD) else ""
    whole = lead + prompt
    attachments: list[Attachment] = []
    end = len(whole)
    while (block := _block_before(whole, end)) is not None:
        end, attachment = block
        attachments.append(attachment)
    text, attachments = whole[len(lead) : end], attachments[::-1]
    # What a person has written themselves may look like it, with a fence that `join` would not have chosen.
    return (text, attachments) if (text or lead) and join(text, attachments) == prompt else (prompt, [])


def merge(prompts: Iterable[str]) -> str:
    """One prompt of several: their texts one after the other, then all their files."""
    parts = [split(prompt) for prompt in prompts]
    text = GAP.join(text for text, _ in parts if text.strip())
    return join(text, [attachment for _, attachments in parts for attachment in attachments])


def _block(attachment: Attachment) -> str:
    note = f"{NOTE}{attachment.note}" if attachment.note else ""
    return f"{GAP}{HEAD}{attachment.name}{QUOTE}{note}{TAIL}\n{fenced(attachment.text)}"


def _block_before(prompt: str, end: int) -> tuple[int, Attachment] | None:
    """Where the file begins that ends at `end`, and the file; None if there is none. Takes linear time."""
    closing = end
    while closing > 0 and prompt[closing - 1] == "`":
        closing -= 1
    fence = prompt[closing:end]
    closing -= 1  # the line break before it
    if len(fence) < 3 or not prompt.startswith("\n", max(0, closing)):
        return None
    opening = prompt.rfind(f"\n{fence}\n", 0, closing)  # a file has no such fence, so this one opened it
    start = prompt.rfind(GAP, 0, max(0, opening))
    line = prompt[start + len(GAP) : opening]
    if opening < 0 or start < 0 or "\n" in line or not (line.startswith(HEAD) and line.endswith(TAIL)):
        return None
    name, quote, note = line[len(HEAD) : -len(TAIL)].rpartition(QUOTE)  # a name may have quotes, a note has none
    if not quote or (note and (not note.startswith(NOTE) or note == NOTE)):
        return None
    return start, Attachment(name, prompt[opening + len(fence) + 2 : closing], note.removeprefix(NOTE))


def _bytes(path: Path, name: str) -> bytes:
    """The content, at most one byte more than MOST_PDF_BYTES, however the file grows meanwhile."""
    try:
        _check_kind(path.stat(), name)
        # The path may lead to a pipe by now, which would make `open` wait; some files of /proc make `read` wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            _check_kind(status, name)
            if status.st_size > MOST_PDF_BYTES:
                raise AttachmentError(_too_large(name, status.st_size))
            data: bytes | None = file.read(MOST_PDF_BYTES + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise AttachmentError(f"{name} is a link to a file that isn't there") from None
        raise AttachmentError(f"there is no file {name}") from None
    except (OSError, ValueError) as error:
        raise AttachmentError(f"{name} can't be read: {getattr(error, 'strerror', None) or error}") from None
    if data is None:
        raise AttachmentError(f"{name} can't be read: it has no data now, and reading on would wait")
    return data


def _check_kind(status: os.stat_result, name: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise AttachmentError(f"{name} is a folder; attach the files in it one by one")
    if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):  # reading would wait for a writer
        raise AttachmentError(f"{name} is a pipe, not an ordinary file; pipe it in: ... | gptoss-chat ask")
    if not stat.S_ISREG(status.st_mode):  # a device may have no end
        raise AttachmentError(f"{name} is a device, not an ordinary file")


def _checked(data: bytes, name: str) -> bytes:
    """The same bytes. Raises AttachmentError for a kind of file that is no text, or for more than can be text."""
    from app.documents.kinds import kind_of

    if (kind := kind_of(data)) is not None:
        raise AttachmentError(f"{name} is {kind}")
    if len(data) > 4 * MOST_BYTES:  # UTF-32 takes four bytes for one of ASCII
        raise AttachmentError(_too_large(name, len(data)))
    return data


_LIMIT = f"at most {MOST_BYTES / 1e6:,.0f} MB of text can be attached"


def _too_large(name: str, size: int) -> str:
    return f"{name} has {size / 1e6:,.1f} MB; {_LIMIT}"
