"""Requests in, events out, with the KV cache kept between the turns of several conversations."""

import datetime
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace

from mlx_model.errors import RequestError, TokenizerError
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, Warned
from mlx_model.generation.bound import Bound
from mlx_model.generation.call_sentences import CallSentences
from mlx_model.generation.constraint import Constraint
from mlx_model.generation.exclusive import Exclusive, Stream
from mlx_model.generation.grammars import can_bind, grammars_of
from mlx_model.generation.likelihood import Likelihoods
from mlx_model.generation.runner import Runner, alone, never
from mlx_model.generation.sampled import SampledIds
from mlx_model.generation.scheduler import Scheduler
from mlx_model.generation.stop import StopStrings
from mlx_model.generation.thought import Thought
from mlx_model.harmony.calls import read_call
from mlx_model.harmony.choice import tool_choice
from mlx_model.harmony.grammar import bind
from mlx_model.harmony.history import drop_old_analysis, is_answer, is_thought
from mlx_model.harmony.message import Message, Role
from mlx_model.harmony.parse import StreamParser
from mlx_model.harmony.prompt import developer_message, system_message
from mlx_model.harmony.render import Renderer
from mlx_model.model import Model
from mlx_model.request import Request

_MOST_DATES = 1000
"""Conversations whose dates are remembered."""
_MOST_FILES = 8
"""Files of a prompt whose ends stay restorable: each costs a window of every sliding layer."""


