"""Reads a PDF file in a process of its own, which is killed when it takes too long or too much memory.

A file of 50 MB can unpack to gigabytes or keep a parser busy for hours, and Python can't end a thread.
"""

import contextlib
import json
import resource
import subprocess
import sys
from subprocess import DEVNULL, PIPE

from mlx_model.pdf.reading import DAMAGED, TOO_LARGE, PdfError, PdfText, read_pdf

MOST_SECONDS = 60
MOST_MEMORY = 3 << 30
"""Bytes of address space. macOS doesn't enforce it; there pypdf's own limits for each stream remain."""

# -P: a folder named "mlx_model" where the person happens to be must not be taken for this package.
READER = (sys.executable, "-P", "-m", "mlx_model.pdf.process")


_readers: set["subprocess.Popen[bytes]"] = set()


def read_apart(data: bytes, most: int) -> PdfText:
    """As `read_pdf`. Raises PdfError."""
    try:
        reader = subprocess.Popen([*READER, str(most)], stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
    except OSError as error:
        raise PdfError(f"can't be read: no process could be started for it: {error.strerror or error}") from None
    _readers.add(reader)
    try:
        output, _ = reader.communicate(data, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        raise PdfError(f"takes more than {MOST_SECONDS} s to read; attach fewer of its pages") from None
    finally:
        reader.kill()  # nothing happens if it has ended
        reader.wait()
        _readers.discard(reader)
    try:
        answer = json.loads(output)
    except ValueError:  # killed for memory or CPU time, or the parser recursed until Python itself failed
        raise PdfError(TOO_LARGE) from None
    if "error" in answer:
        raise PdfError(answer["error"])
    return PdfText(answer["text"], tuple(answer["notes"]), tuple(answer["pages"]))


def stop_readers() -> None:
    """End what is being read: whoever waits for it gets a PdfError."""
    for reader in list(_readers):
        reader.kill()


def main() -> None:
    """Read standard input, and write the text or the error as JSON on standard output."""
    for limit, most in ((resource.RLIMIT_CPU, MOST_SECONDS), (resource.RLIMIT_AS, MOST_MEMORY)):
        with contextlib.suppress(OSError, ValueError):  # a lower limit is set already, or the system has none
            resource.setrlimit(limit, (most, most))
    try:
        result = read_pdf(sys.stdin.buffer.read(), int(sys.argv[1]))
        answer: dict[str, object] = {"text": result.text, "notes": result.notes, "pages": result.pages}
    except PdfError as error:
        answer = {"error": str(error) or DAMAGED}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
