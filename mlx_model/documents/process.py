"""Parses a file in a process of its own, which is killed when it takes too long or too much memory.

A file of 50 MB can unpack to gigabytes, keep a parser busy for hours or crash it, and Python can't end a thread.
"""

import contextlib
import json
import resource
import subprocess
import sys
import threading
from dataclasses import asdict
from subprocess import DEVNULL, PIPE

from mlx_model.documents.document import Document, DocumentError, DocumentLocked, Heading, Page, Wanted
from mlx_model.documents.formats import Format
from mlx_model.documents.parsers import parse

MOST_SECONDS = 60
MOST_MEMORY = 3 << 30
"""Bytes of address space. macOS doesn't enforce it; there the limits of each parser remain."""
TOO_LARGE = "takes too much memory or time to read; attach fewer of its pages, as name:1-20"

# -P: a folder named "mlx_model" where the person happens to be must not be taken for this package.
READER = (sys.executable, "-P", "-m", "mlx_model.documents.process")

_readers: set["subprocess.Popen[bytes]"] = set()
_starting = threading.Lock()


def read_apart(data: bytes, kind: Format, wanted: Wanted) -> Document:
    """As `parse`. Raises DocumentError."""
    try:
        with _starting:  # none is missed by stop_readers
            reader = subprocess.Popen(READER, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
            _readers.add(reader)
    except OSError as error:
        raise DocumentError(f"can't be read: no process could be started for it: {error.strerror or error}") from None
    # The password must not be on a command line, which every user of the computer can see.
    request = json.dumps({"kind": kind, **asdict(wanted)}).encode()
    try:
        output, _ = reader.communicate(request + b"\n" + data, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        raise DocumentError(
            f"takes more than {MOST_SECONDS} s to read; attach fewer of its pages, as name:1-20"
        ) from None
    finally:
        reader.kill()  # nothing happens if it has ended
        reader.wait()
        _readers.discard(reader)
    try:
        answer = json.loads(output)
    except ValueError:  # killed for memory or CPU time, or the parser crashed
        raise DocumentError(TOO_LARGE) from None
    if "error" in answer:
        raise (DocumentLocked if answer["locked"] else DocumentError)(answer["error"])
    pages = tuple(Page(*page) for page in answer["pages"])
    headings = tuple(Heading(*heading) for heading in answer["headings"])
    return Document(pages, answer["unit"], answer["count"], tuple(answer["notes"]), headings)


def stop_readers() -> None:
    """End what is being read: whoever waits for it gets a DocumentError."""
    with _starting:
        for reader in list(_readers):
            reader.kill()


def main() -> None:
    """Read what is wanted in a line of JSON and the file behind it from standard input; write the document, or the
    error, as JSON on standard output."""
    for limit, most in ((resource.RLIMIT_CPU, MOST_SECONDS), (resource.RLIMIT_AS, MOST_MEMORY)):
        with contextlib.suppress(OSError, ValueError):  # a lower limit is set already, or the system has none
            resource.setrlimit(limit, (most, most))
    request = json.loads(sys.stdin.buffer.readline())
    wanted = Wanted(request["most"], tuple((a, b) for a, b in request["pages"]), request["password"])
    answer: dict[str, object]
    try:
        document = parse(sys.stdin.buffer.read(), Format(request["kind"]), wanted)
    except DocumentError as error:
        answer = {"error": str(error), "locked": isinstance(error, DocumentLocked)}
    except MemoryError:
        answer = {"error": TOO_LARGE, "locked": False}
    except Exception:  # a parser fails in any way on a damaged file
        answer = {"error": "can't be read: the file is damaged", "locked": False}
    else:
        answer = {
            "pages": [(page.number, page.text, page.label) for page in document.pages],
            "headings": [(each.title, each.level, each.page, each.line) for each in document.headings],
            "unit": document.unit,
            "count": document.count,
            "notes": document.notes,
        }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
