"""Random conversations for hypothesis: messages, tools and schemas, and the same in openai-harmony's own terms."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import openai_harmony as oh
from hypothesis import strategies as st

from mlx_model.harmony.message import Effort, Message, Role, assistant, user
from mlx_model.harmony.prompt import developer_message, system_message
from mlx_model.harmony.schema import normalise
from mlx_model.harmony.tools import FunctionTool, Namespace
from mlx_model.harmony.typescript import typescript
from tests.vocabulary import SPECIAL, oracle

# Schemas of everything the library renders sensibly: one line to a comment, no quotes inside quotes, null said once.
LINE = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=12)
LITERAL = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"], exclude_characters='"'), max_size=8
)
KEY = st.sampled_from(["a", "b", "city", "user_id", "x-y", "日本", "$ref-like", "<|end|>", "type", "null"])
NUMBER = st.integers(-(2**53), 2**53) | st.sampled_from(
    [0.0, -0.0, 0.5, 1.0, 1e-5, 1.5e-7, 1e15, 1e16, 1e100, 123456.75]
)
VALUE = st.recursive(
    LITERAL | NUMBER | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEY, inner, max_size=2),
    max_leaves=3,
)
TOLD = {
    "title": LINE,
    "description": LINE,
    "default": VALUE,
    "nullable": st.booleans(),
    "examples": st.lists(LITERAL, max_size=2),
}
IGNORED = {"minimum": st.just(1), "format": st.just("date"), "x-custom": VALUE}
SIMPLE = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "number", "integer", "boolean"])}, optional=TOLD | IGNORED
    ),
    st.fixed_dictionaries(
        {"type": st.just("string"), "enum": st.lists(LITERAL, min_size=1, max_size=3)}, optional=TOLD
    ),
    st.fixed_dictionaries(
        {"type": st.lists(st.sampled_from(["string", "integer", "number", "null"]), min_size=1, max_size=3)},
        optional=TOLD,
    ),
    st.fixed_dictionaries({}, optional=TOLD),
)


def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(KEY, inner, max_size=3)
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object")},
            optional={**TOLD, "properties": properties, "required": st.lists(KEY, max_size=3)},
        ),
        st.fixed_dictionaries({"type": st.just("array")}, optional={**TOLD, "items": inner}),
        st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=3)}, optional=TOLD),
    )


PLAIN = st.recursive(SIMPLE, larger, max_leaves=6)


def without_loss(schema: Any) -> Any:
    """Leaves out null where the library does: in items, and where the type has the word somewhere in it already."""
    if isinstance(schema, list):
        return [without_loss(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    clean = {key: without_loss(value) for key, value in schema.items()}
    if isinstance(clean.get("items"), dict):
        clean["items"].pop("nullable", None)
    if clean.get("nullable") is True and "null" in typescript(normalise(clean)):
        del clean["nullable"]
    return clean


SENSIBLE_SCHEMA = PLAIN.map(without_loss)

# Words that look like markup, and any text; the library takes no lone surrogates.
TEXT = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.lists(st.sampled_from([*SPECIAL.values(), "assistant", "final", " to=", "\n", "x"]), max_size=8).map("".join),
    st.sampled_from(["", "Hello!", '{"a": 1}', "💖 é 日本", "\n\n", " ", "I'm  here\r\n"]),
)
TOOL = st.sampled_from(["functions.get_weather", "functions.f", "browser.search", "python", "functions.mcp__a-b.c"])
TYPE = st.sampled_from([None, "json", "code", "<|constrain|>json", "<|constrain|>"])
CHANNEL = st.sampled_from(["analysis", "commentary", "final"])
MESSAGES = st.lists(
    st.one_of(
        st.builds(user, TEXT),
        st.builds(Message, st.just(Role.USER), TEXT, st.sampled_from(["bob", "Ann Lee"])),
        st.builds(Message, st.just(Role.DEVELOPER), TEXT),
        st.builds(assistant, TEXT, CHANNEL),
        st.builds(Message, st.just(Role.ASSISTANT), TEXT, st.none(), CHANNEL, TOOL | st.just("all"), TYPE),
        st.builds(Message, st.just(Role.TOOL), TEXT, TOOL, CHANNEL, st.sampled_from([None, "assistant"]), TYPE),
    ),
    max_size=6,
)
FUNCTION = st.builds(
    FunctionTool,
    st.sampled_from(["get_weather", "f", "mcp__a-b.c", "日本", "Z"]),
    TEXT.map(lambda text: "\n".join(text.splitlines())),  # the library breaks lines at line feeds only
    st.none() | SENSIBLE_SCHEMA.filter(bool),
)
FUNCTIONS = st.lists(FUNCTION, max_size=3, unique_by=lambda function: function.name).map(tuple)


@dataclass(frozen=True)
class Opening:
    """What the first two messages of a conversation say."""

    effort: Effort
    date: str | None
    builtin: tuple[str, ...]
    instructions: str | None
    functions: tuple[FunctionTool, ...]
    others: tuple[Namespace, ...]

    def messages(self) -> list[Message]:
        """The two messages as the project makes them."""
        system = system_message(self.effort, date=self.date, tools=self.builtin, functions=bool(self.functions))
        return [system, developer_message(self.instructions, self.functions, namespaces=self.others)]

    def library_json(self) -> list[dict[str, Any]]:
        """The same for the library."""
        system = oh.SystemContent.new().with_reasoning_effort(oh.ReasoningEffort[self.effort.name])
        system.conversation_start_date = self.date
        if "browser" in self.builtin:
            system = system.with_browser_tool()
        if "python" in self.builtin:
            system = system.with_python_tool()
        developer: dict[str, Any] = {"type": "developer_content"}
        if self.instructions is not None:
            developer["instructions"] = self.instructions
        spaces = [*self.others, *([Namespace("functions", self.functions)] if self.functions else [])]
        developer["tools"] = {space.name: library_namespace(space) for space in spaces}
        return [
            {"role": "system", "content": [system.to_dict()]},
            {"role": "developer", "content": [developer]},
        ]


OPENING = st.builds(
    Opening,
    st.sampled_from(Effort),
    st.sampled_from([None, "2026-11-21"]),
    st.sampled_from([(), ("browser",), ("python",), ("python", "browser")]),
    st.none() | TEXT,
    FUNCTIONS,
    st.lists(
        st.builds(Namespace, st.sampled_from(["a", "zoo", "mcp"]), FUNCTIONS, TEXT.map(lambda t: " ".join(t.split()))),
        max_size=2,
        unique_by=lambda space: space.name,
    ).map(tuple),
)


def library_namespace(space: Namespace) -> dict[str, Any]:
    """A namespace as the library's JSON. (Its Python classes would drop nulls inside a schema.)"""
    tools = [{"name": f.name, "description": f.description, "parameters": f.parameters} for f in space.functions]
    return {"name": space.name, "description": space.description, "tools": tools}