class Session:
    """Answers requests with one model, one at a time or several together (`steps`). What a prompt shares with earlier
    ones is not computed again.

    Conversations may take turns: each keeps its KV cache while the memory plan has room for it, which all Sessions of a
    model share. A stream may be read in
    any thread; use a few threads again and again, since MLX keeps the streams of each after it has ended (measured with
    0.32.4 on a CPU: three threads of its own). A stream that is open when another begins ends there: its next step
    raises RequestError, as does a step while another thread takes one.

    `today` is the date the system message states, by default that of each conversation's first day: midnight must not
    cost a chat its cache. Raises TokenizerError for a model without tokenizer.
    """

    def __init__(self, model: Model, *, today: datetime.date | None = None) -> None:
        if model.tokenizer is None:
            raise TokenizerError(f"{model.folder} has no tokenizer.json; without it the model works on token ids only")
        self.model = model
        self.tokens: list[int] = []
        """The ids of the answer that began last: those that were sampled, and those that ended its thought."""
        self._tokenizer = model.tokenizer
        self._start = model.tokenizer.special["<|start|>"]
        self._renderer = Renderer(model.tokenizer)
        self._scheduler = Scheduler(model)
        self._exclusive = Exclusive(model.check_process)
        self._fixed_date = today
        self._dates: dict[Message, datetime.date] = {}
        # Ids that no cache can hold are of no use.
        self._sampled = SampledIds(model.plan.context)
        self._sentences = CallSentences()

    def prompt(self, request: Request) -> list[int]:
        """The ids that the model is given for a request.

        Analysis of turns that have been answered is left out, as in training. A last message of the model's own was cut
        off: the prompt ends where it does, and the model goes on inside it. Raises RequestError if there is nothing to
        answer, or for tools and schemas that can't be used.
        """
        messages = request.messages
        if not messages or (messages[-1].role is Role.USER and not messages[-1].text.strip()):
            raise RequestError("the prompt is empty")
        unfinished = _unfinished(messages)
        # The thoughts that led to a final message are no old ones until that is complete.
        kept = drop_old_analysis(messages[:-1] if unfinished else messages)
        # Behind the conversation, which the cache may hold: the choice may be another one in each request.
        last = [developer_message(sentence)] if (sentence := _sentence(request)) else []
        messages = [*self._head(request), *self._sentences.among(kept), *last]
        return self._renderer.prompt(messages, self._sampled, unfinished)

    def stream(
        self,
        request: Request,
        cancelled: Callable[[], bool] = never,
        constraint: Constraint | None = None,
        answer_now: Callable[[], bool] = never,
    ) -> Stream[Event]:
        """Answers; the last event is always Finished. The caller appends the MessageEnd messages to its conversation.

        Where the last message is the model's own, cut off, the first events go on with it: text deltas without a
        MessageStart, which continue its text, and a MessageEnd with the whole of it, to take its place.

        `cancelled` is asked before each token and each prefill chunk. `constraint` follows the ids behind the prompt,
        markup included, and says which may be sampled, in place of what the request binds. Once `answer_now` is true, a
        thought ends where it stands and the final message begins, or the call that the request asks for; so it does
        after the request's `max_thinking` tokens. Raises RequestError and ContextError.
        """
        return Stream(self._exclusive, alone(self.steps(request, cancelled, constraint, answer_now)))

    def steps(
        self,
        request: Request,
        cancelled: Callable[[], bool] = never,
        constraint: Constraint | None = None,
        answer_now: Callable[[], bool] = never,
    ) -> Generator[Event | None, None, None]:
        """As `stream`, for one of several answers that are computed together: see Runner.steps. Close what is not read
        to its end: it holds memory that others may wait for."""
        return self._answer(request, cancelled, constraint, answer_now)

    def settle(self, request: Request, answer: Sequence[Message]) -> Stream[int]:
        """Brings the conversation into the KV cache as the next turn's prompt will have it, without its analysis.

        For the time in which the person reads: the next turn then computes the new message alone. `answer` has the
        messages of the answer to `request`. Each step computes one chunk and yields the number of tokens cached so far;
        a stream that is dropped between two steps leaves what it has computed.
        """
        return Stream(self._exclusive, self._settle(request, answer))

    def _head(self, request: Request) -> list[Message]:
        """The messages a conversation opens with: system, and developer where there is anything to say in it."""
        if request.tool_choice == "none":
            request = replace(request, tools=(), functions=(), namespaces=())
        functions, namespaces = bool(request.functions), request.namespaces
        date = self._date(request.messages)
        head = [system_message(request.options.effort, date=date, tools=request.tools, functions=functions)]
        formats = () if request.response_format is None else (request.response_format,)
        if request.instructions or functions or namespaces or formats:
            instructions = request.instructions or None
            head.append(developer_message(instructions, request.functions, namespaces=namespaces, formats=formats))
        return head

    def _date(self, messages: Sequence[Message]) -> datetime.date:
        """The date of the conversation, which is that of its first prompt; the first message stands for it."""
        if self._fixed_date is not None:
            return self._fixed_date
        if len(messages) == 1 or messages[0] not in self._dates:
            self._dates[messages[0]] = datetime.date.today()
            if len(self._dates) > _MOST_DATES:
                del self._dates[next(iter(self._dates))]
        return self._dates[messages[0]]

    def _answer(
        self,
        request: Request,
        cancelled: Callable[[], bool],
        constraint: Constraint | None,
        answer_now: Callable[[], bool],
    ) -> Generator[Event | None, None, None]:
        options = request.options
        prompt = self.prompt(request)
        boundaries = sorted([*self._boundaries(prompt), *self._ends_of_files(prompt)])
        unfinished = _unfinished(request.messages)
        begun = [] if unfinished is None else prompt[boundaries[-1] :]
        opening = self._renderer.thought_to_answer
        tokens = self.tokens = []
        if constraint is None and (bound := self._bound(request)) is not None:
            yield from map(Warned, bound.warnings)
            bound.continue_from(begun[len(self._renderer.opening) :])
            constraint, opening = bound, bound.opening or opening
        parser = StreamParser(self._tokenizer, Role.ASSISTANT if unfinished is None else None)
        stop, thought = StopStrings(options.stop, unfinished), Thought(options.max_thinking, answer_now)
        for token in begun:
            thought.take(parser.push(token))
        likelihoods = Likelihoods(self._tokenizer)
        reason = None
        runner = Runner(self.model, self._scheduler)
        run = runner.steps(prompt, options, boundaries=boundaries, cancelled=cancelled, constraint=constraint)
        with closing(run) as items:
            for item in items:
                if not isinstance(item, int):
                    yield item
                    continue
                tokens.append(item)
                events = parser.push(item)
                events = likelihoods.put(item, runner.draw, events, inside_character=parser.inside_character)
                thought.take(events)
                if thought.must_end and not parser.inside_character:
                    runner.insert(opening)
                    tokens += opening
                    events += [event for token in opening for event in parser.push(token)]
                    thought.take(events)
                for event in events:
                    if isinstance(event, MessageStart) and event.role != Role.ASSISTANT:
                        reason = "stop"  # the model begins to write another role's message: its own turn is over
                        break
                    yield from stop.filter([event])
                    if isinstance(event, MessageEnd) and read_call(event.message) is not None:
                        reason = "tool_call"  # however the call ends: what follows would be a result made up
                        break
                if stop.found:
                    reason = "stop_string"
                if reason is not None:
                    break
            else:
                yield from stop.filter(parser.finish())
                reason = "stop_string" if stop.found else runner.finish_reason
        if reason == "stop" and not any(is_answer(message) for message in parser.messages):
            reason = "no_answer"
        self._sampled.add(parser.sampled)
        self._sentences.add(request.messages[-1], parser.messages, _sentence(request))
        thoughts = (ids for message, ids in zip(parser.messages, parser.tokens, strict=True) if is_thought(message))
        stats = runner.stats
        # One that was cut off and goes on here has been counted up to there.
        thought_tokens = min(sum(map(len, thoughts)), stats.decode_tokens)
        yield Finished(reason, replace(stats, analysis_tokens=thought_tokens))

    def _bound(self, request: Request) -> Bound | None:
        """What keeps the answer to its form. Calls are bound where that can be done; all else has to be."""
        binding = bind(request, self._tokenizer, self._compiles)
        if binding is None or (binding.turn is None and not can_bind()):
            return None
        return Bound(
            binding, grammars_of(self._tokenizer, self.model.config.vocab_size), self._tokenizer, request.options
        )

    def _compiles(self, grammar: str) -> bool:
        return can_bind() and grammars_of(self._tokenizer, self.model.config.vocab_size).compiles(grammar)

    def _settle(self, request: Request, answer: Sequence[Message]) -> Generator[int, None, None]:
        messages = request.messages[:-1] if _unfinished(request.messages) else request.messages
        kept = [*self._head(request), *self._sentences.among(drop_old_analysis([*messages, *answer]))]
        ids = self._renderer.conversation(kept, self._sampled)
        yield from Runner(self.model, self._scheduler).settle(ids, boundaries=self._boundaries(ids))

    def _boundaries(self, ids: Sequence[int]) -> list[int]:
        """Where messages start: there a later prompt may go another way, after an edit or without analysis."""
        return [position for position, token in enumerate(ids) if token == self._start]

    def _ends_of_files(self, prompt: Sequence[int]) -> list[int]:
        """Where the last files of the last message end, or what else stands between fences with a blank line behind:
        another question about the same files begins as this one does, up to there."""
        start, end = ([0, 0, *self._boundaries(prompt)])[-2:]
        ends, before = [], b""
        for position in range(start, end):
            text = before + self._tokenizer.token_bytes(prompt[position])
            if text.endswith(b"```\n\n"):
                ends.append(position + 1)
            before = text[-4:]
        return ends[-_MOST_FILES:]


def _sentence(request: Request) -> str:
    """What the model is told at the end of the prompt, "" for nothing: it has to call, and has not begun to."""
    return "" if _unfinished(request.messages) else tool_choice(request).sentence


def _unfinished(messages: Sequence[Message]) -> Message | None:
    """The message of the model's own that the conversation breaks off in."""
    return messages[-1] if messages and messages[-1].role is Role.ASSISTANT else None
