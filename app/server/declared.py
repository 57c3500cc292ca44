"""The tools of a request: what the model is shown, which it has to call, and what a call of one is to the client."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.server.errors import ApiError, renamed
from app.server.fields import Fields
from mlx_model.errors import RequestError
from mlx_model.harmony.openai_messages import CUSTOM_INPUT
from mlx_model.harmony.recipients import find_tool
from mlx_model.harmony.tools import FUNCTIONS, FunctionTool, Namespace

HOSTED = {
    "web_search": "browser",
    "web_search_preview": "browser",
    "code_interpreter": "python",
}
"""Types of tools that this server can run itself, and which tool of the model's each is."""


@dataclass(frozen=True, slots=True)
class CalledTool:
    """A tool as the client knows it. `recipient` is its full name in Harmony."""

    recipient: str
    name: str
    namespace: str | None = None
    is_custom: bool = False


@dataclass(frozen=True, slots=True)
class Declared:
    """The client's tools, and the server's own that it asks for (`hosted`, by the model's names).

    `choice` is "auto", "none", "required" or the full name of the function that has to be called.
    """

    functions: tuple[FunctionTool, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    customs: frozenset[str] = frozenset()
    hosted: tuple[str, ...] = ()
    choice: str = "auto"
    places: Mapping[str, str] = field(default_factory=dict)
    """Where in the request the schema of each of the functions stands, by their full names."""
    known: frozenset[str] = field(init=False)
    """The full names of all tools."""

    def __post_init__(self) -> None:
        functions = (f"{FUNCTIONS}.{function.name}" for function in self.functions)
        inner = (f"{space.name}.{function.name}" for space in self.namespaces for function in space.functions)
        object.__setattr__(self, "known", frozenset((*functions, *inner, *self.hosted)))

    def called(self, recipient: str, arguments: dict[str, Any] | None = None) -> CalledTool:
        """The tool that a call goes to, as far as its header tells; a name that no tool has stays what it is."""
        found = find_tool(recipient, arguments or {}, self.known)
        return self.tool(found[0] if found else recipient)

    def tool(self, full_name: str) -> CalledTool:
        """The tool of a full name."""
        space, dot, name = full_name.partition(".")
        if dot and any(each.name == space for each in self.namespaces):
            return CalledTool(full_name, name, space)
        name = full_name.removeprefix(f"{FUNCTIONS}.")
        return CalledTool(full_name, name, is_custom=name in self.customs)

    def is_hosted(self, tool: CalledTool) -> bool:
        """Whether the server answers its calls itself."""
        return tool.recipient.partition(".")[0] in self.hosted


class Reading:
    """Collects the tools of a request. `offered` are those of the server's own that its owner allows."""

    def __init__(self, offered: Collection[str] = ()) -> None:
        self._offered = offered
        self._functions: dict[str, FunctionTool] = {}
        self._namespaces: dict[str, Namespace] = {}
        self._customs: set[str] = set()
        self._hosted: dict[str, None] = {}
        self._places: dict[str, str] = {}

    def add(self, tool: Fields) -> None:
        """A tool of the Responses API. One of a type that isn't known here is passed over: Codex always offers some."""
        match tool.text("type", "function"):
            case "function":
                self._add(read_function(tool), tool)
            case "custom":
                self.add_custom(tool)
            case "namespace":
                self._add_namespace(tool)
            case kind if HOSTED.get(kind) in self._offered:
                self._hosted[HOSTED[kind]] = None

    def add_custom(self, tool: Fields) -> None:
        """A tool that takes one text of any form."""
        name = tool.name("name")
        schema = {"type": "object", "properties": {CUSTOM_INPUT: {"type": "string"}}, "required": [CUSTOM_INPUT]}
        described = [tool.text("description"), _grammar(tool)]
        self._add(_function(tool, name, "\n\n".join(filter(None, described)), schema), tool)
        self._customs.add(name)

    def add_function(self, tool: Fields) -> None:
        """A function."""
        self._add(read_function(tool), tool)

    def declared(self, choice: str, among: Iterable[str] | None = None) -> Declared:
        """What there is; with `among` the functions of these full names alone. With "none" nothing is shown."""
        if choice == "none":
            return Declared(choice="none")
        functions, namespaces = [*self._functions.values()], [*self._namespaces.values()]
        if among is not None:
            names = {*among}
            functions = [each for each in functions if f"{FUNCTIONS}.{each.name}" in names]
            namespaces = [
                Namespace(space.name, kept, space.description)
                for space in namespaces
                if (kept := tuple(each for each in space.functions if f"{space.name}.{each.name}" in names))
            ]
        customs, hosted = frozenset(self._customs), tuple(self._hosted)
        return Declared(tuple(functions), tuple(namespaces), customs, hosted, choice, self._places)

    def known(self) -> frozenset[str]:
        """The full names of all that has been added."""
        return self.declared("auto").known

    def _add(self, function: FunctionTool, tool: Fields) -> None:
        if function.name in self._functions:
            raise tool.error("name", f"is {function.name!r}, as that of another tool")
        self._functions[function.name] = function
        self._places[f"{FUNCTIONS}.{function.name}"] = tool.at("parameters")

    def _add_namespace(self, tool: Fields) -> None:
        name = tool.name("name")
        inner = [each for each in tool.inners("tools") if each.text("type", "function") == "function"]
        functions = [read_function(each) for each in inner]
        try:
            space = Namespace(name, tuple(functions), tool.text("description"))
        except RequestError as error:
            raise ApiError(f"{tool.path}: {error}", tool.at("tools")) from None
        if name in self._namespaces or name in (FUNCTIONS, "python", "browser"):
            raise tool.error("name", f"is {name!r}, as that of other tools")
        if functions:
            self._namespaces[name] = space
            self._places |= {
                f"{name}.{function.name}": each.at("parameters")
                for each, function in zip(inner, functions, strict=True)
            }


def read_function(tool: Fields) -> FunctionTool:
    """A function with its schema. Raises ApiError if the model can't be shown it."""
    schema = tool.inner("parameters")
    parameters = None if schema is None else schema.object()
    strict = tool.flag("strict") if "strict" in tool else None
    return _function(tool, tool.name("name"), tool.text("description"), parameters, strict)


def _function(
    tool: Fields, name: str, description: str, parameters: dict[str, Any] | None, strict: bool | None = None
) -> FunctionTool:
    try:
        function = FunctionTool(name, description, parameters, strict)
    except RequestError as error:
        raise renamed(error, tool.at("name")) from None
    try:
        function.text()
    except RequestError as error:
        raise renamed(error, tool.at("parameters")) from None
    return function


def _grammar(tool: Fields) -> str:
    """What a custom tool says of the form of its text. The model is shown it, not bound by it."""
    form = tool.inner_or_empty("format")
    if form.text("type", "text") != "grammar":
        return ""
    # Chat Completions has it in an object of its own.
    inner = form.inner("grammar") or form
    return f"The input has to match this {inner.text('syntax')} grammar:\n{inner.text('definition')}"


def read_choice(where: Fields, key: str, tools: Reading) -> Declared:
    """The tools with what the request says of calling them, in the form of either API. Raises ApiError."""
    value = where.get(key)
    if not isinstance(value, dict):
        choice = where.choice(key, ("auto", "none", "required"), "auto")
        declared = tools.declared(choice)
        if choice == "required" and not declared.known:
            raise where.error(key, "is 'required', but there are no tools")
        return declared
    chosen = Fields(value, where.at(key))
    match chosen.text("type"):
        case "allowed_tools":
            inner = chosen.inner("allowed_tools") or chosen
            known = tools.known()
            among = [_named(each, known) for each in inner.inners("tools")]
            return tools.declared(inner.choice("mode", ("auto", "required"), "auto"), among)
        case "function" | "custom":
            return tools.declared(_named(chosen, tools.known()))
        case kind:
            raise chosen.error("type", f"is {kind[:80]!r}; a function, a custom tool or allowed_tools can be named")


def _named(chosen: Fields, known: Collection[str]) -> str:
    """The full name of the tool that is named, which Chat Completions writes into an object of its own."""
    inner = chosen.inner(chosen.text("type")) or chosen
    name = inner.name("name")
    space = inner.text("namespace")
    name_in_space = f"{space}.{name}" if space else name
    full = next((full for full in (f"{FUNCTIONS}.{name_in_space}", name_in_space) if full in known), None)
    if full is None:
        raise inner.error("name", f"is {name[:80]!r}, but there is no tool of this name")
    return full
