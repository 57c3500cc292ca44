"""The plain chat in this process: what the terminal tests in tests/e2e can't provoke."""

from contextlib import closing

import pytest

from app.chat.answer import AnswerRecord
from app.cli.answer_printing import AnswerPrinter
from app.cli.arguments import Start
from app.cli.plain import PlainChat
from app.engine.local import LocalEngine
from app.engine.protocol import Load
from app.store.saver import Saver
from mlx_model.events import Event, Finished
from mlx_model.options import Options
from tests.app.cli.test_ask import FINAL, Scripted


async def test_an_answer_that_cannot_be_printed_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Scripted([*FINAL, Finished("stop")])
    engine = LocalEngine(backend)
    async for _ in engine.load(Load()):
        pass

    def fail(printer: AnswerPrinter, event: Event) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(AnswerPrinter, "show", fail)
    start = Start(Load(), Options(), None, False)
    with closing(Saver(print)) as saver:
        chat = PlainChat(engine, "scripted", start, saver, edits_lines=False)
        prompt = chat._conversation.add_prompt("q", None)
        record = AnswerRecord(start.options.effort, prompt)
        with pytest.raises(BrokenPipeError):
            await chat._show(prompt, record, AnswerPrinter(show_analysis=False))
    assert backend.closed
