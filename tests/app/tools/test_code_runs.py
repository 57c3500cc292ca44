"""Code blocks: what runs them, who is asked before, and the names of their files."""

import subprocess
import sys

import pytest

from app.tools import kits
from app.tools.code import PYTHON, SHELL, run_by, suffix_of
from app.tools.code_runs import CodeRunner
from app.tools.permission import Decision, Wish
from app.tools.verdict import Verdict
from mlx_model.errors import RequestError
from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import MOST_SHOWN, ROOM, Output, ToolResult
from tests.fixtures import fake_kit


class Tool(fake_kit.Tool):
    """Writes too much, and remembers what it was to run."""

    text = "42"
    error = False

    def __init__(self) -> None:
        super().__init__()
        self.codes: list[str] = []

    async def run(self, call: ToolCall, output: Output, room: int = ROOM) -> ToolResult:
        self.codes.append(call.arguments["code"])
        output("x" * (MOST_SHOWN + 1))
        return ToolResult(self.text, error=self.error)


class Kit(fake_kit.Kit):
    """Has that tool."""

    def __init__(self) -> None:
        super().__init__()
        self.tool = tool = Tool()
        self.tools = (tool,)
        self.codes = tool.codes


class Person:
    """Says yes or no."""

    def __init__(self, allowed: bool = True) -> None:
        self.allowed = allowed
        self.asked: list[str] = []

    async def __call__(self, call: ToolCall, wish: Wish) -> Verdict:
        self.asked.append(call.text)
        return Verdict(self.allowed)


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Kit]:
    """The kits that are made, by their conversations."""
    made: dict[str, Kit] = {}
    monkeypatch.setattr(kits, "kits_of", lambda names, conversation: [made.setdefault(conversation, Kit())])
    return made


def run_cell(code: str) -> tuple[str, int]:
    """What a cell writes, then whether it leaves variables, and its status."""
    look = "import sys\na = {}\ntry:\n    print(eval(sys.argv[1], a))\nfinally:\n    print('no names' * (len(a) == 1))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", look, code], capture_output=True, text=True, check=False)
    return done.stdout, done.returncode


async def run(runner: CodeRunner, code: str = "1", language: str = "python", conversation: str = "c1") -> str:
    """What was shown while it ran."""
    shown: list[str] = []
    await runner.run(conversation, code, language, run_by(language), shown.append)
    return "".join(shown)


async def test_confined_code_runs_without_a_question_and_its_output_is_bounded(
    made: dict[str, Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kit, "default", Decision.ALLOW)
    person = Person()
    runner = CodeRunner(person)
    assert len(await run(runner, "a = 1")) == MOST_SHOWN
    await run(runner, "a")
    assert made["c1"].codes == ["a = 1", "a"] and person.asked == []  # in one kit, which keeps the variables
    await run(runner, conversation="c2")
    assert (made["c1"].closed, made["c2"].closed) == (1, 0)
    await runner.close()
    await runner.close()
    assert made["c2"].closed == 1


async def test_code_that_is_not_confined_is_asked_about_each_time(made: dict[str, Kit]) -> None:
    person = Person()
    runner = CodeRunner(person)
    await run(runner, "a")
    await run(runner, "b")
    person.allowed = False
    with pytest.raises(RequestError, match="was not run"):
        await run(runner, "c")
    assert (person.asked, made["c1"].codes) == (["a", "b", "c"], ["a", "b"])
    with pytest.raises(RequestError, match="shell is run only where it is confined, and it is not confined here"):
        await run(runner, "ls", "bash")
    assert len(person.asked) == 3 and len(made["c1"].codes) == 2
    made["c1"].trouble = "there is no Python"
    with pytest.raises(RequestError, match="no code can be run here: there is no Python"):
        await run(runner)


@pytest.mark.parametrize("language", ["sh", "bash", "zsh"])  # one that is not here gives way to sh
async def test_shell_runs_within_pythons_confinement(
    language: str, made: dict[str, Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kit, "default", Decision.ALLOW)
    await run(CodeRunner(Person()), "echo \"it's {x}\" \\\n  '%d' | cat\nfalse", language)
    [code] = made["c1"].codes
    assert run_cell(code) == ("it's {x} %d\nno names\n", 1)


async def test_of_shell_that_succeeds_its_output_is_all_there_is(
    made: dict[str, Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kit, "default", Decision.ALLOW)
    await run(CodeRunner(Person()), "echo done", "sh")
    assert run_cell(made["c1"].codes[0]) == ("done\nno names\n", 0)
    await run(CodeRunner(Person()), "sleep 0.3; kill -INT $PPID; exec sleep 10", "sh")  # as a cell is stopped
    assert run_cell(made["c1"].codes[1]) == ("None\nno names\n", 0)


@pytest.mark.parametrize(("language", "by"), [("sh", SHELL), ("python", PYTHON)])
async def test_the_status_of_a_block_is_how_it_ended_and_no_output(
    language: str, by: str, made: dict[str, Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kit, "default", Decision.ALLOW)
    runner = CodeRunner(Person())

    async def ended(text: str, *, error: bool) -> tuple[str, bool, str]:
        monkeypatch.setattr(Tool, "text", text)
        monkeypatch.setattr(Tool, "error", error)
        result = await runner.run("c1", "ls x", language, by, lambda text: None)
        return result.text, result.error, result.outcome

    assert await ended("no such file\n[exit status 2]\n", error=True) == ("no such file", True, "exit status 2")
    assert await ended("[exit status 2]\ndone", error=True) == ("[exit status 2]\ndone", True, "")
    assert await ended("it prints\n[exit status 2]", error=False) == ("it prints\n[exit status 2]", False, "")


@pytest.mark.parametrize(
    ("language", "by", "suffix"),
    [
        ("python", PYTHON, "py"),
        ("Py", PYTHON, "py"),
        ("bash", SHELL, "sh"),
        ("shell", SHELL, "sh"),
        ("html", "", "html"),
        ("c++", "", "cpp"),
        ("rust", "", "rs"),
        ("console", "", "txt"),
        ("../../etc/x", "", "txt"),
        ("", "", "txt"),
    ],
)
def test_what_a_language_means(language: str, by: str, suffix: str) -> None:
    assert (run_by(language), suffix_of(language)) == (by, suffix)
