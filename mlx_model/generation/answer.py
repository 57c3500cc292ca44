"""One answer for a script: `generate` and `stream_generate`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from itertools import takewhile
from typing import Any, Literal, TypedDict, Unpack

from mlx_model.errors import ContextError, RequestError
from mlx_model.events import Event, Finished, Stats, Warned
from mlx_model.generation.formats import AnswerFormat, Format, answer_format
from mlx_model.generation.result import Result, result_of
from mlx_model.generation.session import Session
from mlx_model.generation.several import answer_several
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.fold import FoldedAnswer
from mlx_model.harmony.message import Effort, Message, Role, user
from mlx_model.harmony.openai_messages import read_messages
from mlx_model.harmony.tools import FunctionTool
from mlx_model.model import Model
from mlx_model.options import Options
from mlx_model.pro.samples import Combine, check_combine
from mlx_model.request import Request
from mlx_model.tools.base import ToolResult
from mlx_model.tools.budget import Budget
from mlx_model.tools.loop import MOST_CALLS, ToolEvent, ToolFinished, ToolStarted, ToolTurn
from mlx_model.tools.sync import run_tool
from mlx_model.tools.toolbox import Offered, Toolbox

Prompt = str | Message | Sequence[Message | Mapping[str, Any]]
"""A question, or a conversation whose last message is answered: Messages, or objects as OpenAI's API has them."""


_FORM = ("response_format", "regex", "grammar", "strict")
"""The keywords that say what form an answer has."""


class Keywords(TypedDict, total=False):
    """The keywords of `generate` and `stream_generate`; what is left out has the default of Options and Request."""

    effort: Effort | Literal["low", "medium", "high"]
    max_tokens: int | None
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    seed: int | None
    stop: str | Sequence[str]
    max_thinking: int | None
    logprobs: int | None
    prompt_lookup: bool
    instructions: str | None
    tools: Sequence[Offered]
    functions: Sequence[FunctionTool]
    max_calls: int
    tool_choice: str
    response_format: Format | None
    regex: str | None
    grammar: str | None
    strict: bool
    strict_headers: bool


def stream_generate(model: Model, prompt: Prompt, **keywords: Unpack[Keywords]) -> Iterator[Event | ToolEvent]:
    """Answers one prompt or conversation event by event; the last is Finished. Parameters as for `generate`.

    Where tools are run here, what becomes of each call comes between the model's events (see tools.loop). What of a
    schema binds nothing is said by Warned, before the first message.
    """
    return _events(Session(model), make_turn(prompt, keywords, _budget(model)))


def generate(
    model: Model, prompt: Prompt, *, samples: int = 1, combine: Combine = "vote", **keywords: Unpack[Keywords]
) -> Result:
    """Answers one prompt or conversation. For several turns keep a `Session`: it reuses what the last turn computed.

    `prompt`: a question; a Message; or a conversation of Messages, `user("...")`, or of objects as in OpenAI's API,
    {"role": "user", "content": "..."}. System and developer messages at its front become the instructions.

    Keywords, all optional:
    effort               how long to think: "low", "medium" (default) or "high"
    max_tokens           tokens of the answer at most, analysis included (default: until the context is full)
    temperature          0 is greedy, 1.0 the default
    top_p, top_k, min_p  which tokens may be drawn (default: all)
    repetition_penalty   above 1, tokens that are in the context already become less likely
    seed                 equal seeds give equal answers (default: one is drawn; Result.stats has it)
    max_thinking         tokens of analysis at most; the thought then ends and the answer begins (default: no limit)
    stop                 a text, or several, that end the answer where they appear in it
    instructions         the developer message
    logprobs             how many alternatives a token of the answer comes with, in the deltas of stream_generate,
                         beside its own log probability (default: neither)
    prompt_lookup        guess tokens from what stands in the prompt already, and compute several at once: the answer is
                         the same, and comes sooner where it quotes or edits (default: False)
    tools                what the model may call. Python functions and Tools are run here, until the model has answered;
                         of a function, signature and docstring are shown to the model (see tools.functions.Function).
                         Where results fill the context the oldest leave the prompt; Result.calls keeps them.
                         Calls of "python" and "browser", named so, and of a FunctionTool, or of a Namespace of such,
                         are the caller's to run: the answer ends with them ("tool_call")
    functions            more FunctionTools
    max_calls            calls that are run here at most (default: 40)
    tool_choice          "auto" (default), "none", "required", or the name of the tool that must be called (once)
    response_format      the form of the answer: a JSON schema (a dict), a pydantic model, a dataclass or a TypedDict.
                         It is shown to the model, and the answer can't but keep to it; thinking stays free.
                         Result.parsed has the value. (A ResponseFormat is shown and does not bind.)
    regex, grammar       the form of the answer as a regular expression or a grammar in Lark's notation, which the model
                         is not shown: say in the prompt what you expect
    strict               False: what of a schema can't be enforced is left out (Result.warnings) and not refused
    strict_headers       the headers of all messages are bound too: none is malformed (default: False)
    samples              how many answers are computed at once, from 2 to 16, of which one is made; they differ in their
                         seeds, which count on from `seed`, and have no tools (default: 1)
    combine              how one is made of them: "vote" (default) counts what can be compared (numbers, choices, short
                         facts, data), stops once the leader is certain or 95% likely to stay ahead, and synthesises
                         the rest; "select": the model chooses one; "synthesise": it writes one from all of them;
                         "all": nothing. Result.samples has all answers, Result.outcome how it came about

    Forms, tool_choice and strict_headers need the extra [schema]; where it is installed, the arguments of Python
    functions are bound to their hints as well, those of other functions as FunctionTool.strict says. Raises
    RequestError for a prompt or a value that can't be used, and for what of a schema can't be enforced, ContextError
    for a prompt that is too long, TokenizerError for a model without tokenizer, TypeError for another keyword.
    """
    session, turn, read = Session(model), make_turn(prompt, keywords, _budget(model)), _format(keywords).read
    check_combine(combine)
    if samples != 1:
        return answer_several(session, turn.request, samples, combine, read)
    answer, tokens, calls, warnings = FoldedAnswer(), list[int](), list[ToolFinished](), list[str]()
    for event in _events(session, turn, tokens):
        if isinstance(event, ToolFinished):
            calls.append(event)
            answer.add(event.message)
        elif isinstance(event, Warned):
            warnings.append(event.text)
        elif not isinstance(event, ToolEvent):
            answer.take(event)
    return result_of(answer, tokens, read, warnings, calls)


