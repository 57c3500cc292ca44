"""Any server with OpenAI's Responses API (vLLM, llama.cpp, Ollama), as far as that API goes."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from time import monotonic
from typing import Any

from app.engine.engine import EngineDied, EngineError
from app.engine.protocol import Answer, Load, Ready
from app.lines import one_line
from app.remote.connection import MODELS, Connection, Reply
from app.remote.function_names import FunctionNames
from app.remote.responses_events import ResponseEvents
from app.remote.responses_request import CallIds, body_of
from metal.files import parse_json
from mlx_model.events import Finished, Stats
from mlx_model.request import Request

RESPONSES = "/v1/responses"
SILENCE_S = 600.0
"""For how long nothing may come: these servers give no sign while they read a long prompt."""
CONTEXT = 131_072
"""Tokens of gpt-oss' context, where the server doesn't say what it has."""
_CONTEXTS = ("context_length", "max_model_len", "max_context_length")
"""What servers call it."""
_MOST_CONTEXT = 1 << 24
_MOST_MODELS = 1000
_LONGEST_NAME = 200


class ForeignServer:
    """One such server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._model = ""
        self._ids = CallIds()
        self.stats = Stats()
        """What is known of the answer under way."""

    async def load(self, load: Load) -> Ready:
        """The model that is asked for, or the one that the server has. Raises EngineError or EngineDied."""
        host = self._connection.host
        async with self._connection.request("GET", MODELS, silence_s=SILENCE_S) as reply:
            if reply.status in (401, 403, 429, 503):
                raise await reply.refusal()
            listed = await reply.json() if reply.status == 200 else None
        data = listed.get("data") if isinstance(listed, dict) else None
        if not isinstance(data, list):
            what = reply.type or "nothing"
            raise EngineError(
                f"{host} is no server that can be used: it speaks neither gptoss-chat's protocol nor OpenAI's API "
                f"(GET {MODELS} answers with HTTP {reply.status}, {one_line(what)[:80]})"
            )
        models = {each["id"]: each for each in data[:_MOST_MODELS] if _is_model(each)}
        self._model = _chosen(load.model, [*models], host)
        lengths = (models[self._model].get(key) for key in _CONTEXTS)
        known = (each for each in lengths if type(each) is int and 0 < each <= _MOST_CONTEXT)
        return Ready(self._model, next(known, CONTEXT), 0, 0, 0.0, note=missing(host))

    async def ask(self, number: int, request: Request) -> AsyncGenerator[Answer, None]:
        """The events of an answer. Raises EngineError or EngineDied."""
        names = FunctionNames(request)
        body = json.dumps(body_of(request, self._model, names, self._ids)).encode("ascii")
        events, began, first = ResponseEvents(names), monotonic(), 0.0
        self.stats = Stats()
        async with self._connection.request("POST", RESPONSES, body, silence_s=SILENCE_S) as reply:
            if reply.status != 200:
                raise await self._refusal(reply)
            async with aclosing(_events(reply)) as stream:
                async for each in stream:
                    for event in events.take(each):
                        if not first:
                            first = monotonic()
                            self.stats = Stats(ttft_s=first - began)
                        if isinstance(event, Finished):
                            self._keep(events)
                            times = replace(event.stats, ttft_s=first - began, decode_s=monotonic() - first)
                            event = replace(event, stats=times)
                        yield Answer(number, event)
        raise EngineDied(f"{self._connection.host} broke off the answer")

    async def answer_now(self, number: int) -> None:
        """Raises EngineError: the API has no word for it."""
        raise EngineError(f"{self._connection.host} can't end a thought; ^C or Esc stops the answer")

    async def count(self, number: int, texts: Sequence[str]) -> list[int]:
        """Raises EngineError, likewise."""
        raise EngineError(f"{self._connection.host} counts no tokens")

    def _keep(self, events: ResponseEvents) -> None:
        for call, id in events.calls:
            if id:
                self._ids.keep(call, id)

    async def _refusal(self, reply: Reply) -> EngineError:
        if reply.status in (404, 405, 501):
            said = str(await reply.refusal())
            return EngineError(
                f"{self._connection.host} has no Responses API, or not for {one_line(self._model)} ({said}); "
                "a newer version of that server may have it"
            )
        return await reply.refusal()


def missing(host: str) -> str:
    """What a chat has to do without there, in a sentence."""
    return (
        f"{host} offers OpenAI's API alone: a cut-off answer can't be continued in place, a thought can't be cut "
        "short, tokens are estimated, and python and browser are functions like others"
    )


async def _events(reply: Reply) -> AsyncGenerator[dict[str, Any], None]:
    """The objects of a stream of server-sent events. What is none is passed over."""
    async with aclosing(reply.lines()) as lines:
        async for line in lines:
            name, _, data = line.partition(b":")
            if name != b"data":
                continue
            try:
                value = parse_json(data)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


def _is_model(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("id"), str) and 0 < len(value["id"]) <= _LONGEST_NAME


def _chosen(wanted: str | None, models: Sequence[str], host: str) -> str:
    """The model to ask. Raises EngineError if it isn't there, or if nothing says which one is meant."""
    there = ", ".join(map(one_line, models[:20])) or "none"
    if wanted is not None:
        if wanted not in models:
            raise EngineError(f"{host} has no model {wanted!r}; it has: {there}")
        return wanted
    fitting = [name for name in models if "gpt-oss" in name.lower()] or models
    if len(fitting) == 1:
        return fitting[0]
    raise EngineError(
        f"{host} has several models, of which --model NAME chooses one: {there}" if models else f"{host} has no model"
    )
