"""The routes: a request is read, stands in line, and is answered in events or whole."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.engine.hello import PATH as ENGINE
from app.server.chat_completions.reading import read_chat
from app.server.engine import EngineRoute
from app.server.errors import ApiError, not_found, of_engine, unknown_model
from app.server.exchange import ChatExchange, ResponseExchange, Service, read_through
from app.server.guard import MOST_BODY, Guard, Policy, too_large
from app.server.responses.reading import read_response
from app.server.wire import STREAM_HEADERS, as_json
from metal.files import parse_json

_GONE = 499
"""The status of a request whose client has left, which nobody reads: nginx' number for the log."""
_LONG = 1 << 20
"""Bytes from which reading JSON takes so long that the others should not wait for it."""


def make_app(service: Service, policy: Policy) -> Guard:
    """The ASGI application."""
    routes = _Routes(service)
    app = Starlette(
        routes=[
            Route("/v1/responses", routes.respond, methods=["POST"]),
            Route("/v1/responses/{id}", routes.retrieve, methods=["GET"]),
            Route("/v1/responses/{id}", routes.delete, methods=["DELETE"]),
            Route("/v1/responses/{id}/input_items", routes.input_items, methods=["GET"]),
            Route("/v1/responses/{id}/cancel", routes.cancel, methods=["POST"]),
            Route("/v1/chat/completions", routes.complete, methods=["POST"]),
            # Its events have the thoughts. A chat that doesn't find it speaks Responses.
            *([] if service.withholds_reasoning else [Route(ENGINE, routes.engine, methods=["POST"])]),
            Route("/v1/models", routes.models, methods=["GET"]),
            Route("/v1/models/{id:path}", routes.model, methods=["GET"]),
            Route("/health", routes.health, methods=["GET"]),
            Route("/metrics", routes.metrics, methods=["GET"]),
        ],
        exception_handlers={ApiError: _on_api_error, HTTPException: _on_http_error, Exception: _on_bug},
    )
    app.router.redirect_slashes = False
    return Guard(app, policy, service.metrics.count)  # type: ignore[arg-type]  # Starlette's types are narrower


class _Routes:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._engine = EngineRoute(service)
        self._started = int(time.time())

    async def respond(self, request: Request) -> Response:
        service = self._service
        body = await _body(request)
        asked = read_response(body, service.thoughts, service.stored, service.own.names)
        self._check_model(asked.echo["model"])
        exchange = ResponseExchange(service, asked)
        if asked.is_streamed:
            return _EventStream(exchange)
        return await _whole(request, exchange, lambda: exchange.writer.response)

    async def complete(self, request: Request) -> Response:
        service = self._service
        asked = read_chat(await _body(request), service.thoughts, service.own.names)
        self._check_model(asked.model)
        exchange = ChatExchange(service, asked)
        if asked.is_streamed:
            return _EventStream(exchange)
        return await _whole(request, exchange, lambda: exchange.writer.completion)

    async def engine(self, request: Request) -> Response:
        return await self._engine.respond(await _bytes(request))

    async def retrieve(self, request: Request) -> Response:
        id = request.path_params["id"]
        if id in self._service.active:
            return _json(self._service.active[id].writer.response)
        return _json(self._service.stored.get(id).response)

    async def delete(self, request: Request) -> Response:
        id = request.path_params["id"]
        self._service.stored.delete(id)
        return _json({"id": id, "object": "response", "deleted": True})

    async def input_items(self, request: Request) -> Response:
        stored = self._service.stored.get(request.path_params["id"])
        items = [_with_id(item, index) for index, item in enumerate(stored.input) if isinstance(item, dict)]
        ends = {"first_id": items[0]["id"] if items else None, "last_id": items[-1]["id"] if items else None}
        return _json({"object": "list", "data": items, **ends, "has_more": False})

    async def cancel(self, request: Request) -> Response:
        id = request.path_params["id"]
        exchange = self._service.active.get(id)
        if exchange is None:
            return _json(self._service.stored.get(id).response)
        await exchange.run.cancel()
        return _json({**exchange.writer.response, "status": "cancelled"})

    async def models(self, request: Request) -> Response:
        ready = self._service.line.ready
        return _json({"object": "list", "data": [] if ready is None else [self._model(ready.model)]})

    async def model(self, request: Request) -> Response:
        name, ready = request.path_params["id"], self._service.line.ready
        if ready is None or name != ready.model:
            raise unknown_model(name, "" if ready is None else ready.model)
        return _json(self._model(name))

    async def health(self, request: Request) -> Response:
        is_ready = self._service.line.ready is not None
        return _json({"status": "ready" if is_ready else "loading"}, 200 if is_ready else 503)

    async def metrics(self, request: Request) -> Response:
        line = self._service.line
        return PlainTextResponse(self._service.metrics.text(line.running, line.waiting))

    def _model(self, name: str) -> dict[str, Any]:
        length = self._service.line.engine.context_length
        fields = {"id": name, "object": "model", "created": self._started, "owned_by": "openai"}
        return {**fields, "context_length": length}

    def _check_model(self, name: str) -> None:
        ready = self._service.line.ready
        if self._service.strict_model and ready is not None and name != ready.model:
            raise unknown_model(name, ready.model)


async def _bytes(request: Request) -> bytes:
    """The body of a request. Raises ApiError."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BODY:
                raise too_large()
    except ClientDisconnect:
        raise ApiError("the client has left", status=_GONE) from None
    return bytes(body)


async def _body(request: Request) -> Any:
    """The JSON of a request. Raises ApiError."""
    data = await _bytes(request)
    try:
        return await asyncio.to_thread(_parsed, data) if len(data) > _LONG else _parsed(data)
    except ValueError as error:
        raise ApiError(f"the body is not JSON: {error}") from None


def _parsed(data: bytes) -> Any:
    value = parse_json(data)
    if b"NaN" in data or b"Infinity" in data:  # perhaps in a text
        json.loads(data, parse_constant=_no_constant)
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


class _EventStream(StreamingResponse):
    """The events of an exchange. It ends with the connection, also where that ends before the first event."""

    def __init__(self, exchange: ResponseExchange | ChatExchange) -> None:
        super().__init__(exchange.stream(), media_type="text/event-stream", headers=STREAM_HEADERS)
        self._exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by Starlette."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._exchange.run.end()


async def _whole(
    request: Request, exchange: ResponseExchange | ChatExchange, result: Callable[[], dict[str, Any]]
) -> Response:
    """The whole answer, unless the client leaves before it."""
    answer = asyncio.create_task(read_through(exchange.stream()))
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            return Response(status_code=_GONE)
        answer.result()
    finally:
        for task in (answer, gone):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    if exchange.error is not None:
        raise exchange.error
    return _json(result())


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _with_id(item: dict[str, Any], index: int) -> dict[str, Any]:
    return {"type": "message", **item, "id": item.get("id") or f"item_{index}"}


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(as_json(value), status, headers, "application/json")


async def _on_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return _json(error.to_json(), error.status, error.headers)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    asked = f"{request.method} {request.url.path[:200]}"
    said = not_found(f"there is nothing at {asked}; the API is /v1/responses, /v1/chat/completions and /v1/models")
    said.status = error.status_code
    return _json(said.to_json(), error.status_code, dict(error.headers or {}))


async def _on_bug(request: Request, error: Exception) -> Response:
    """Starlette passes the exception on to the server after this, which prints it."""
    said = of_engine(error)
    return _json(said.to_json(), said.status)
