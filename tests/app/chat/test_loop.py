"""One turn over the engine protocol: its events, what is recorded of them, and how it ends."""

from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence

import pytest

from app.chat.answer import AnswerRecord
from app.chat.loop import turn
from app.engine.engine import EngineError
from app.engine.local import LocalEngine
from app.engine.protocol import Answer, Load, Loading, Ready
from mlx_model.errors import GptossError, RequestError
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, TextDelta
from mlx_model.harmony.message import Effort, assistant, user
from mlx_model.request import Request

ANSWER: list[Event] = [
    MessageStart("final"),
    TextDelta("final", "y"),
    TextDelta("final", "es"),
    MessageEnd(assistant("yes")),
    Finished("stop"),
]


class Scripted:
    """A backend that yields events, and raises an exception where it comes to one."""

    def __init__(self, *script: Event | Exception) -> None:
        self.script = script
        self.closed = False

    def load(self, wanted: Load, announce: Callable[[Loading], None]) -> Ready:
        return Ready("scripted", 4096, 0, 0, 0.0)

    def stream(
        self, request: Request, cancelled: Callable[[], bool], answer_now: Callable[[], bool]
    ) -> Iterator[Event]:
        try:
            for item in self.script:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed = True

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def settle(self) -> Generator[object, None, None]:
        yield from ()


async def engine_of(backend: Scripted) -> LocalEngine:
    engine = LocalEngine(backend)
    async for _ in engine.load(Load()):
        pass
    return engine


REQUEST = Request((user("q"),))


async def test_every_event_is_recorded_before_it_is_passed_on() -> None:
    record, texts, events = AnswerRecord(Effort.LOW), [], []
    async for answer in turn(await engine_of(Scripted(*ANSWER)), REQUEST, record):
        assert isinstance(answer, Answer)
        events.append(answer.event)
        texts.append(record.text)
    assert events == ANSWER and texts == ["", "y", "yes", "yes", "yes"]
    assert record.finished == Finished("stop")


async def test_a_failure_is_raised_and_what_came_before_it_is_kept() -> None:
    record = AnswerRecord(Effort.LOW)
    engine = await engine_of(Scripted(*ANSWER[:2], GptossError("no memory")))
    with pytest.raises(EngineError, match="no memory"):
        async for _ in turn(engine, REQUEST, record):
            pass
    assert record.text == "y" and record.finished is None and record.has_begun
    engine = await engine_of(Scripted(*ANSWER[:2], RequestError("another answer has begun")))
    with pytest.raises(EngineError, match="another"):
        async for _ in turn(engine, REQUEST, AnswerRecord(Effort.LOW)):
            pass


async def test_text_of_several_tokens_counts_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    async def merged(self: LocalEngine, request: Request) -> AsyncGenerator[Answer, None]:
        yield Answer(1, TextDelta("analysis", "so so so"), deltas=3)

    monkeypatch.setattr(LocalEngine, "ask", merged)
    record = AnswerRecord(Effort.LOW)
    async for _ in turn(await engine_of(Scripted()), REQUEST, record):
        pass
    assert record.thinking.tokens == 3


async def test_closing_a_turn_ends_the_answer() -> None:
    backend = Scripted(*ANSWER)
    events = turn(await engine_of(backend), REQUEST, AnswerRecord(Effort.LOW))
    await anext(events)
    assert not backend.closed
    await events.aclose()
    assert backend.closed
