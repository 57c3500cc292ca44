"""Drives several answers to one prompt over the engine protocol, and what is made of them: for screen, plain chat, ask.

Each answer is a turn of its own, without tools, and all of them are asked for at once; the engine computes them
together. `AnswerRecord`s take them as they come, so whatever has come may be kept at any moment.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic

from app.chat.answer import AnswerRecord
from app.chat.conversation import Conversation
from app.chat.loop import turn
from app.engine.engine import Engine, EngineError
from app.engine.protocol import Answer
from app.lines import one_line
from mlx_model.events import Finished, PrefillProgress, Queued, TextDelta, Warned
from mlx_model.pro.comparing import comparable
from mlx_model.pro.samples import WHOLE, Combine, Outcome, Samples
from mlx_model.request import Request

_BRIEF_S = 10.0
"""Seconds below which a tenth of one is worth saying."""
_SHOWN = 200
"""Characters of an answer that anyone has room for in its line."""


@dataclass(frozen=True, slots=True)
class SampleState:
    """One of the answers as it is now: `state` in a word or two, `text` what it comes to, or its last words so far."""

    tokens: int
    state: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Further:
    """An event of the answer that is written from the others, or that chooses one of them."""

    answer: Answer


class Pro:
    """Several answers to one prompt, and what comes of them.

    `records` are those of the samples; `further` is that of the answer written from them, once that has begun.
    """

    def __init__(self, request: Request, records: Sequence[AnswerRecord], combine: Combine) -> None:
        """`request` has no tools. Raises RequestError for what can't be answered several times."""
        self.samples = Samples(request, len(records), combine)
        self.records = records
        self.further: AnswerRecord | None = None
        self.outcome: Outcome | None = None
        self.is_abandoned = False
        """Whether nothing more is to be asked for: nobody waits for what would be made of the samples."""
        self.doing = ""
        """What is made of the answers now, in words; "" while they come."""
        self.ended = set[int]()
        """The numbers of the samples that have ended."""
        self.warnings: dict[str, None] = {}
        """What of the request is kept to in part only, each once, in their order."""
        self._combine = combine
        self._tokens = [0] * len(records)
        self._further_tokens = self._prompt_tokens = 0
        self._waiting = ["waiting"] * len(records)
        self._began = self._ended_s = 0.0
        self._is_cancelled = False

    async def events(
        self, engine: Engine, new_record: Callable[[], AnswerRecord], is_stopped: Callable[[], bool]
    ) -> AsyncGenerator[int | Further, None]:
        """The number of a sample that has changed, or an event of what is made of them; at the end `outcome` is set.

        `is_stopped` says whether the person has asked the engine to end the samples: what has come is what there is.
        `new_record` makes the record of a further answer. Raises EngineDied, and EngineError if no sample could be
        asked for; the records then have everything that came before.
        """
        self._began = monotonic()
        inbox = asyncio.Queue[tuple[int, Answer | Exception | None]]()
        tasks = [asyncio.create_task(self._ask(engine, number, inbox)) for number in range(len(self.records))]
        failures: list[EngineError] = []
        try:
            while self.samples.ended < len(self.records):
                number, item = await inbox.get()
                if isinstance(item, Answer):
                    self._count(number, item)
                else:
                    if isinstance(item, EngineError):  # one that fails is no reason to lose the others
                        failures.append(item)
                    elif item is not None:
                        raise item
                    self._end(number)
                if (self.samples.is_decided or is_stopped()) and not self._is_cancelled:
                    self._is_cancelled = True
                    await engine.cancel()  # those that go on end with their figures
                yield number
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if len(failures) == len(self.records):
            raise failures[0]
        async with aclosing(self._combined(engine, new_record)) as further:
            async for event in further:
                yield event
        self._ended_s = monotonic() - self._began

    async def _ask(
        self, engine: Engine, number: int, inbox: "asyncio.Queue[tuple[int, Answer | Exception | None]]"
    ) -> None:
        failure: Exception | None = None
        try:
            async with aclosing(turn(engine, self.samples.requests[number], self.records[number])) as events:
                async for event in events:
                    assert isinstance(event, Answer)  # without tools there is nothing else
                    inbox.put_nowait((number, event))
        except Exception as error:  # it is raised where the events are read
            failure = error
        inbox.put_nowait((number, failure))

    def _count(self, number: int, answer: Answer) -> None:
        match answer.event:
            case Queued():
                self._waiting[number] = "in line"
            case PrefillProgress(total=total):
                self._waiting[number], self._prompt_tokens = "reading", total
            case Warned(text=text):
                self.warnings[text] = None
            case TextDelta():
                self._tokens[number] += answer.deltas
            case Finished(stats=stats):
                self._tokens[number] = max(self._tokens[number], stats.decode_tokens)

    def _end(self, number: int) -> None:
        record = self.records[number]
        self.ended.add(number)
        self.samples.take(number, record.text, record.finished.reason if record.finished is not None else "died")

    async def _combined(self, engine: Engine, new_record: Callable[[], AnswerRecord]) -> AsyncGenerator[Further, None]:
        todo = self.samples.combination()
        while isinstance(todo, Request):
            if self.is_abandoned:
                todo = self.samples.conclude("")
                break
            count = self.samples.answers
            self.doing = (
                f"choosing one of {count} answers" if self.is_choosing else (f"writing one from {count} answers")
            )
            if self.further is None or self.further.has_begun:
                self.further = new_record()
            record = self.further
            try:
                async with aclosing(turn(engine, todo, record)) as events:
                    async for event in events:
                        assert isinstance(event, Answer)
                        if isinstance(event.event, TextDelta):
                            self._further_tokens += event.deltas
                        elif isinstance(event.event, Finished):
                            self._further_tokens = max(self._further_tokens, event.event.stats.decode_tokens)
                        yield Further(event)
            except EngineError as error:
                if not error.too_long:
                    raise
                todo = self.samples.leave_one_out()
            else:
                todo = self.samples.conclude(record.text if is_whole(record) else "")
        self.outcome = todo

    def break_off(self) -> bool:
        """The engine has failed: what has come is what there is; whether that is an answer."""
        self.outcome = self.samples.break_off()
        return bool(self.samples.answers)

    # What there is to see

    @property
    def states(self) -> list[SampleState]:
        """Each of the samples, in their order."""
        return [self._state(number) for number in range(len(self.records))]

    @property
    def votes(self) -> str:
        """Which answers were given, each with how often; "" where none can be compared."""
        return ", ".join(f"{one_line(count.answer)} \u00d7{count.votes}" for count in self.samples.tally.counts)

    @property
    def all_records(self) -> list[AnswerRecord]:
        """Those of the samples, and of what is made of them."""
        return [*self.records, *([self.further] if self.further is not None else [])]

    @property
    def is_choosing(self) -> bool:
        """Whether what is made of them is a choice, which is no answer."""
        return self._combine == "select"

    @property
    def tokens(self) -> int:
        """All that were written so far."""
        return sum(self._tokens) + self._further_tokens

    @property
    def context(self) -> int:
        """Tokens in the KV caches of all samples; what they share is there once."""
        return self._prompt_tokens + sum(self._tokens)

    @property
    def seconds(self) -> float:
        """How long it took so far."""
        return self._ended_s or (monotonic() - self._began if self._began else 0.0)

    def cost(self, alone_tok_s: float) -> tuple[str, ...]:
        """Tokens and seconds so far, in words; and how many times the seconds of one answer alone, where its speed was
        measured (else 0) or is that of the answer written from them."""
        seconds = self.seconds
        took = f"{seconds:.1f} s" if seconds < _BRIEF_S else f"{seconds:.0f} s"
        times = self._times(alone_tok_s)
        return f"{self.tokens:,} tokens, {took}", *([] if times is None else [f"{times:.1f} times one answer's"])

    def _times(self, alone_tok_s: float) -> float | None:
        written = [tokens for tokens in self._tokens if tokens]
        if not alone_tok_s and self.further is not None:
            alone_tok_s = self.further.stats.decode_tok_s
        if not alone_tok_s or not written:
            return None
        return self.seconds * alone_tok_s / (sum(written) / len(written))

    def _state(self, number: int) -> SampleState:
        record, tokens = self.records[number], self._tokens[number]
        if number in self.ended:
            if not is_whole(record):
                is_stopped = record.finished is not None and record.finished.reason == "cancelled"
                return SampleState(tokens, "stopped" if is_stopped else "no answer")
            vote = comparable(record.text)
            return SampleState(tokens, "done", record.text[:_SHOWN] if vote is None else vote.shown)
        if not record.messages:
            return SampleState(tokens, self._waiting[number])
        return SampleState(
            tokens, "thinking" if record.thinking.under_way else "answering", record.messages[-1].text[-_SHOWN:]
        )

    @property
    def answer(self) -> AnswerRecord | None:
        """What came of them: of what is not over yet, or was cut off, the first that is whole, or that has begun."""
        if (outcome := self.outcome) is not None and outcome.chosen is not None:
            return self.records[outcome.chosen]
        if outcome is not None and self.samples.answers:
            return self.further
        kept = self._kept
        return next((record for record in kept if is_whole(record)), next(iter(kept), None))

    def keep_in(self, conversation: Conversation, alone_tok_s: float = 0.0, unfinished: str | None = None) -> None:
        """Put what has come into the conversation, each answer as a version, and lead it to the `answer`.

        `unfinished` is as for AnswerRecord.keep_in, `alone_tok_s` as for `cost`.
        """
        answer = self.answer
        for number, record in enumerate(self.records, 1):
            record.origin = f"answer {number} of {len(self.records)}"
        if self.further is not None:
            self.further.origin = self.doing
        if answer is not None and self.outcome is not None:
            answer.origin = "; ".join([self.outcome.how, *self.cost(alone_tok_s)])
        for record in self._kept:
            record.keep_in(conversation, monotonic(), unfinished)
        if answer is not None:
            conversation.end_at(answer.id)

    @property
    def _kept(self) -> list[AnswerRecord]:
        """The answers of which there is something to read; else the first that has ended, to say so. What the model
        says of its choice is none."""
        answers = self.records if self.is_choosing else self.all_records
        return [each for each in answers if each.messages] or [each for each in answers if each.has_begun][:1]


def is_whole(record: AnswerRecord) -> bool:
    """Whether an answer has come to its end, with a final text."""
    return record.finished is not None and record.finished.reason in WHOLE and bool(record.text.strip())


def alone_speed(conversation: Conversation, model: str) -> float:
    """Tokens a second of the last answer here that the model gave alone; 0 without one."""
    facts = (node.facts for node in reversed(conversation.nodes.values()))
    alone = (each for each in facts if each is not None and each.model == model and not each.origin)
    return next((each.stats.decode_tok_s for each in alone if each.stats.decode_tok_s), 0.0)
