"""Python functions as tools: what the model is shown of them, and how its arguments are read."""

import asyncio
import dataclasses
import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict
from unittest.mock import ANY

import pytest

from mlx_model.errors import RequestError
from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import CHARACTERS_A_TOKEN, ROOM, ToolResult
from mlx_model.tools.functions import Function, Room
from mlx_model.tools.kinds import kind_of

MOST = CHARACTERS_A_TOKEN * ROOM


class Unit(enum.Enum):
    METRIC = "metric"
    IMPERIAL = "imperial"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Place(TypedDict):
    city: str
    country: NotRequired[str]


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Tree:
    inner: "Tree | None" = None


def weather(city: str, days: int = 3, unit: Literal["C", "F"] = "C", *, wind: bool = False) -> str:
    """The weather of the next days.

    Two lines are
    a paragraph.

    Args:
        city: where, as in
            "Oslo, Norway"
        days (int, optional): how many
        unknown: nothing

    Returns:
        text: what it will be
    """
    return f"{city} {days!r} {unit} {wind}"


def run(function: Callable[..., Any], arguments: dict[str, Any]) -> ToolResult:
    tool = Function(function)
    return asyncio.run(tool.run(ToolCall(f"functions.{tool.name}", "", arguments=arguments), lambda text: None))


def test_signature_and_docstring_are_declared() -> None:
    declared = Function(weather).declaration
    assert declared.text() == (
        "// The weather of the next days.\n"
        "// \n"
        "// Two lines are\n"
        "// a paragraph.\n"
        "type weather = (_: {\n"
        '// where, as in "Oslo, Norway"\n'
        "city: string,\n"
        "// how many\n"
        "days?: number, // default: 3\n"
        'unit?: "C" | "F", // default: C\n'
        "wind?: boolean, // default: false\n"
        "}) => any;\n"
    )


def test_a_docstring_of_sphinx_and_a_text_in_the_hint() -> None:
    def search(query: Annotated[str, "what to look for"], most=10, *rest: int, **others: int) -> None:  # type: ignore[no-untyped-def]
        """Searches.

        :param int most: how many
            at most
        :return: nothing
        """

    declared = Function(search).declaration
    assert declared.description == "Searches."
    assert declared.parameters == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "what to look for"},
            "most": {"description": "how many at most", "default": 10},
        },
        "required": ["query"],
        "additionalProperties": False,
    }


def test_a_function_without_arguments_or_docstring() -> None:
    def now():  # type: ignore[no-untyped-def]
        return 7

    assert Function(now).declaration.text() == "type now = () => any;\n"
    assert run(now, {}).text == "7"


KINDS: list[tuple[Any, dict[str, Any], list[tuple[Any, Any]], list[Any]]] = [
    (str, {"type": "string"}, [("a", "a"), (3, "3"), (2.5, "2.5")], [None, True, ["a"], {}]),
    (int, {"type": "integer"}, [(3, 3), ("3", 3), (" -3 ", -3), (3.0, 3), ("3.0", 3), ("1e3", 1000), (10**30, 10**30)],
     [True, None, "x", 2.5, "2.5", "", "1_0", "9" * 5000, [1], "1e999"]),
    (float, {"type": "number"}, [(3, 3.0), ("2.5", 2.5), (".5", 0.5), ("-1e-3", -0.001)], [True, None, "x", "nan"]),
    (bool, {"type": "boolean"}, [(True, True), ("false", False), ("True", True)], [1, 0, None, "yes"]),
    (None, {"type": "null"}, [(None, None), ("null", None)], [0, "", False]),
    (Any, {}, [(None, None), ([1], [1])], []),
    (list[int], {"type": "array", "items": {"type": "integer"}}, [([1, "2"], [1, 2]), (3, [3]), ([], [])], [["x"]]),
    (Sequence[str], {"type": "array", "items": {"type": "string"}}, [(["a"], ["a"]), ("a", ["a"])], [[None]]),
    (set[int], {"type": "array", "items": {"type": "integer"}}, [([1, 1], {1})], []),
    (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}, [([1, 2], (1, 2))], []),
    (tuple[int, str], {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False,
                       "minItems": 2},
     [(["1", "a"], (1, "a"))], [[1], 1, [1, "a", 2]]),
    (list, {"type": "array", "items": {}}, [([1, "a"], [1, "a"])], []),
    (dict, {"type": "object", "additionalProperties": True}, [({"a": 1}, {"a": 1})], ["a", None]),
    (Mapping[int, float], {"type": "object", "additionalProperties": {"type": "number"}}, [({"1": "2"}, {1: 2.0})],
     [{"a": 1}]),
    (Literal["a", "B"], {"type": "string", "enum": ["a", "B"]}, [("a", "a"), ("b", "B")], ["c", None, 1]),
    (Literal[1, True, "x"], {"enum": [1, True, "x"]}, [(1, 1), (True, True), ("X", "x")], [2]),
    (Unit, {"type": "string", "enum": ["metric", "imperial"]}, [("Metric", Unit.METRIC)], ["METER"]),
    (Level, {"type": "integer", "enum": [1, 2]}, [("2", Level.HIGH), (1, Level.LOW)], [3]),
    (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}, [(None, None), ("3", 3), ("null", None)], ["x"]),
    (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}, [("3", "3"), (3, 3)], [None]),
    (Place, {"type": "object", "properties": {"city": {"type": "string"}, "country": {"type": "string"}},
             "required": ["city"], "additionalProperties": False},
     [({"city": "Oslo"}, {"city": "Oslo"})], [{}, {"city": 1, "x": 1}, "Oslo"]),
    (Point, {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number", "default": 0.0},
             "tags": {"type": "array", "items": {"type": "string"}}}, "required": ["x"],
             "additionalProperties": False},
     [({"x": "1"}, Point(1.0)), ({"x": 1, "tags": "a"}, Point(1.0, tags=["a"]))], [{"y": 1}, {"x": {}}]),
    (Annotated[int, "n"], {"type": "integer"}, [("3", 3)], []),
]  # fmt: skip


