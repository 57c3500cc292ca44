"""A document that is longer than the context is read by parts: in order, within bounds, stopped, killed and taken up.

The engine counts a character as a token, so every bound is exact.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from app.chat import by_parts
from app.chat.by_parts import ReadingByParts, has_notes, unread
from app.chat.conversation import AnswerFacts, Conversation
from app.chat.reading_cost import Cost, Progress, Speed, speed_in
from app.documents import kept_texts
from app.documents.attachments import Attachment, join, split
from app.documents.notes import Notes, notes_of, to_be_read
from app.engine.engine import EngineDied, EngineError
from app.engine.protocol import Load
from mlx_model.documents.document import Page
from mlx_model.errors import RequestError
from mlx_model.events import Event, Finished, PrefillProgress, Stats
from mlx_model.harmony.message import Effort, assistant
from mlx_model.options import Options
from tests.fixtures.scripted_engine import STATS, ScriptedEngine, message, says

QUESTION = "Which numbers stand in it?"
FILLER = "\n".join(["A line of the page that says nothing of interest."] * 10)
Reply = Callable[[str], Iterable[Event | Exception | None]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("GPTOSS_CHAT_HOME", str(tmp_path / "home"))
    kept_texts._texts.clear()
    yield tmp_path
    kept_texts._texts.clear()


def document(count: int, blank: tuple[int, ...] = ()) -> Attachment:
    pages = [Page(n, "" if n in blank else f"Number {n * 7}.\n{FILLER}", f"page {n}") for n in range(1, count + 1)]
    notes = [f"page {n} has no text" for n in blank]
    return to_be_read("a.pdf*", pages, f"{count} pages", notes)


def numbers(prompt: str) -> Iterable[Event | Exception | None]:
    """Notes as a good model takes them: what is asked for of each page, with the page."""
    text = split(prompt)[1][0].text
    lines, page = [], ""
    for line in text.split("\n"):
        page = line[6:-1] if line.startswith("[page ") else page
        if line.startswith("Number "):
            lines.append(f'"{line[:-1]}" [p. {page}]')
        elif "[p. " in line:
            lines.append(line)  # of notes that are shortened
    return says("\n".join(lines) or "nothing", analysis="Hm.")


class Scene:
    """A prompt that is read by parts, and what is asked of the engine for it."""

    def __init__(self, *files: Attachment, reply: Reply = numbers, context: int = 4096, used: int = 0) -> None:
        self.engine = ScriptedEngine(lambda request: reply(request.messages[0].text))
        self.engine.context_length = context
        self.kept = [join(QUESTION, files)]
        self.used = used
        self.progress: list[Progress] = []

    @property
    def prompts(self) -> list[str]:
        return [request.messages[0].text for request in self.engine.asked]

    @property
    def notes(self) -> Notes:
        notes = notes_of(split(self.kept[-1])[1][0])
        assert notes is not None
        return notes

    async def reading(self) -> ReadingByParts:
        async for _ in self.engine.load(Load()):
            pass
        reading = ReadingByParts(self.engine, self.kept[-1], Options(seed=3, stop=("x",)), self.used)
        await reading.plan()
        return reading

    async def play(self, most: int = 10_000) -> ReadingByParts:
        """Read on from what is kept, as far as `most` prompts to keep."""
        reading = await self.reading()
        async with aclosing(reading.events()) as events:
            async for is_new in events:
                self.progress.append(reading.progress)
                if is_new:
                    self.kept.append(reading.prompt)
                    if (most := most - 1) == 0:
                        break
        return reading


async def test_parts_are_read_in_order_and_the_notes_are_a_file_of_the_prompt() -> None:
    scene = Scene(Attachment("b.txt", "Another."), document(20))
    scene.kept = [join(QUESTION, [Attachment("b.txt", "Another."), document(20)])]
    reading = await scene.reading()
    assert unread(reading.prompt) and not has_notes(reading.prompt)
    assert str(reading.cost) == "7 parts, 10,422 tokens to be read, up to 1,792 of notes written"
    await scene.play()
    text, files = split(scene.kept[-1])
    notes = notes_of(files[1])
    assert notes is not None and (text, files[0].name) == (QUESTION, "b.txt")
    assert (notes.parts, notes.done, notes.is_over, notes.most) == (7, 7, True, 2048)
    assert files[1].note.startswith("20 pages; notes on all 7 parts of up to 2,048 tokens, 2,464 read, 154 written, ")
    assert [(note.first, note.last) for note in notes.notes][:2] == [("p. 1", "p. 3"), ("p. 4", "p. 6")]
    assert files[1].text.count("[p. ") == 20 and '"Number 140" [p. 20]' in files[1].text
    assert files[1].citation == "[p. 1]" and not unread(scene.kept[-1]) and has_notes(scene.kept[-1])
    # Each request has a part, which says where it is, and the question; nothing of the other file.
    for number, prompt in enumerate(scene.prompts, 1):
        task, (part,) = split(prompt)
        assert f"part {number} of 7" in task and task.endswith(f"The request: {QUESTION}") and "as [p. 1]" in task
        assert part.name == "a.pdf" and part.note.startswith(f"part {number} of 7, p. ")
    assert len({p.share for p in scene.progress}) >= 7 and scene.progress[-1].share == 1.0
    first = next(each for each in scene.progress if each.part == 1)
    assert (first.doing, first.where) == ("reading part 1 of 7", "p. 1-3") and first.figures.startswith(
        "p. 1-3, 1,560 of 10,422 tokens"
    )


@pytest.mark.parametrize("context", [1300, 1700, 2600, 4096, 9000])
async def test_no_request_has_more_tokens_than_the_context_and_no_notes_more_than_theirs(context: int) -> None:
    def much(prompt: str) -> Iterable[Event]:
        return says("\n".join(f"{n}. A claim [p. {n}]" for n in range(400)))

    scene = Scene(document(30), reply=much, context=context)
    reading = await scene.play()
    most = reading._most_notes
    for request in scene.engine.asked:
        prompt, options = request.messages[0].text, request.options
        assert len(split(prompt)[1][0].text) <= scene.notes.most <= context // 2
        assert options.max_tokens == most + most // 2 and options.max_thinking == most // 2
        assert len(prompt) + options.max_tokens + by_parts.HEAD // 2 <= context
        assert (options.effort, options.stop, options.seed) == (Effort.LOW, (), 3)
    assert all(len(note.text) <= most for note in scene.notes.notes)
    # What is left for the answer is a quarter of the context.
    assert len(scene.kept[-1]) + context // 4 <= context
    assert scene.notes.is_over


async def test_notes_that_do_not_fit_are_shortened_in_rounds_and_no_page_is_lost() -> None:
    scene = Scene(document(200), context=3000)
    await scene.play()
    shortened = [prompt for prompt in scene.prompts if "has notes on a document" in prompt]
    assert len(shortened) >= 2 and scene.progress[-1].doing == "shortening the notes"
    assert shortened == scene.prompts[-len(shortened) :]
    assert all(split(prompt)[1][0].note.startswith("notes on p. ") for prompt in shortened)
    notes = scene.notes
    assert notes.is_over and notes.notes[0].first == "p. 1" and notes.notes[-1].last == "p. 200"
    assert len(notes.notes) < notes.parts
    places = [place for note in notes.notes for place in (note.first, note.last)]
    assert places == sorted(places, key=lambda place: int(place[3:]))
    # The killed reading takes the rounds up where they were.
    again = Scene(reply=numbers, context=3000)
    again.kept = [scene.kept[notes.parts + 1]]
    await again.play()
    assert again.prompts == shortened[1:] and again.kept[-1].partition(" s, ")[2] == scene.kept[-1].partition(" s, ")[2]


async def test_killed_at_any_moment_it_goes_on_with_the_next_part() -> None:
    whole = Scene(document(20))
    await whole.play()
    for kept in range(1, 7):
        scene = Scene(document(20))
        await scene.play(kept)
        text = kept_texts.text_of(scene.notes.digest)
        assert scene.notes.done == kept and unread(scene.kept[-1]) and has_notes(scene.kept[-1])
        kept_texts._texts.clear()  # the process is gone
        assert text is not None
        kept_texts.remember(text)
        scene.engine.asked.clear()
        reading = await scene.play()
        assert scene.prompts == whole.prompts[kept:]
        assert reading.cost.parts == 7 - kept
        assert [note.text for note in scene.notes.notes] == [note.text for note in whole.notes.notes]
        assert (scene.notes.read, scene.notes.written) == (whole.notes.read, whole.notes.written)
        assert scene.progress[-1] == replace(whole.progress[-1], seconds=scene.progress[-1].seconds)


async def test_stopped_in_the_middle_of_a_part_the_notes_before_it_stay() -> None:
    def stops(prompt: str) -> Iterable[Event | Exception | None]:
        return [PrefillProgress(50, 100), *message("half")[:2], None] if "part 3 of" in prompt else numbers(prompt)

    scene = Scene(document(20), reply=stops)
    reading = await scene.reading()
    async with aclosing(reading.events()) as events:
        async for is_new in events:
            if is_new:
                scene.kept.append(reading.prompt)
            elif reading.text == "half":
                await scene.engine.cancel()
    assert scene.notes.done == 2 and reading.prompt == scene.kept[-1] and "half" not in reading.prompt
    assert reading.progress.where == "p. 7-9" and len(scene.prompts) == 3


@pytest.mark.parametrize("error", [EngineError("the GPU failed"), EngineDied("the engine was killed")])
async def test_an_error_in_the_middle_keeps_what_was_noted(error: Exception) -> None:
    scene = Scene(document(20), reply=lambda prompt: [error] if "part 4 of" in prompt else numbers(prompt))
    with pytest.raises(type(error)):
        await scene.play()
    assert scene.notes.done == 3 and not scene.notes.is_over
    scene.engine.script = lambda request: numbers(request.messages[0].text)
    await scene.play()
    assert scene.notes.is_over and scene.kept[-1].count("[p. ") == 21


async def test_pages_without_text_are_said_and_parts_without_anything_are_one_line() -> None:
    scene = Scene(document(20, blank=(2, 3, 4, 9)), reply=lambda prompt: says("Nothing."))
    await scene.play()
    note = split(scene.kept[-1])[1][0]
    assert "page 2 has no text" in note.note and note.text == "== p. 1 ... p. 20 ==\nnothing"
    assert not any("[page 3]" in prompt for prompt in scene.prompts)
    empty = Scene(to_be_read("b.pdf*", [Page(n, "", f"page {n}") for n in range(1, 500)], "", ()))
    with pytest.raises(RequestError, match=r"b.pdf\* has no text"):
        await empty.reading()


async def test_a_document_that_fits_is_in_the_prompt_whole() -> None:
    scene = Scene(document(3))
    reading = await scene.play()
    assert reading.fits == ["a.pdf"] and reading.cost == Cost(0, 0, 0) and scene.prompts == []
    text, (file,) = split(reading.prompt)
    assert (text, file.name, file.note) == (QUESTION, "a.pdf", "3 pages") and file.text.startswith(
        "[page 1]\nNumber 7."
    )
    assert not unread(reading.prompt)
    # The same behind a long conversation is read by parts, as far as that leaves room.
    assert (await Scene(document(3), used=1500).reading()).cost.parts == 1
    with pytest.raises(
        RequestError, match="no room in a context of 4,096 tokens, of which the conversation takes 2,900"
    ):
        await Scene(document(3), used=2900).reading()
    with pytest.raises(RequestError, match=r"no room in a context of 900 tokens$"):
        await Scene(document(20), context=900).reading()


async def test_several_documents_are_read_one_after_the_other() -> None:
    scene = Scene()
    scene.kept = [
        join(QUESTION, [document(20), replace(document(12), name="b.pdf*"), replace(document(1), name="c.pdf*")])
    ]
    reading = await scene.play()
    assert reading.cost.parts == 7 + 4
    names = [split(prompt)[1][0].name for prompt in scene.prompts]
    assert names == ["a.pdf"] * 7 + ["b.pdf"] * 4 and not unread(scene.kept[-1])
    assert scene.progress[-1].done == scene.progress[-1].total == reading.cost.tokens


async def test_a_quote_that_is_not_in_the_part_is_marked_in_the_notes() -> None:
    scene = Scene(document(20), reply=lambda prompt: says('"Number 8 is large" [p. 1], "Number 7." [p. 1]'))
    await scene.play(1)
    assert scene.notes.notes[0].text == '"Number 8 is large" [p. 1] (quote not found), "Number 7." [p. 1]'


async def test_a_thought_without_notes_is_asked_again_without_a_thought() -> None:
    def thinks(prompt: str) -> Iterable[Event]:
        if scene.engine.asked[-1].options.max_thinking:
            return [*message("Hm", "analysis"), Finished("length", STATS)]
        return says("noted [p. 1]")

    scene = Scene(document(4), reply=thinks, context=3000)
    await scene.play(1)
    assert scene.notes.notes[0].text == "noted [p. 1]" and len(scene.prompts) == 2
    assert (scene.notes.read, scene.notes.written) == (2 * 352, 2 * 22)


async def test_what_can_not_be_taken_up_is_said() -> None:
    scene = Scene(document(20))
    await scene.play(2)
    scene.engine.context_length = 2600
    with pytest.raises(RequestError, match="begun with parts of 2,048 tokens, which this context does not hold"):
        await scene.play()
    scene.engine.context_length = 4096
    kept_texts._texts.clear()
    with pytest.raises(RequestError, match=r"the text of a.pdf\* is no longer there"):
        await scene.play()


async def test_what_was_planned_and_not_begun_is_planned_anew_in_another_context() -> None:
    scene = Scene(document(20))
    scene.kept = [(await scene.reading()).prompt]
    scene.engine.context_length = 2600
    assert (await scene.reading()).cost.parts == 10
    scene.engine.context_length = 40_000
    assert (await scene.reading()).fits == ["a.pdf"]


async def test_parts_that_were_cut_otherwise_are_not_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(texts: object) -> list[int]:
        raise EngineError("can't count")

    scene = Scene(document(20))
    await scene.play(2)
    scene.engine.context_length = 6000
    monkeypatch.setattr(scene.engine, "count", refuses)
    with pytest.raises(RequestError, match=r"a.pdf\* was cut into other parts when it was begun"):
        await scene.reading()
    monkeypatch.setattr(scene.engine, "count", ScriptedEngine().count)
    scene.kept = [scene.kept[-1].replace("notes on 2 of 7", "notes on 9 of 7")]
    with pytest.raises(RequestError, match="was cut into other parts"):
        await scene.reading()


async def test_where_nobody_can_count_the_estimate_leaves_a_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(texts: object) -> list[int]:
        raise EngineError("can't count")

    scene = Scene(document(400), context=8192)
    monkeypatch.setattr(scene.engine, "count", refuses)
    reading = await scene.reading()
    assert str(reading.cost).startswith(f"{reading.cost.parts} parts, about ") and reading.cost.parts > 7


def test_the_time_follows_from_what_was_measured() -> None:
    cost = Cost(12, 60_000, 4_000)
    assert cost.time(Speed()) == "" and cost.time(Speed(1000, 0)) == ""
    assert cost.time(Speed(1000, 50)) == "about 2 min"
    tree = Conversation()
    for prefilled in (900, 3):
        stats = Stats(prefill_tokens=prefilled, prefill_s=2, decode_tokens=prefilled + 1, decode_s=10)
        prompt = tree.add_prompt("q", tree.leaf)
        tree.add_answer(prompt.id, AnswerFacts("m", Effort.LOW, "stop", stats), [assistant("a")])
    assert speed_in(tree, "m") == Speed(450, 0.3) and speed_in(tree, "other") == Speed()
