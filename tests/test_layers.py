"""Which room may import which, and which outside packages; no import circles; messages need no MLX."""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

from tests.fixtures import ROOT
from tests.fixtures.imports import imports_of, modules_imported, name_of

# Modules that stand beside the packages of their parent and form a room of their own: what every other room may use.
GROUND = {
    "metal ground": ("files", "formats"),
    "mlx_model ground": (
        "awake",
        "errors",
        "extras",
        "folders",
        "text",
        "tokens",
        "options",
        "events",
        "request",
        "checkpoint_files",
        "part",
    ),
    "app ground": ("adapters", "digests", "lines", "paths", "programs", "settings", "interrupt"),
}

MODEL_GROUND = ("metal ground", "mlx_model ground")
MESSAGES = (*MODEL_GROUND, "mlx_model.harmony")
MATHEMATICS = (
    *("metal", "metal.trust", "mlx_model.transformer", "mlx_model.cpu", "mlx_model.memory", "mlx_model.weights"),
)
MODEL = (
    *MESSAGES,
    *MATHEMATICS,
    "mlx_model.hub",
    "mlx_model.model",
    "mlx_model.generation",
    "mlx_model.documents",
    "mlx_model.lora",
    "mlx_model.distributed",
    "mlx_model.tools",
    "mlx_model.pro",
)
CHAT = ("app ground", "app.documents", "app.chat", *MESSAGES)
STORE = ("app.store", "app.store.exchange")
HUB = ("mlx_model.hub", "mlx_model.memory")
CITED = ("mlx_model.tools.citations", "mlx_model.tools.shown_pages")
READ = ("mlx_model.documents.document", "mlx_model.documents.quotes")
WITHOUT_SCREEN = (
    *CHAT,
    *STORE,
    "app.engine",
    "app.tools",
    "app.server",
    "app.remote",
    "app.dataset",
    "app.cli",
    *MODEL,
    "mlx_model",
)
SHOWN = ("app.tui.text", "app.tui.terminal", "app.tui.theme", "app.tui.widgets", "app.tui.screens")

