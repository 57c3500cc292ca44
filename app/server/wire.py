"""Bytes on the wire: JSON bodies, and events as server-sent events."""

import json
from typing import Any

STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""No proxy is to hold events back."""
DONE = b"data: [DONE]\n\n"
"""What ends a stream of Chat Completions."""
COMMENT = b": waiting\n\n"


def as_json(value: Any) -> bytes:
    """JSON in UTF-8. A lone surrogate, which a client may have sent, stays the escape that it was."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def named_event(event: dict[str, Any]) -> bytes:
    """An event of the Responses API, whose type is its name."""
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), as_json(event))


def data(chunk: dict[str, Any]) -> bytes:
    """A chunk of Chat Completions."""
    return b"data: %s\n\n" % as_json(chunk)
