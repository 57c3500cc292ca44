"""Asks the engine for one request: once, or in rounds where the server runs tools of its own."""

import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace

from app.chat.answer import AnswerRecord
from app.chat.conversation import new_id
from app.chat.loop import TurnEvent, TurnTools, turn
from app.engine.engine import Engine
from app.engine.protocol import Answer
from app.paths import work_folder
from app.server.declared import Declared
from app.tools.kits import kits_of
from app.tools.permission import Wish
from app.tools.python_kit import PythonKit
from app.tools.switched_on import SwitchedOn
from app.tools.verdict import Verdict
from mlx_model.errors import RequestError
from mlx_model.events import Finished
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message
from mlx_model.request import Request
from mlx_model.tools.toolbox import Toolbox

NOBODY = "nobody is there to be asked; only what the rules of the settings allow is done"
"""Why a call that a person would be asked about is not run."""


@dataclass(frozen=True, slots=True)
class OwnTools:
    """The server's own tools: those that its owner allows, with the permissions of the settings."""

    names: tuple[str, ...] = ()
    permissions: Mapping[str, str] = field(default_factory=dict)
    most_calls: int = 40


class Work:
    """What answers a request, once the engine is this request's: `choices` answers, one after the other.

    Each ends with Finished. The prompt of the later ones is in the KV cache; their seeds count on from that of the
    first.
    """

    def __init__(self, request: Request, declared: Declared, own: OwnTools, choices: int = 1) -> None:
        self._request, self._declared, self._own, self._choices = request, declared, own, choices
        self._is_cancelled = False
        self._tools: TurnTools | None = None  # of the turn under way

    async def events(self, engine: Engine) -> AsyncGenerator[TurnEvent, None]:
        """What the engine brings, and the server's own tools."""
        options = self._request.options
        for index in range(self._choices):
            seed = None if options.seed is None else (options.seed + index) % 2**64
            request = replace(self._request, options=replace(options, seed=seed))
            if self._is_cancelled:
                yield Answer(0, Finished("cancelled"))
                return
            ask = self._with_tools(engine, request) if self._declared.hosted else engine.ask(request)
            async with aclosing(ask) as events:
                async for event in events:
                    yield event

    async def cancel(self, engine: Engine) -> None:
        """Ends the answer under way, or the first where none is yet. What has come is kept."""
        self._is_cancelled = True
        if self._tools is not None:
            self._tools.cancel()
        await engine.cancel()

    async def _with_tools(self, engine: Engine, request: Request) -> AsyncGenerator[TurnEvent, None]:
        """A whole turn. Calls of the client's functions end it; others are run here, as far as rules allow them. Where
        the context fills up the oldest results leave it, as in a chat."""
        async with prepared(self._declared.hosted, self._own, request.messages) as tools:
            if self._is_cancelled:  # while they got ready
                yield Answer(0, Finished("cancelled"))
                return
            mine = [tool for kit in tools.kits for tool in kit.tools]
            toolbox = Toolbox([*mine, *request.functions, *request.namespaces])
            instructions = tools.instructions(request.instructions)
            request = replace(request, instructions=instructions, functions=(), namespaces=())
            self._tools = TurnTools(toolbox, tools.approve, self._own.most_calls)
            record = AnswerRecord(request.options.effort)
            async with aclosing(turn(engine, request, record, self._tools)) as events:
                async for event in events:
                    yield event


@asynccontextmanager
async def prepared(names: Sequence[str], own: OwnTools, messages: Sequence[Message] = ()) -> AsyncIterator[SwitchedOn]:
    """The tools of these names, for one turn behind these messages; what they have started and written goes at its end.

    Raises RequestError for one that can't be used here: without a sandbox a person would have to look at each cell.
    """
    conversation = f"serve-{new_id()}"
    tools = SwitchedOn(kits_of(names, conversation, is_kept=False), own.permissions, _nobody)
    try:
        await tools.prepare(messages)
        for kit in tools.kits:
            trouble = kit.trouble or (kit.unconfined if isinstance(kit, PythonKit) else "")
            if trouble:
                raise RequestError(f"{kit.name} can't be offered by a server here: {trouble}")
        yield tools
    finally:
        await tools.close()
        shutil.rmtree(work_folder(conversation), ignore_errors=True)


async def _nobody(call: ToolCall, wish: Wish) -> Verdict:
    return Verdict(False, reason=NOBODY)