# Room -> the rooms it may import. A room is a package, a module, or a name of GROUND; a module belongs to the room with
# the longest matching name. An edge that is not here fails: add it only with a reason, never to get a test green.
ALLOWED: dict[str, tuple[str, ...]] = {
    # Constants and files: what all three packages share, without MLX.
    "metal ground": (),
    # Kernels know nothing of models; which of them are used here is decided above them.
    "metal": ("metal ground",),
    "metal.trust": ("metal ground", "metal"),
    # Events and requests carry Harmony messages and function tools, and nothing else of a room above.
    "mlx_model ground": ("metal ground", "mlx_model.harmony.message", "mlx_model.harmony.tools"),
    # Harmony runs without MLX, in processes that hold no model.
    "mlx_model.harmony": MODEL_GROUND,
    # Bytes to text with places; a parser knows neither prompts nor pages of the web.
    "mlx_model.documents": MODEL_GROUND,
    # What a model may use, and the loop over it: the caller asks the model, here or in another process. Some pages
    # of the web are PDF files.
    "mlx_model.tools": (*MESSAGES, "mlx_model.documents"),
    # Counting and wording alone: the caller asks the model, here or in another process.
    "mlx_model.pro": MESSAGES,
    # The mathematics take arrays: no files, no budget.
    "mlx_model.transformer": ("metal", "metal.trust", *MODEL_GROUND),
    # The transformer again, for a CPU: what numba compiles.
    "mlx_model.cpu": ("mlx_model.transformer", *MODEL_GROUND),
    # A plan follows from the sizes in a config.
    "mlx_model.memory": ("mlx_model.transformer.config", *MODEL_GROUND),
    # From files to a transformer; how much to hold is decided by the caller, what the device offers by memory.
    "mlx_model.weights": ("metal", "mlx_model.transformer", "mlx_model.cpu", "mlx_model.memory", *MODEL_GROUND),
    # Files of the Hub; sizes say which are worth fetching here.
    "mlx_model.hub": ("mlx_model.memory", *MODEL_GROUND),
    # A name becomes a loaded model.
    "mlx_model.model": (*MATHEMATICS, "mlx_model.hub", *MESSAGES),
    # A loaded model answers requests; where its weights came from no longer matters.
    # What is elementwise in sampling is one launch (metal.fused).
    "mlx_model.generation": (
        "metal",
        "mlx_model.model",
        "mlx_model.transformer",
        "mlx_model.memory",
        "mlx_model.tools",
        "mlx_model.pro",
        *MESSAGES,
    ),
    # A model of which other computers have a part: each loads its own as a model, and gets its files as one.
    "mlx_model.distributed": (*MATHEMATICS, "mlx_model.hub", "mlx_model.model", *MESSAGES),
    # Training on a loaded model; what it has learnt shows in answers, and is written as weights are.
    "mlx_model.lora": (*MATHEMATICS, "mlx_model.model", "mlx_model.generation", *MESSAGES),
    # The package itself and `python -m mlx_model.generate`: what a script imports.
    "mlx_model": MODEL,
    "app ground": MODEL_GROUND,
    # What the person allows; the tools themselves know no app. A prompt may have files in it, which aren't the
    # person's words.
    "app.tools": ("app ground", "app.documents", "mlx_model.tools", *MESSAGES),
    "app.documents": ("app ground", "mlx_model.documents", *MODEL_GROUND),
    # What every chat shares; a turn is driven over the engine's protocol, and calls of tools are allowed or not.
    "app.chat": (
        *("app ground", "app.documents", "app.engine", "app.tools", "mlx_model.tools", "mlx_model.pro"),
        *MESSAGES,
    ),
    # Asks an engine about documents, item after item; it knows no chat.
    "app.dataset": ("app ground", "app.documents", "app.engine", "mlx_model.documents", *MESSAGES),
    # The one room of the chat that loads a model.
    "app.engine": ("app ground", *MODEL),
    "app.store": CHAT,
    "app.store.exchange": (*CHAT, *CITED, "app.store"),
    # HTTP over the engine and the loop; it knows no command and no screen. A client's schemas and calls are Harmony's.
    "app.server": ("app ground", "app.chat", "app.engine", "app.tools", "mlx_model.tools", *MESSAGES),
    # HTTP to a server, for a chat that has its engine there: what it says and asks is the engine's.
    "app.remote": ("app ground", "app.engine", *MESSAGES),
    # Subcommands may use everything but the screen; the chat alone opens it.
    "app.cli": WITHOUT_SCREEN,
    "app.cli.chat": (*WITHOUT_SCREEN, "app.tui"),
    "app.cli.main": (*WITHOUT_SCREEN, "app.cli.chat"),
    # Pure text and data for the screen; the first run words a plan and names a model, a list what is stored and found,
    # a call what a tool has written, an answer what the model has read, the reader a document.
    "app.tui.text": (*CHAT, *HUB, *CITED, *READ, "app.store", "app.tools"),
    "app.tui.terminal": ("app ground", *MODEL_GROUND),
    "app.tui.theme": (),
    # A widget shows data; it knows no concern of the chat (parts), no screen and not the app. The input ends the
    # reading of a file that it no longer waits for.
    "app.tui.widgets": (
        *("app.tui.text", "app.tui.terminal", "app.tui.theme", "app.store", "app.tools", "mlx_model.documents"),
        *(*CHAT, *HUB, *CITED),
    ),
    "app.tui.screens": ("app.tui.text", "app.tui.widgets", "app.tui.theme", "app ground", "app.chat", *MESSAGES),
    # A part is one concern of the chat; it reaches the screen through its desk, never through the app.
    "app.tui.parts": (*SHOWN, *STORE, "app.engine", "app.tools", "mlx_model.tools", *READ, *CHAT, *HUB),
    # The app and its actions compose and route.
    "app.tui": (*SHOWN, "app.tui.parts", *STORE, "app.engine", "app.tools", *CHAT),
    # The entry: the command line, and Ctrl-C before it is loaded.
    "app": ("app ground", "app.cli.main"),
    # The demo model: training writes the prompts that Harmony renders, evaluation asks the model.
    "assets": (),
    "assets.training": (*MESSAGES, "mlx_model"),
}

