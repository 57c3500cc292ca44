"""Responses that clients may come back to: in memory, bounded, gone when the server ends."""

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.server.errors import not_found
from mlx_model.harmony.message import Message

MOST_RESPONSES = 1000
MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response as it was sent, the items of its request, and the conversation up to its end.

    `messages` has the instructions of items (Role.SYSTEM) in front, but not those of the field, which are not
    inherited. `call_id` is that of the call that the conversation ends with, None if it doesn't.
    """

    response: dict[str, Any]
    input: Sequence[Any]
    messages: tuple[Message, ...]
    call_id: str | None = None

    @property
    def size(self) -> int:
        """Bytes, about."""
        return len(json.dumps([self.response, self.input])) + sum(len(message.text) for message in self.messages)


class Stored:
    """Responses by id. The least recently used is dropped first."""

    def __init__(self, most: int = MOST_RESPONSES, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._bytes = 0
        self._responses: OrderedDict[str, tuple[StoredResponse, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._responses)

    def add(self, stored: StoredResponse) -> None:
        """Keeps a response."""
        size = stored.size
        self._responses[stored.response["id"]] = stored, size
        self._bytes += size
        while len(self._responses) > self._most or self._bytes > self._most_bytes:
            _, (_, dropped) = self._responses.popitem(last=False)
            self._bytes -= dropped

    def get(self, id: str, param: str | None = None, code: str = "not_found") -> StoredResponse:
        """The response of an id. Raises ApiError (404) if it was never stored, or is no longer."""
        if id not in self._responses:
            raise not_found(f"there is no response {id[:80]!r} here (any more)", param, code)
        self._responses.move_to_end(id)
        return self._responses[id][0]

    def delete(self, id: str) -> None:
        """Forgets a response. Raises ApiError (404), likewise."""
        self.get(id)
        _, size = self._responses.pop(id)
        self._bytes -= size

    def item(self, id: str, param: str) -> dict[str, Any]:
        """An item of any response by its own id. Raises ApiError (404)."""
        for stored, _ in reversed(self._responses.values()):
            for item in stored.response["output"]:
                if item.get("id") == id:
                    found: dict[str, Any] = item
                    return found
        raise not_found(f"there is no item {id[:80]!r} here (any more)", param)
