"""The text of a PDF file."""

import logging
from io import BytesIO

from mlx_model.errors import GptossError


class PdfError(GptossError):
    """The text can't be extracted; the message continues a sentence that begins with the file's name."""


def pdf_text(data: bytes, most: int) -> str:
    """The text of all pages, with a blank line between them; no more pages once there are `most` characters.

    Raises PdfError for a file that is damaged or locked, or has no text, as a scan.
    """
    from pypdf import PdfReader  # only now: it takes a tenth of a second to load
    from pypdf.errors import FileNotDecryptedError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it logs each flaw of a file, to the terminal
    pages: list[str] = []
    try:
        reader = PdfReader(BytesIO(data))
        for page in reader.pages:
            pages.append(page.extract_text().strip())
            if sum(map(len, pages)) > most:
                break
    except FileNotDecryptedError:
        raise PdfError("is locked by a password; save a copy without a password and attach that") from None
    except Exception:  # the parser fails in any way on a damaged file
        raise PdfError("can't be read: the PDF is damaged, or the file is not a PDF; nothing was attached") from None
    if not any(pages):
        raise PdfError("has no text: it is probably a scan, which needs OCR first")
    return "\n\n".join(filter(None, pages))