# Outside packages that belong to some rooms alone, with those rooms.
OUTSIDE = {
    "textual": ("app.tui",),
    # What is kept, and in memory the full-text index of a document that is searched.
    "sqlite3": ("app.store", "app.documents.passages"),
    "rich": ("app",),
    "curses": ("app",),
    "prompt_toolkit": ("app",),
    "multiprocessing": ("app",),
    # The SDK, which takes 1.5 s to load: one module has it, and is loaded when the first server is needed.
    "mcp": ("mlx_model.tools.mcp",),
    # Each loads in a tenth of a second or more, and is an extra's.
    "lxml": ("mlx_model.tools.browser",),
    "trafilatura": ("mlx_model.tools.browser",),
    "ddgs": ("mlx_model.tools.browser",),
    "tld": ("app.tools",),
    # Native code that reads untrusted files: loaded in a process of its own alone.
    "pypdfium2": ("mlx_model.documents",),
    "python_calamine": ("mlx_model.documents",),
    "msoffcrypto": ("mlx_model.documents",),
    # An extra's, and only for grammars; a script's own pydantic models are known by what they can do.
    "llguidance": ("mlx_model.generation",),
    "pydantic": (),
    "mlx": ("metal", "mlx_model", "app.cli", "app.engine"),
    # Only on a CPU: its compiler takes half a second to load.
    "numba": ("mlx_model.cpu",),
    "llvmlite": ("mlx_model.cpu",),
    # An extra's, which the chat does without.
    "starlette": ("app.server",),
    "uvicorn": ("app.server",),
    "torch": ("assets.training",),
}
# What shows text as data has no widgets: they belong to the rooms that place them.
WIDGETS = ("textual.app", "textual.screen", "textual.widget", "textual.widgets", "textual.containers")

# These load without MLX, so that a process that only passes messages on stays small.
WITHOUT_MLX = (
    *(f"{room.split()[0]}.{module}" for room, modules in GROUND.items() for module in modules),
    *(
        "mlx_model.harmony",
        "mlx_model.documents",
        "mlx_model.tools",
        "mlx_model.pro",
        "mlx_model.memory.plan",
        "mlx_model.hub",
    ),
    *("app.chat", "app.tools", "app.documents", "app.store", "app.tui", "app.engine.client", "app.engine.protocol"),
    "app.server",
    "app.remote",
    "app.dataset",
)

PACKAGES = tuple(dict.fromkeys(room.split()[0].split(".")[0] for room in ALLOWED))
SOURCES = {name_of(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}
TESTS = {name_of(path): path for path in sorted((ROOT / "tests").rglob("*.py"))}


def under(module: str, *packages: str) -> bool:
    """Whether the module is one of these packages or inside one."""
    return any(module == package or module.startswith(package + ".") for package in packages)


@cache
def room_of(module: str) -> str:
    """The room that a module belongs to."""
    for room, names in GROUND.items():
        if module in {f"{room.split()[0]}.{name}" for name in names}:
            return room
    return max((room for room in ALLOWED if under(module, room)), key=len)


def wrong_room(importer: str, imported: str) -> str | None:
    """What is wrong with an import between two of our modules, if anything."""
    room, other = room_of(importer), room_of(imported)
    if other == room or other in ALLOWED[room] or imported in ALLOWED[room]:
        return None
    return f"the room {room!r} may not import from {other!r}"


def wrong_outside(importer: str, imported: str) -> str | None:
    """What is wrong with importing a module that isn't in a room, if anything."""
    if under(imported, "tests"):
        return "the program knows nothing of its tests"
    for package, rooms in OUTSIDE.items():
        if under(imported, package) and not under(importer, *rooms):
            return f"{package} belongs to {', '.join(rooms)}"
    if under(importer, "app.tui.text") and under(imported, *WIDGETS):
        return "text and data for the screen are free of widgets"
    if under(importer, *WITHOUT_MLX) and under(imported, "mlx"):
        return "this must load without MLX"
    return None


def violations(path: Path, source: str, modules: Iterable[str] = SOURCES) -> Iterator[str]:
    """Every import of a source that breaks a rule, as file:line and the rule."""
    importer = name_of(path)
    modules = {*modules}
    ours = [(name, line, wrong_room(importer, name)) for name, line in modules_imported(path, source, modules)]
    others = [(name, line, wrong_outside(importer, name)) for name, line in imports_of(path, source)]
    for imported, line, rule in ours + others:
        if rule:
            yield f"{path.relative_to(ROOT)}:{line}: {importer} imports {imported}: {rule}"


def circles(graph: Mapping[str, Iterable[str]]) -> Iterator[list[str]]:
    """Import circles, each as the modules on the way from one back to itself; a circle found is opened to go on."""
    edges = {module: {*imported} for module, imported in graph.items()}
    while True:
        try:
            TopologicalSorter(edges).prepare()
        except CycleError as error:
            circle = error.args[1][::-1]
            yield circle
            edges[circle[0]].remove(circle[1])
        else:
            return


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    modules = [name for name in SOURCES if room_of(name) == room]
    assert modules, f"there is no {room!r}: take it out of the table"
    broken = [line for name in modules for line in violations(SOURCES[name], SOURCES[name].read_text("utf-8"))]
    assert not broken, "\n".join(broken)


def test_the_table_names_rooms_and_modules() -> None:
    named = {name for allowed in ALLOWED.values() for name in allowed}
    assert not named - {*ALLOWED, *SOURCES}


def test_no_import_circle() -> None:
    """Imports inside functions and under TYPE_CHECKING count: they hide a circle, they don't open it."""
    sources = SOURCES | TESTS
    graph = defaultdict[str, set[str]](set)
    for name, path in sources.items():
        found = modules_imported(path, path.read_text("utf-8"), sources)
        graph[name] = {imported for imported, _ in found if imported != name}
    ways = [" -> ".join(circle) for circle in circles(graph)]
    assert not ways, "\n".join(ways)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": ["b"], "b": ["c"], "c": []}, 0),
        ({"a": ["b"], "b": ["a"]}, 1),
        ({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["e"], "e": ["d", "a"]}, 2),
    ],
)
def test_circles_are_found(graph: dict[str, list[str]], expected: int) -> None:
    found = list(circles(graph))
    assert len(found) == expected
    for circle in found:
        assert circle[0] == circle[-1]
        assert all(other in graph[module] for module, other in pairwise(circle))


