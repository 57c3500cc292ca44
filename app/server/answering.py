"""Asks the engine for one request: once, or in rounds where the server runs tools of its own."""

import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace

from app.chat.answer import AnswerRecord
from app.chat.conversation import new_id
from app.chat.loop import TurnEvent, TurnTools, turn
from app.engine.engine import Engine
from app.paths import work_folder
from app.server.declared import Declared
from app.server.line import Work
from app.tools.kits import kits_of
from app.tools.permission import Wish
from app.tools.python_kit import PythonKit
from app.tools.switched_on import SwitchedOn, Verdict
from mlx_model.errors import RequestError
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


def work(request: Request, declared: Declared, own: OwnTools) -> Work:
    """What answers a request."""

    def ask(engine: Engine) -> AsyncGenerator[TurnEvent, None]:
        if declared.hosted:
            return _with_tools(engine, request, declared, own)
        return engine.ask(request)

    return ask


async def _with_tools(
    engine: Engine, request: Request, declared: Declared, own: OwnTools
) -> AsyncGenerator[TurnEvent, None]:
    """The whole turn. Calls of the client's functions end it; others are run here, as far as rules allow them."""
    async with prepared(declared.hosted, own, request.messages) as tools:
        mine = [tool for kit in tools.kits for tool in kit.tools]
        toolbox = Toolbox([*mine, *request.functions, *request.namespaces])
        instructions = tools.instructions(request.instructions)
        request = replace(request, instructions=instructions, functions=(), namespaces=())
        in_turn = TurnTools(toolbox, tools.approve, own.most_calls)
        record = AnswerRecord(request.options.effort)
        async with aclosing(turn(engine, request, record, in_turn)) as events:
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