def library_message(message: Message) -> dict[str, Any]:
    """A message as the library's JSON."""
    fields = message.to_json()
    return {**fields, "content": [{"type": "text", "text": fields.pop("text")}]}


def library_ids(messages: list[dict[str, Any]], how: str = "completion", *, drop: bool = False) -> list[int]:
    """The ids the library renders: for "completion", for "training", or of the "conversation" alone."""
    config = {"auto_drop_analysis": drop}
    text = json.dumps({"messages": messages})
    inner: Any = oracle()._inner
    if how == "completion":
        return inner.render_conversation_for_completion(text, "assistant", config)
    if how == "training":
        return inner.render_conversation_for_training(text, config)
    return inner.render_conversation(text, config)


def library_text(*functions: FunctionTool) -> str:
    """A developer message of functions alone, as the library writes it."""
    space = library_namespace(Namespace("functions", functions))
    content = {"type": "developer_content", "tools": {"functions": space}}
    ids = library_ids([{"role": "developer", "content": [content]}], "conversation")
    return oracle().decode(ids).removeprefix("<|start|>developer<|message|>").removesuffix("<|end|>")


def library_types(schema: dict[str, Any]) -> str:
    """The type the library makes of a schema."""
    text = library_text(FunctionTool("f", "D", schema))
    text = text.removeprefix("# Tools\n\n## functions\n\nnamespace functions {\n\n// D\ntype f = (_: ")
    return text.removesuffix(") => any;\n\n} // namespace functions")
