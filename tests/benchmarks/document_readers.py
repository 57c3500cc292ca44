"""One file read by one program, for `tests.benchmarks.documents`: prints its pages, CPU seconds and memory as JSON.

Runs by any Python that has the program: `python document_readers.py READER FILE`.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path


def ours(path: Path) -> list[tuple[int, str]]:
    """This program, with its parsers in this process, so that they are measured too."""
    from mlx_model.documents.document import Wanted
    from mlx_model.documents.formats import format_of
    from mlx_model.documents.parsers import parse

    data = path.read_bytes()
    kind = format_of(data, path.name)
    assert kind is not None
    return [(page.number, page.text) for page in parse(data, kind, Wanted(20_000_000)).pages]


def pypdf(path: Path) -> list[tuple[int, str]]:
    from pypdf import PdfReader

    return list(enumerate((page.extract_text() for page in PdfReader(path).pages), 1))


def pdfplumber(path: Path) -> list[tuple[int, str]]:
    import pdfplumber as library

    with library.open(path) as file:
        return list(enumerate((page.extract_text() or "" for page in file.pages), 1))


def markitdown(path: Path) -> list[tuple[int, str]]:
    """It has no pages."""
    from markitdown import MarkItDown

    return [(0, MarkItDown().convert(str(path)).text_content)]


READERS: dict[str, Callable[[Path], list[tuple[int, str]]]] = {
    "ours": ours,
    "pypdf": pypdf,
    "pdfplumber": pdfplumber,
    "markitdown": markitdown,
}


def peak_mb() -> float:
    """The most memory that this process had; Linux' own count of it begins with that of the parent."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(each for each in status.read_text().splitlines() if each.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def main() -> None:
    """Read the file of the command line."""
    start = time.process_time()
    try:
        answer: dict[str, object] = {"pages": READERS[sys.argv[1]](Path(sys.argv[2]))}
    except ImportError as error:
        answer = {"missing": str(error)}
    except Exception as error:  # it can't read this one
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer | {"cpu_s": time.process_time() - start, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
