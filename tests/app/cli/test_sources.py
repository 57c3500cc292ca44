"""Sources in `ask` and the plain chat: numbers as the answer comes, the list after it."""

import json
from collections.abc import Sequence
from contextlib import closing

import pytest

from app.chat.conversation import Conversation
from app.cli import ask
from app.cli.answer_printing import AnswerPrinter
from app.cli.arguments import Start
from app.cli.plain import PlainChat
from app.documents.attachments import Attachment, join
from app.engine.local import LocalEngine, drive
from app.engine.protocol import Answer, Load
from app.store.saver import Saver
from app.tools import kits
from app.tools.permission import Decision, Wish
from mlx_model.events import Event, Finished, MessageEnd, TextDelta
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message, Role, assistant
from mlx_model.options import Options
from mlx_model.tools.base import Output, ToolResult
from tests.app.chat.test_loop_tools import Rounds
from tests.app.cli.test_ask import whole
from tests.fixtures.browsed import PAGE, SEARCH, browsed
from tests.fixtures.trees import TURN

GUIDE = "https://docs.example.org/guide#top"
SEARCHES = Message(Role.ASSISTANT, '{"query": "metal kernels"}', None, "analysis", "browser.search", "json")
OPENS = Message(Role.ASSISTANT, '{"id": 0}', None, "analysis", "browser.open", "json")
ANSWERS: list[Event] = [
    *[
        TextDelta("final", piece)
        for piece in ("So it is【1†L", "3】, ", "they ask【0†L4", "】【0†L8】 `【1", "†L3】`.")
    ],
    Finished("stop"),
]
TEXT = "".join(event.text for event in ANSWERS if isinstance(event, TextDelta))
PRINTED = "So it is[1], they ask[1][2] `【1†L3】`.\n"
LIST = f"Sources:\n[1] Metal guide, docs.example.org, L3: {GUIDE}\n[2] Forum, forum.example.net, search result\n"


class Browser:
    """A kit and its tool in one: shows what it has, in order."""

    name = declaration = "browser"
    instructions = trouble = ""

    def __init__(self) -> None:
        self.tools: Sequence[Browser] = (self,)
        self.displays = [SEARCH, PAGE]

    async def prepare(self) -> None: ...

    async def wish(self, call: ToolCall) -> Wish:
        return Wish((call.name,), Decision.ALLOW, "", "")

    async def run(self, call: ToolCall, output: Output, room: int = 0) -> ToolResult:
        return ToolResult(self.displays.pop(0))

    async def close(self) -> None: ...


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> LocalEngine:
    """The model searches, opens the first result, and answers; it may do so."""
    calls = [[*whole(call), Finished("tool_call")] for call in (SEARCHES, OPENS)]
    engine = LocalEngine(Rounds(*calls, ANSWERS))
    monkeypatch.setattr(ask, "LocalEngine", lambda: engine)
    monkeypatch.setattr(kits, "kits_of", lambda *_, **__: [Browser()])
    return engine


@pytest.mark.usefixtures("engine")
def test_ask_prints_numbers_and_the_list_as_part_of_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask.answer("q", Start(Load(), Options(), None, False, ("browser",))) == 0
    assert capsys.readouterr().out == f"{PRINTED}\n{LIST}"


@pytest.mark.usefixtures("engine")
def test_json_has_what_was_written_and_the_sources_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask.answer("q", Start(Load(), Options(), None, False, ("browser",)), as_json=True) == 0
    fields = json.loads(capsys.readouterr().out)
    assert fields["text"] == TEXT
    guide, forum = fields["sources"]
    assert forum["citations"] == ["【0†L8】"]
    assert guide == {
        "number": 1,
        "title": "Metal guide",
        "url": GUIDE,
        "site": "docs.example.org",
        "where": "L3",
        "lines": [
            [3, "A kernel runs once per thread."],
            [None, "  * 【0†Metal guide†docs.example.org】 How kernels are written."],
        ],
        "citations": ["【1†L3】", "【0†L4】"],
    }


def test_the_plain_chat_lists_them_on_standard_error(engine: LocalEngine, capsys: pytest.CaptureFixture[str]) -> None:
    drive(_load(engine))
    with closing(Saver(print)) as saver:
        chat = PlainChat(engine, Start(Load(), Options(), None, False), saver, edits_lines=False)
        chat._tools.switch(("browser",))
        chat._ask("q")
        out, err = capsys.readouterr()
        assert out == PRINTED
        assert LIST in err
        chat.resume()  # what is on the disk is what the model wrote
        out, err = capsys.readouterr()
        assert f"> q\n\n{PRINTED}\n" in out
        assert err == LIST
        chat.close()


def test_a_quote_that_is_not_in_the_file_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'As "the router picks nine" [p. 1].'
    answer: list[Event] = [TextDelta("final", text), MessageEnd(assistant(text)), Finished("stop")]
    engine = LocalEngine(Rounds(answer, answer, answer))
    monkeypatch.setattr(ask, "LocalEngine", lambda: engine)
    prompt = join("how many?", [Attachment("a.pdf", "[page 1]\nThe router picks four.")])
    start, said = Start(Load(), Options(), None, False), '[p. 1]: quote not found: "the router picks nine"\n'
    assert ask.answer(prompt, start) == 0
    out, err = capsys.readouterr()
    assert (out, err.endswith(said)) == (f"{text}\n", True)
    assert ask.answer(prompt, start, as_json=True) == 0
    out, err = capsys.readouterr()
    citations = json.loads(out)["citations"]
    assert [(each["text"], each["label"], each["ok"]) for each in citations] == [("[p. 1]", "page 1", False)]
    assert said not in err
    with closing(Saver(print)) as saver:
        chat = PlainChat(engine, start, saver, edits_lines=False)
        chat._ask(prompt)
        assert said in capsys.readouterr().err
        chat.close()


async def _load(engine: LocalEngine) -> None:
    async for _ in engine.load(Load()):
        pass


def test_an_answer_that_goes_on_keeps_its_numbers_and_knows_earlier_pages(capsys: pytest.CaptureFixture[str]) -> None:
    tree = Conversation()
    tree.add_answer(tree.add_prompt("q", None).id, TURN, [*browsed(), assistant("Yes.")])
    begun = [assistant("It says so【0†L8】", "commentary"), assistant("Cut off【2†L40】 in 【1†L")]
    printer = AnswerPrinter(show_analysis=False, earlier=tree.messages, begun=begun)
    for piece in ("3】 the middle【0†L8】【1", "†"):
        printer.show(Answer(1, TextDelta("final", piece)))
    printer.end_line()
    assert capsys.readouterr().out == "[2] the middle[1]【1†\n"  # what is not complete is printed at the end
    assert [source.title for source in printer.sources] == ["Forum", "Metal guide"]
