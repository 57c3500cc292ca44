"""The first line of both sides where the engine's protocol goes through HTTP: who speaks, and which protocol.

POST /v1/engine takes JSON lines, a Hello and one message of app.engine.protocol, and answers with JSON lines: a Hello,
then what the pipe of an engine process would bring; empty ones say that the server is there. A request is over when its
connection is.
"""

import json
from dataclasses import dataclass, fields
from functools import cache
from typing import get_args

from app.digests import digest_of
from app.engine.protocol import FromEngine, ProtocolError, ToEngine
from mlx_model.events import Event, Stats, TokenLogprobs
from mlx_model.harmony.message import Message
from mlx_model.harmony.tools import FunctionTool, Namespace, ResponseFormat
from mlx_model.options import Options
from mlx_model.request import Form, Request

PATH = "/v1/engine"
LINES = "application/x-ndjson"
"""The type of both bodies."""


@dataclass(frozen=True, slots=True)
class Hello:
    """`protocol` is equal where both sides understand each other, `program` the version, for people. `client` names the
    one that asks, so that it alone can cancel its answers."""

    protocol: str
    program: str
    client: str = ""

    def line(self) -> bytes:
        """As it goes out."""
        named = {"type": "Hello", "protocol": self.protocol, "program": self.program, "client": self.client}
        return json.dumps(named).encode("ascii") + b"\n"

    @staticmethod
    def of(line: bytes) -> "Hello":
        """Reads the line of any version. Raises ProtocolError for anything else."""
        try:
            value = json.loads(line)
            if value["type"] == "Hello":
                return Hello(*(str(value.get(name, ""))[:100] for name in ("protocol", "program", "client")))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            pass
        raise ProtocolError("the first line is no Hello")


@cache
def protocol() -> str:
    """A digest of all that may go over the wire: versions of the program between which nothing of it has changed
    understand each other."""
    payloads = (Stats, TokenLogprobs, Message, Request, Options, FunctionTool, Namespace, ResponseFormat, Form)
    classes = (*get_args(ToEngine), *get_args(FromEngine), *get_args(Event), *payloads)
    names = sorted(f"{cls.__name__}({', '.join(field.name for field in fields(cls))})" for cls in classes)
    return digest_of("\n".join(names))


@cache
def own(client: str = "") -> Hello:
    """What this side says."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        program = version("gptoss-chat")
    except PackageNotFoundError:  # from a folder of the source
        program = ""
    return Hello(protocol(), program, client)