@pytest.mark.parametrize(("hint", "schema", "read", "refused"), KINDS, ids=lambda value: str(value)[:30])
def test_kinds(hint: Any, schema: dict[str, Any], read: list[tuple[Any, Any]], refused: list[Any]) -> None:
    kind = kind_of(hint)
    assert kind.schema == schema
    for value, expected in read:
        found = kind.read(value, "n")
        assert (type(found), found) == (type(expected), expected)
    for value in refused:
        with pytest.raises(ValueError, match=r"^(n\S* must be|there is no argument n|the argument n)") as error:
            kind.read(value, "n")
        assert len(str(error.value)) < 160


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, "Error: the argument city is missing."),
        ({"city": "Oslo", "dayz": 3}, "Error: there is no argument dayz, only: city, days, unit, wind."),
        ({"city": "Oslo", "days": "many"}, "Error: days must be a whole number, not 'many'."),
        ({"city": "Oslo", "unit": "K"}, "Error: unit must be one of 'C', 'F', not 'K'."),
    ],
)
def test_arguments_that_do_not_fit_are_told_to_the_model(arguments: dict[str, Any], error: str) -> None:
    result = run(weather, arguments)
    assert result == ToolResult(f"{error} Call functions.weather again with arguments that fit.", error=True)


def test_arguments_are_cast_and_defaults_stay() -> None:
    assert run(weather, {"city": "Oslo", "days": "5"}).text == "Oslo 5 C False"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            {"a": [1, Point(1.0), {2, 1}], "b": Path("x")},
            '{"a": [1, {"x": 1.0, "y": 0.0, "tags": []}, [1, 2]], "b": "x"}',
        ),
        (None, "null"),
        ("ä", "ä"),
        ("a" * 50_000 + "z", f"{'a' * 11200}\n[... 34,001 characters left out ...]\n{'a' * 4799}z"),
        ("x" * MOST, "x" * MOST),
    ],
    ids=lambda value: str(value)[:20],
)
def test_results_are_json_unless_they_are_texts_and_long_ones_are_cut(value: Any, text: str) -> None:
    def given() -> Any:
        return value

    assert run(given, {}).text == text


async def test_a_coroutine_function_is_awaited_and_can_be_cancelled() -> None:
    started = asyncio.Event()

    async def wait(long: bool) -> str:
        started.set()
        if long:
            await asyncio.Event().wait()
        return "done"

    tool = Function(wait)
    call = ToolCall("functions.wait", "", arguments={"long": False})
    assert (await tool.run(call, print)).text == "done"
    started.clear()
    task = asyncio.create_task(tool.run(dataclasses.replace(call, arguments={"long": True}), print))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_function_runs_beside_the_event_loop() -> None:
    """It may block; and what it returns may have to be awaited."""
    loop = asyncio.get_running_loop()

    def blocking() -> Awaitable[int]:
        assert asyncio.run_coroutine_threadsafe(asyncio.sleep(0, 3), loop).result(120) == 3
        return asyncio.sleep(0, 4)

    result = await Function(blocking).run(ToolCall("functions.blocking", ""), print)
    assert (result.text, result.error) == ("4", False)


def test_a_result_of_the_functions_own_and_the_room_it_gets() -> None:
    def look(room: Room, path: str = "a") -> ToolResult:
        """Looks."""
        if path == "gone":
            raise RequestError("gone is not there.")
        return ToolResult("x" * (room + 1), files=(Path(path),), outcome=f"{room} characters")

    assert "room" not in Function(look).declaration.text()
    call = ToolCall("functions.look", "", arguments={"path": "b"})
    result = asyncio.run(Function(look).run(call, print, 10))
    assert result.text == "x" * 28 + "\n[... 1 characters left out ...]\n" + "x" * 12
    assert (result.files, result.outcome, result.error) == ((Path("b"),), "40 characters", False)
    assert run(look, {"room": 1}).error
    assert run(look, {"path": "gone"}) == ToolResult("Error: gone is not there.", error=True, seconds=ANY)


def fails() -> None:
    raise ValueError("no such city")


def leaves() -> None:
    raise SystemExit(3)


def circles() -> Any:
    circle: dict[str, Any] = {}
    circle["a"] = circle
    return circle


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (fails, "Error: ValueError: no such city"),
        (leaves, "Error: SystemExit: 3"),
        (circles, "Error: ValueError: Circular reference detected"),
    ],
)
def test_exceptions_are_told_to_the_model(function: Callable[..., Any], text: str) -> None:
    result = run(function, {})
    assert (result.text, result.error) == (text, True)


def positional(a: int, /) -> None: ...


def unknown(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


def opaque(path: Path) -> None: ...


def endless(tree: Tree) -> None: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (positional, "'positional' can't be a tool: it takes 'a' by its place"),
        (unknown, "'unknown' can't be a tool: its signature can't be read"),
        (opaque, "'opaque' can't be a tool: a value of the type Path can't come from a model"),
        (endless, "'endless' can't be a tool: a type that contains itself"),
        (lambda: 1, "'<lambda>' can't be the name of a function"),
        (max, "'max' can't be a tool: its signature can't be read"),
    ],
)
def test_functions_that_can_not_be_tools(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Function(function)