PACKAGE_FILES = [path for path in SOURCES.values() if path.name == "__init__.py"]


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=name_of)
def test_a_package_says_in_a_line_what_belongs_in_it(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert docstring, f"{path.relative_to(ROOT)} has no docstring"
    first, *rest = docstring.splitlines()
    assert first.endswith("."), first
    assert not rest or not rest[0], "the line that says what belongs in the room stands alone"


@pytest.mark.parametrize(
    ("file", "source", "caught"),
    [
        ("metal/launch.py", "import mlx_model", True),
        ("metal/launch.py", "import mlx.core as mx", False),
        ("metal/dense.py", "from metal.trust import select", True),
        ("metal/dense.py", "from . import launch", False),
        ("mlx_model/model.py", "def f():\n    from app import cli", True),
        ("mlx_model/model.py", "from mlx_model.weights import loader", False),
        ("mlx_model/model.py", "import textual.app", True),
        ("mlx_model/events.py", "import mlx.core", True),
        ("mlx_model/events.py", "from mlx_model.harmony.message import Message", False),
        ("mlx_model/events.py", "from mlx_model.harmony import parse", True),
        ("mlx_model/harmony/parse.py", "from .. import events", False),
        ("mlx_model/harmony/parse.py", "from ...app import cli", True),
        ("mlx_model/hub/names.py", "import sqlite3", True),
        ("mlx_model/transformer/blocks.py", "from mlx_model.memory import device", True),
        ("mlx_model/transformer/blocks.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
         "    from mlx_model.weights.loader import load_transformer", True),
        ("mlx_model/generation/session.py", "from mlx_model import Model", True),
        ("app/cli/ask.py", "from textual.app import App", True),
        ("app/cli/ask.py", "from tests import fixtures", True),
        ("app/cli/ask.py", "import mlx_model.generate", False),
        ("app/cli/ask.py", "from app.tui.app import ChatApp", True),
        ("app/cli/chat.py", "from app.tui.app import ChatApp", False),
        ("app/tui/app.py", "from textual.app import App", False),
        ("app/tui/text/days.py", "from textual.widgets import Static", True),
        ("app/tui/text/days.py", "from textual.content import Content", False),
        ("app/tui/parts/library.py", "def f():\n    from app.tui.app import ChatApp", True),
        ("app/tui/widgets/sidebar.py", "from app.tui.parts import library", True),
        ("app/chat/footer.py", "from app.store.store import Store", True),
    ],
)  # fmt: skip
def test_the_rules_catch(file: str, source: str, caught: bool) -> None:
    assert any(violations(ROOT / file, source)) == caught


def test_what_passes_messages_on_loads_without_mlx() -> None:
    """At run time, with everything they import in turn."""
    modules = [name for name in SOURCES if under(name, *WITHOUT_MLX)]
    assert {"mlx_model.harmony.message", "mlx_model.events", "app.tui.app"} <= {*modules}
    program = "\n".join(["import sys", *(f"import {module}" for module in modules), "print(sorted(sys.modules))"])
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = ast.literal_eval(result.stdout)
    assert "mlx_model.events" in loaded
    assert not [module for module in loaded if under(module, "mlx", "numpy")]
