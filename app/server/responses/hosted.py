"""Calls of tools that the server runs itself, as items of a response: searches of the web, code."""

from collections.abc import Iterator
from typing import Any

from app.server.responses.output import Wire, new_id
from mlx_model.harmony.calls import ToolCall


class SearchItem:
    """A call of the browser."""

    def __init__(self, call: ToolCall) -> None:
        self.id = new_id("ws")
        self._call = call

    def json(self, status: str, result: str = "") -> dict[str, Any]:
        """The item as far as it has come."""
        return {"id": self.id, "type": "web_search_call", "status": status, "action": self._action}

    def started(self) -> Iterator[Wire]:
        """What follows output_item.added."""
        yield "response.web_search_call.in_progress", {"item_id": self.id}
        yield "response.web_search_call.searching", {"item_id": self.id}

    def finished(self) -> Iterator[Wire]:
        """What comes before output_item.done."""
        yield "response.web_search_call.completed", {"item_id": self.id}

    @property
    def _action(self) -> dict[str, Any]:
        arguments = self._call.arguments
        match self._call.name:
            case "browser.open":
                return {"type": "open_page", "url": str(arguments.get("id", ""))}
            case "browser.find":
                return {"type": "find_in_page", "pattern": str(arguments.get("pattern", "")), "url": ""}
        return {"type": "search", "query": str(arguments.get("query", ""))}


class CodeItem:
    """A cell of python."""

    def __init__(self, call: ToolCall) -> None:
        self.id = new_id("ci")
        self._container = new_id("cntr")
        self._code = str(call.arguments.get("code", call.text))

    def json(self, status: str, result: str = "") -> dict[str, Any]:
        """The item as far as it has come."""
        logs = [{"type": "logs", "logs": result}] if result else []
        fields = {"id": self.id, "type": "code_interpreter_call", "status": status, "code": self._code}
        return {**fields, "container_id": self._container, "outputs": logs}

    def started(self) -> Iterator[Wire]:
        """What follows output_item.added."""
        yield "response.code_interpreter_call.in_progress", {"item_id": self.id}
        yield "response.code_interpreter_call_code.delta", {"item_id": self.id, "delta": self._code}
        yield "response.code_interpreter_call_code.done", {"item_id": self.id, "code": self._code}
        yield "response.code_interpreter_call.interpreting", {"item_id": self.id}

    def finished(self) -> Iterator[Wire]:
        """What comes before output_item.done."""
        yield "response.code_interpreter_call.completed", {"item_id": self.id}


def hosted_item(call: ToolCall) -> SearchItem | CodeItem:
    """The item of a call."""
    return CodeItem(call) if call.name == "python" else SearchItem(call)
