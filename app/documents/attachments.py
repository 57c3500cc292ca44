"""Files as part of a prompt: read with their limits, put behind the person's text, and found there again."""

import codecs
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.documents.fences import fenced
from app.documents.pdf import PdfError, pdf_text
from app.lines import one_line
from mlx_model.errors import GptossError

MOST_BYTES = 1_000_000
"""Of text, in UTF-8: some 250,000 tokens, twice what gpt-oss reads at once."""
MOST_PDF_BYTES = 50_000_000
"""Of a PDF file, most of which may be pictures."""

GAP, HEAD, TAIL = "\n\n", '[file "', '"]'
BINARY = "is a binary file; only text, code and PDF files can be attached"

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class AttachmentError(GptossError):
    """A file that can't be part of a prompt; the text names it and says why."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A name to show, which is one line without control characters, and the text that the model is given."""

    name: str
    text: str

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

    Text is UTF-8, or UTF-16 or UTF-32 with a byte order mark. Of a PDF only the text is read.
    """
    name = one_line(str(path) if name is None else name)
    data = _bytes(path, name)
    try:
        text = pdf_text(data, MOST_BYTES) if data.startswith(b"%PDF-") else _decoded(data, name)
    except PdfError as error:
        raise AttachmentError(f"{name} {error}") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise AttachmentError(f"{name} is empty")
    attachment = Attachment(name, text)
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
    text = whole[len(lead) : end]
    return (text, attachments[::-1]) if text or lead else (prompt, [])


def merge(prompts: Iterable[str]) -> str:
    """One prompt of several: their texts one after the other, then all their files."""
    parts = [split(prompt) for prompt in prompts]
    text = GAP.join(text for text, _ in parts if text.strip())
    return join(text, [attachment for _, attachments in parts for attachment in attachments])


def _block(attachment: Attachment) -> str:
    return f"{GAP}{HEAD}{attachment.name}{TAIL}\n{fenced(attachment.text)}"


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
    return start, Attachment(line[len(HEAD) : -len(TAIL)], prompt[opening + len(fence) + 2 : closing])


def _bytes(path: Path, name: str) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise AttachmentError(f"{name} is a folder; attach the files in it one by one")
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait, and a device has no end
            raise AttachmentError(f"{name} is not an ordinary file")
        if status.st_size > MOST_PDF_BYTES:
            raise AttachmentError(_too_large(name, status.st_size))
        with path.open("rb") as file:
            data = file.read(MOST_PDF_BYTES)
    except FileNotFoundError:
        raise AttachmentError(f"there is no file {name}") from None
    except (OSError, ValueError) as error:
        raise AttachmentError(f"{name} can't be read: {getattr(error, 'strerror', None) or error}") from None
    return data


def _decoded(data: bytes, name: str) -> str:
    encoding = next((encoding for bom, encoding in _BOMS if data.startswith(bom)), "utf-8")
    controls = sum(byte < 9 or 13 < byte < 27 for byte in data[:4096])
    if encoding.startswith("utf-8") and (b"\0" in data or 50 * controls > len(data[:4096])):
        raise AttachmentError(f"{name} {BINARY}")
    if len(data) > 4 * MOST_BYTES:
        raise AttachmentError(_too_large(name, len(data)))
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        encoding_name = encoding[:6].rstrip("-").upper()
        raise AttachmentError(
            f"{name} is not {encoding_name} (line {line}); if it is text in an older encoding, convert it first: "
            "iconv -f latin1 -t utf-8"
        ) from None


def _too_large(name: str, size: int) -> str:
    return f"{name} has {size / 1e6:,.1f} MB; at most {MOST_BYTES / 1e6:,.0f} MB of text can be attached"
