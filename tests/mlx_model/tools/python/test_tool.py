"""The python tool as the model sees it: state, results, files. Not confined here."""

import asyncio
import importlib.util
from pathlib import Path

import pytest

from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import Tool
from mlx_model.tools.python import Python
from mlx_model.tools.python.result import MOST_CHARACTERS, MOST_SHOWN, NO_OUTPUT
from tests.mlx_model.tools.python.cells import run, text


async def test_cells_share_variables_and_echo_their_last_expression(python: Python) -> None:
    tool: Tool = python
    assert (tool.name, tool.declaration) == ("python", "python")
    assert await text(python, "x = 5\nprint('hi')\nx") == "hi\n5"
    assert await text(python, "_ + x") == "10"
    quiet = await run(python, "x;")
    assert (quiet.text, quiet.outcome) == (NO_OUTPUT, "no output")
    assert await text(python, "x = 6  # nothing is shown") == NO_OUTPUT
    assert await text(python, "None") == NO_OUTPUT
    assert await text(python, "import asyncio\nawait asyncio.sleep(0)\nx") == "6"
    assert await text(python, "exit()") == NO_OUTPUT
    assert await text(python, "def f(): return x\nf(), __name__") == "(6, '__main__')"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("exit(3)", "[exit status 3]"),
        ("import sys\nprint(1)\nsys.exit('no input')", "1\nno input\n[exit status 1]"),
        ("raise SystemExit(0)", NO_OUTPUT),
    ],
)
async def test_a_cell_that_leaves_with_a_status_has_failed(python: Python, code: str, says: str) -> None:
    await run(python, "x = 5")
    result = await run(python, code)
    assert (result.text, result.error) == (says, says != NO_OUTPUT)
    assert await text(python, "x") == "5"


async def test_output_is_in_the_order_of_time(python: Python) -> None:
    code = """
import subprocess, sys
print("one")
print("two", file=sys.stderr)
subprocess.run("echo three", shell=True)
raise ValueError("four")
"""
    lines = (await text(python, code)).splitlines()
    assert lines[:3] == ["one", "two", "three"]
    assert lines[-1] == "ValueError: four"


async def test_a_traceback_has_the_frames_of_cells_alone(python: Python) -> None:
    result = await run(python, "import json\ndef f():\n    return json.loads('{')\nf()")
    assert result.error
    files = [line for line in result.text.splitlines() if line.lstrip().startswith("File")]
    assert files == ['  File "<cell 1>", line 4, in <module>', '  File "<cell 1>", line 3, in f']
    assert "return json.loads('{')" in result.text  # the source of a cell
    assert result.outcome.startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert result.outcome in result.text
    code = "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('x') from e"
    assert "worker.py" not in await text(python, code)
    syntax = await text(python, "1 +")
    assert "worker.py" not in syntax
    assert syntax.endswith("SyntaxError: invalid syntax")


async def test_nobody_can_type_and_the_environment_is_empty(python: Python, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    assert (await text(python, "input('name? ')")).endswith("nobody can type into this notebook")
    code = "import os, sys\n'SECRET_TOKEN' in os.environ, os.environ['HOME'], sys.stdin.read()"
    assert "(False, '/" in await text(python, code)


async def test_files_of_a_cell_are_listed_and_links_are_not(python: Python, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    code = "open('a.txt', 'w').write('1')\nimport os\nos.mkdir('d')\nopen('d/b.csv', 'w').close()"
    assert (await run(python, code)).files == (folder / "a.txt", folder / "d" / "b.csv")
    assert (await run(python, "1")).files == ()
    assert (await run(python, "open('a.txt', 'a').write('2');")).files == (folder / "a.txt",)
    secret = tmp_path / "secret"
    secret.write_text("hush")
    assert (await run(python, f"os.symlink({str(secret)!r}, 'link'); os.mkfifo('pipe')")).files == ()
    assert (await run(python, f"os.symlink({str(tmp_path)!r}, 'folder')")).files == ()


async def test_pictures_are_saved_under_free_names_and_described(python: Python, tmp_path: Path) -> None:
    """With a stand-in for matplotlib: what the worker asks of it is this much."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "plot-1.png").write_bytes(b"mine")
    code = """
import sys, types
HEAD = b"\\x89PNG\\r\\n\\x1a\\n\\0\\0\\0\\rIHDR" + (640).to_bytes(4, "big") + (480).to_bytes(4, "big")
class Figure:
    def savefig(self, file, **how): file.write(HEAD)
class Picture:
    def _repr_png_(self): return HEAD
pyplot = types.ModuleType("matplotlib.pyplot")
figures = [1]
pyplot.get_fignums = lambda: figures
pyplot.figure = lambda number: Figure()
pyplot.close = lambda which: figures.clear()
sys.modules["matplotlib.pyplot"] = pyplot
Picture()
"""
    result = await run(python, code)
    assert result.text.splitlines() == [
        f"[figure {n}: 640x480 PNG, shown to the user, saved as plot-{n}.png]" for n in (2, 3)
    ]
    assert [path.name for path in result.files] == ["plot-2.png", "plot-3.png"]
    assert (tmp_path / "work" / "plot-1.png").read_bytes() == b"mine"
    assert "could not be drawn: ZeroDivisionError" in await text(python, "pyplot.get_fignums = lambda: 1 / 0")


async def test_with_ipython_its_syntax_and_display_are_there(python: Python) -> None:
    if importlib.util.find_spec("IPython") is None:
        pytest.skip("this Python has no IPython")
    assert await text(python, "x = 5\n!echo shell {x}") == "shell 5"
    assert await text(python, "%%bash\necho cell") == "cell"
    assert await text(python, "lines = !echo hi\nlines") == "['hi']"
    assert (await text(python, "%time 1 + 1")).splitlines()[-1] == "2"
    assert await text(python, "from IPython.display import display\ndisplay({'a': 1}, 2)") == "{'a': 1}\n2"
    assert await text(python, "%matplotlib inline") == NO_OUTPUT
    assert (await text(python, "exit")).startswith("Use exit()")
    assert (await text(python, "1 / 0")).splitlines()[1] == '  File "<cell 8>", line 1, in <module>'
    assert "UsageError: Line magic function `%nope` not found." in await text(python, "%nope")


async def test_long_output_keeps_its_start_and_its_end(python: Python) -> None:
    shown: list[str] = []
    result = await run(python, "print('start'); print('x' * 300_000); print('end')", shown)
    assert result.text.startswith("start\nxxx")
    assert result.text.endswith("xxx\nend")
    assert f"\n[... {300_011 - MOST_CHARACTERS:,} characters left out ...]\n" in result.text
    assert len(result.text) < MOST_CHARACTERS + 100
    assert len("".join(shown)) == MOST_SHOWN
    assert not result.error
    call = ToolCall("python", "print('x' * 300_000)")
    assert "[... 299,001 characters left out" in (await python.run(call, lambda text: None, 250)).text


async def test_output_comes_while_the_cell_runs(python: Python) -> None:
    shown = asyncio.Event()
    code = "import os, time\nprint('now')\nwhile not os.path.exists('go'): time.sleep(0.01)\n'gone on'"
    call = ToolCall("python", code, "analysis", {"code": code})
    running = asyncio.create_task(python.run(call, lambda text: shown.set()))
    await shown.wait()
    assert not running.done()
    Path(python.data, "go").touch()
    assert (await running).text == "now\n'gone on'"
