"""The plain chat in this process: what the terminal tests in tests/e2e can't provoke."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from app.chat.answer import AnswerRecord
from app.cli.answer_printing import AnswerPrinter
from app.cli.arguments import Start
from app.cli.plain import PlainChat
from app.engine.local import LocalEngine
from app.engine.protocol import Load, Loading, Ready
from app.store.saver import Saver
from mlx_model.errors import CheckpointError
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
        chat = PlainChat(engine, start, saver, edits_lines=False)
        prompt = chat._conversation.add_prompt("q", None)
        record = AnswerRecord(start.options.effort, prompt)
        with pytest.raises(BrokenPipeError):
            await chat._show(prompt, record, AnswerPrinter(show_analysis=False))
    assert backend.closed


class Adapting(Scripted):
    """A backend that puts any adapter on but one."""

    models: ClassVar[list[str | None]] = []

    def load(self, wanted: Load, announce: Callable[[Loading], None]) -> Ready:
        self.models.append(wanted.model)
        name = Path(wanted.adapter or "").name
        if name == "bad":
            raise CheckpointError("bad is for another model")
        return replace(super().load(wanted, announce), adapter=name)


def test_adapters_by_name(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("bad", "french"):
        folder = home / "adapters" / name
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
    lines = iter(["/adapter", "/adapter frensh", "/adapter french", "hi", "/adapter bad", "/adapter off"])
    monkeypatch.setattr("app.cli.plain_input._line", lambda *_: next(lines, "/quit"))
    engine = LocalEngine(Adapting([*FINAL, Finished("stop")]))
    with closing(Saver(print)) as saver:
        chat = PlainChat(engine, Start(Load(), Options(), None, False), saver, edits_lines=False)
        assert chat.load(Load()) == "scripted"
        chat.run()
        chat.close()
    printed = capsys.readouterr().out
    assert Adapting.models == [None, *["scripted"] * 4]  # that the default one answers is said once
    assert "scripted answers. Adapters here: bad, french.\n" in printed
    assert 'There is no adapter "frensh" (did you mean french?)' in printed
    assert "scripted + french answers from now on.\n" in printed
    assert "Bad is for another model. scripted + french is loaded again.\n" in printed
    assert printed.endswith("\nscripted answers from now on.\n")
    with closing(Saver(print)) as saver:
        last = saver.last()
    assert last is not None and last.path[-1].facts is not None
    assert last.path[-1].facts.model == "scripted + french"
