"""What the documents name exists: files, anchors, targets of make, modules, commands; and none is left out."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from app.chat.commands import COMMANDS
from app.cli.main import SUBCOMMANDS
from tests.fixtures import ROOT

DOCUMENTS = sorted(path.name for path in ROOT.glob("*.md"))
FOR_DEVELOPERS = ("ARCHITECTURE.md", "BENCHMARKS.md", "CONTRIBUTING.md")
PACKAGES = ("app", "metal", "mlx_model", "tests", "assets")
WIDTH = 140

FILE = re.compile(r"[\w./-]+\.(py|metal|h|md|toml|npz|yml)|(" + "|".join(PACKAGES) + r")(/[\w.-]+)*/?")
IDENTIFIER = re.compile(r"_?[A-Za-z]\w*(\.\w+)*(\(.*\))?")
OF_OTHERS = {"GptOssForCausalLM"}


def text_of(document: str) -> str:
    return (ROOT / document).read_text()


def prose(document: str) -> Iterator[tuple[int, str]]:
    """The lines outside of code blocks, numbered."""
    in_code = False
    for number, line in enumerate(text_of(document).splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code:
            yield number, line


def anchors(document: str) -> set[str]:
    """The anchors that GitHub makes of headings."""
    headings = (line.lstrip("#").strip() for _, line in prose(document) if line.startswith("#"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code_spans(document: str) -> Iterator[tuple[int, str, str]]:
    """Each text in backticks, with its line and the last heading that names rooms, within a chapter."""
    heading = ""
    for number, line in prose(document):
        if line.startswith("## ") or (line.startswith("#") and "`" in line):
            heading = line
        yield from ((number, heading, span) for span in re.findall(r"`([^`]+)`", line))


def is_there(name: str, heading: str) -> bool:
    """Whether a path exists, seen from the top, from a room that the heading names, or from the package around it.

    Where the heading names none, a mere file name may stand anywhere.
    """
    rooms = [ROOT / room for room in re.findall(r"`([\w/]+)`", heading)]
    if not rooms and "/" not in name:
        return any(path.name == name for path in files())
    return any((folder / name).exists() for folder in (ROOT, *rooms, *(room.parent for room in rooms)))


@cache
def files() -> list[Path]:
    """Those of the packages, and those beside them."""
    return [*ROOT.glob("*"), *(path for package in PACKAGES for path in (ROOT / package).rglob("*"))]


@cache
def words() -> frozenset[str]:
    """Every word of the source, tests and the Makefile included."""
    found: set[str] = set()
    for path in files():
        if path.suffix in {".py", ".h"} and path != Path(__file__):
            found.update(re.findall(r"\w+", path.read_text()))
    return frozenset(found)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    for file, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", text_of(document)):
        if "issues/new" in file:
            continue
        assert (ROOT / file).exists(), file
        assert not anchor or anchor in anchors(file or document), (file, anchor)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_line_is_too_long_to_compare(document: str) -> None:
    assert [number for number, line in prose(document) if len(line) > WIDTH and not line.startswith("|")] == []


@pytest.mark.parametrize("document", FOR_DEVELOPERS)
def test_files_targets_and_modules_exist(document: str) -> None:
    targets = set(re.findall(r"^([\w-]+)(?: [\w-]+)*:", (ROOT / "Makefile").read_text(), re.MULTILINE))
    missing = []
    for number, heading, span in code_spans(document):
        if FILE.fullmatch(span) and span not in OF_OTHERS and "NAME" not in span and not is_there(span, heading):
            missing.append((number, span))
        missing += [(number, span) for target in re.findall(r"\bmake ([a-z][\w-]*)", span) if target not in targets]
        for module in re.findall(r"-m ((?:tests|app|mlx_model|assets)[\w.]*)", span):
            path = ROOT / module.replace(".", "/")
            if not (path.is_dir() or path.with_suffix(".py").exists()):
                missing.append((number, span))
        missing += [(number, part) for part in re.findall(r"\btests/[\w/.]+", span) if not (ROOT / part).exists()]
    assert missing == []


def test_the_way_of_a_message_names_files() -> None:
    (way,) = re.findall(r"```\nEnter\n(.*?)```", text_of("ARCHITECTURE.md"), re.DOTALL)
    named = [line.split()[0] for line in way.splitlines() if not line.startswith("-")]
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_names_of_the_architecture_are_in_the_source() -> None:
    names = (span for _, _, span in code_spans("ARCHITECTURE.md") if not FILE.fullmatch(span))
    parts = {
        part
        for span in names
        if span not in OF_OTHERS and IDENTIFIER.fullmatch(span)
        for part in span.split("(")[0].split(".")
    }
    assert len(parts) > 5
    assert sorted(parts - words()) == []


def test_every_room_is_in_the_architecture() -> None:
    """The rooms of the two packages, and those of metal, each in the table."""
    rooms = {
        path.parent.relative_to(ROOT).as_posix()
        for package in ("app", "mlx_model", "metal")
        for path in (ROOT / package).glob("*/__init__.py")
    }
    table = {
        room for line in text_of("ARCHITECTURE.md").splitlines() if line.startswith("| `") for room in room_names(line)
    }
    assert sorted(rooms - table) == []


def room_names(line: str) -> list[str]:
    """The packages that a row of the table begins with."""
    return re.findall(r"`([\w/]+)`", line.split("|")[1])


def test_the_guide_has_every_command_and_key_of_the_chat() -> None:
    guide = text_of("GUIDE.md")
    keys = {key.replace("^", "Ctrl+") for each in COMMANDS if (key := each.shown_key)}
    slashes = {each.slash for each in COMMANDS if each.slash}
    assert len(keys) > 10 and len(slashes) > 10
    assert sorted(key for key in keys if not re.search(rf"\b{re.escape(key)}\b", guide)) == []
    assert sorted(slash for slash in slashes if f"`/{slash}" not in guide) == []


def test_the_guide_has_every_subcommand() -> None:
    guide = text_of("GUIDE.md")
    names = {name for names in SUBCOMMANDS.values() for name in names} - {"chat"}  # that is what opens without one
    assert sorted(name for name in names if not re.search(rf"`(gptoss-chat )?{name}\b", guide)) == []