def make_turn(prompt: Prompt, keywords: Keywords, budget: Budget | None = None) -> ToolTurn:
    """The turn of a prompt and keywords. Raises RequestError, and TypeError for an unknown keyword."""
    named = {field.name for field in fields(Options)}
    messages = [user(prompt)] if isinstance(prompt, str) else _messages(prompt)
    opening = list(takewhile(lambda message: message.role in (Role.SYSTEM, Role.DEVELOPER), messages))
    rest: dict[str, Any] = {key: value for key, value in keywords.items() if key not in named}
    toolbox = Toolbox([*rest.pop("tools", ()), *rest.pop("functions", ())])
    most_calls = rest.pop("max_calls", MOST_CALLS)
    asked = _format(keywords)
    rest = {key: value for key, value in rest.items() if key not in _FORM}
    rest |= {"response_format": asked.shown, "form": asked.form}
    if opening:
        if rest.get("instructions"):
            raise RequestError(
                "there are instructions and a system message at the front of the prompt; give one of them"
            )
        rest["instructions"] = "\n\n".join(message.text for message in opening)
    options: dict[str, Any] = {key: value for key, value in keywords.items() if key in named}
    request = Request(messages[len(opening) :], Options(**options), **rest)
    return ToolTurn(toolbox, request, most_calls=most_calls, budget=budget)


def _format(keywords: Keywords) -> AnswerFormat:
    given: dict[str, Any] = {key: value for key, value in keywords.items() if key in _FORM}
    return answer_format(**{"response_format": None} | given)


def _budget(model: Model) -> Budget:
    tokenizer = model.tokenizer
    assert tokenizer is not None  # a session has asked for it
    return Budget(model.context_length, lambda text: len(tokenizer.encode(text)))


def _events(session: Session, turn: ToolTurn, tokens: list[int] | None = None) -> Iterator[Event | ToolEvent]:
    """Drives the turn to its end; `tokens` gets the ids of all rounds.

    Where results have outgrown the context the oldest are left out; where that does not help the turn ends with
    "length", as an answer that fills the context.
    """
    is_first = True
    while True:
        try:
            with closing(session.stream(turn.request)) as events:
                for sampled in events:
                    yield from (event for event in turn.take(sampled) if not isinstance(event, Finished))
        except ContextError:
            if turn.make_room():
                continue
            if is_first:
                raise
            yield turn.end("length")
            return
        if tokens is not None:
            tokens += session.tokens
        call, is_first = turn.next(), False
        if isinstance(call, Finished):
            yield call
            return
        if call is not None:
            yield from _answered(turn, call)


def _answered(turn: ToolTurn, call: ToolCall) -> Iterator[ToolEvent]:
    result, tool = turn.known_result(call), turn.toolbox.tool(call)
    if result is None and tool is not None:
        yield ToolStarted(call)
        with closing(run_tool(tool, call, turn.room(call))) as items:
            for item in items:
                if isinstance(item, ToolResult):
                    result = item
                else:
                    yield item
    assert result is not None  # a call without a tool here ends the turn
    yield turn.answer(call, result)


def _messages(prompt: Message | Sequence[Message | Mapping[str, Any]]) -> list[Message]:
    if isinstance(prompt, Message):
        return [prompt]
    if isinstance(prompt, bytes | Mapping) or not isinstance(prompt, Sequence):
        raise RequestError(
            f"the prompt is of the type {type(prompt).__name__}; it must be a text or a list of messages"
        )
    return read_messages(prompt)


def stats_json(model: Model, stats: Stats) -> dict[str, Any]:
    """The figures of one answer and of its model: seconds, tokens, tokens a second, bytes."""
    return {"load_s": model.load_s, "resident_bytes": model.resident_bytes, **stats.to_json()}
