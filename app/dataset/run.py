"""One run: try after try is asked of the model, checked, and kept or dropped, until there are items enough."""

import asyncio
import hashlib
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from typing import Any

from app.dataset import checks
from app.dataset.checks import Drop
from app.dataset.item import Item
from app.dataset.kinds import KINDS, Draft, Dropped, Kind, Try, value_of, with_letters
from app.dataset.log import Log
from app.dataset.passages import Passage, in_turn, passages, without_copies
from app.dataset.sources import Source
from app.digests import digest_of
from app.engine.engine import Engine, EngineError
from app.lines import one_line
from mlx_model.documents.quotes import QuoteIndex, lines_of
from mlx_model.errors import RequestError
from mlx_model.events import Finished
from mlx_model.harmony.fold import FoldedAnswer
from mlx_model.harmony.message import Effort, user
from mlx_model.harmony.tools import ResponseFormat
from mlx_model.options import Options
from mlx_model.request import Form, Request

MOST_IN_VAIN = 30
"""Tries in a row without an item, after which the documents are taken to have no more."""
TIMES_ALONE = 3
"""How often the model is asked without the document: it knows what it says each time."""
_SHOWN = 20
"""Questions about a passage that the model is shown."""
_ALONE = "Answer from what you know, in a few words. If you do not know it, say so."


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is wanted: `count` items of a kind, in a language (None: each in that of its passage). `options` are those
    of every answer, but for the seed, which follows from `seed` and the number of the try."""

    kind: str
    count: int
    language: str | None
    seed: int
    drop_known: bool
    options: Options

    def setting(self, model: str, sources: Sequence[Source]) -> dict[str, Any]:
        """All that the items follow from: a run is only resumed with the same. More items may be wanted of it."""
        values = asdict(self)
        del values["count"]
        options = self.options.to_json() | {"effort": self.options.effort.value, "stop": list(self.options.stop)}
        files = {f"{source.name}{source.part and f', {source.part}'}": source.sha256 for source in sources}
        return {"gptoss-chat dataset": 1, **values, "options": options, "model": model, "files": files}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a try: an item, or why there is none."""

    number: int
    passage: Passage
    item: Item | None = None
    reason: Drop | None = None
    question: str = ""

    def to_json(self) -> dict[str, Any]:
        """A line of the log."""
        kept = {"item": self.item.to_json()} if self.item is not None else {}
        dropped = {"dropped": self.reason.name, "question": self.question} if self.reason is not None else {}
        return {"try": self.number, **kept, **dropped}


class Run:
    """A run, as far as it is: what its log says has been done already."""

    def __init__(self, recipe: Recipe, sources: Sequence[Source]) -> None:
        """Raises RequestError where there is nothing to ask about."""
        self.recipe = recipe
        self.sources = {source.name: source for source in sources}
        self.kind: Kind = KINDS[recipe.kind](recipe.language)
        every = [passage for source in sources for passage in passages(source.document, source.name)]
        self.passages = in_turn(without_copies(every), recipe.seed)
        self.copies = len(every) - len(self.passages)
        if not self.passages:
            raise RequestError("these files have no passage that is long enough to ask about")
        self.items: list[Item] = []
        self.drops: Counter[Drop] = Counter()
        self.tries = self._in_vain = 0
        self._asked: dict[Passage, list[str]] = {}

    def take_up(self, log: Log) -> None:
        """Goes on behind what a log has. Raises RequestError if it is none of a run like this."""
        try:
            for record in log.records:
                item = Item.from_json(record["item"]) if "item" in record else None
                reason = None if item is not None else Drop[record["dropped"]]
                if record["try"] != self.tries:
                    raise ValueError("a try is missing")
                question = item.question if item is not None else str(record["question"])
                self._take(Outcome(self.tries, self._passage(self.tries), item, reason, question))
        except (KeyError, TypeError, ValueError):
            raise RequestError("the log of the run can't be read; another -o begins anew") from None

    @property
    def is_over(self) -> bool:
        """Whether there are items enough, or no more to be had."""
        return len(self.items) >= self.recipe.count or self.is_in_vain

    @property
    def is_in_vain(self) -> bool:
        """Whether so many tries came to nothing that more of them would, too."""
        return self._in_vain >= MOST_IN_VAIN

    async def outcomes(
        self, engine: Engine, log: Log, stopped: Callable[[], bool], at_once: int = 1
    ) -> AsyncGenerator[Outcome, None]:
        """What comes of each try, in the order of their numbers, once it is in the log. `at_once` are under way
        together; what of them is not in the log is lost when `stopped()` is true, or when the process is killed.

        Raises EngineError, EngineDied, OSError.
        """
        # No try begins before the one before it about the same passage has ended, whose question it is shown.
        at_once = min(at_once, len(self.passages))
        under_way: deque[asyncio.Task[Outcome | None]] = deque()
        try:
            while not self.is_over and not stopped():
                while len(under_way) < min(at_once, self.recipe.count - len(self.items)):
                    number = self.tries + len(under_way)
                    under_way.append(asyncio.create_task(self._outcome(number, engine, stopped)))
                if (outcome := await under_way[0]) is None:
                    return
                under_way.popleft()
                if outcome.item is not None and (reason := self._duplicate(outcome.item)):
                    outcome = replace(outcome, item=None, reason=reason)
                log.add(outcome.to_json())
                self._take(outcome)
                yield outcome
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    def _passage(self, number: int) -> Passage:
        return self.passages[number % len(self.passages)]

    def _take(self, outcome: Outcome) -> None:
        self.tries += 1
        if outcome.item is not None:
            self.items.append(outcome.item)
            self._in_vain = 0
        elif outcome.reason is not None:
            self.drops[outcome.reason] += 1
            self._in_vain += 1
        if outcome.question:
            self._asked.setdefault(outcome.passage, []).append(outcome.question)

    def _duplicate(self, item: Item) -> Drop | None:
        others = ((other.question, other.answer, other.quote) for other in self.items)
        return checks.duplicate(item.question, item.answer, item.quote, others)

    async def _outcome(self, number: int, engine: Engine, stopped: Callable[[], bool]) -> Outcome | None:
        """What comes of one try; None where it was stopped."""
        passage = self._passage(number)
        difficulties = self.kind.difficulties
        asked = tuple(self._asked.get(passage, ())[-_SHOWN:])
        wanted = Try(passage, difficulties[number % len(difficulties)], self._seed(number, "item"), asked)
        question = ""
        try:
            said = await self._answer(
                engine, stopped, self.kind.prompt(wanted), wanted.seed, self.kind.instructions, self.kind.schema
            )
            if said is None:
                return None
            value = value_of(said)
            question = one_line(str(value.get("question", "")))[: checks.LONGEST_QUESTION]  # not to be tried again
            draft = self.kind.draft(value, wanted)
            item = self._item(draft, wanted)
            if self.recipe.drop_known and self._duplicate(item) is None:
                if (alone := await self._asked_alone(engine, stopped, draft, number)) is None:
                    return None
                item = replace(item, asked_alone=alone)
        except Dropped as dropped:
            return Outcome(number, passage, None, dropped.reason, question)
        return Outcome(number, passage, item, None, draft.question)

    def _item(self, draft: Draft, wanted: Try) -> Item:
        """The draft with its place in the document. Raises Dropped where its quote isn't there."""
        passage = wanted.passage
        place = QuoteIndex([passage.text]).find(draft.quote)
        if place is None:
            raise Dropped(Drop.QUOTE)
        source = self.sources[passage.file]
        page = source.document.pages[passage.page]
        start, end = passage.start + place.start, passage.start + place.end
        where, lines = source.place(page, *lines_of(page.text, start, end))
        name = digest_of(f"{source.sha256} {draft.question}")
        return Item(
            name,
            self.kind.name,
            draft.question,
            draft.answer,
            draft.choices,
            wanted.difficulty,
            source.name,
            source.sha256,
            page.number if source.document.has_pages else 1,
            where,
            lines,
            (start, end),
            page.text[start:end],
            passage.text,
        )

    async def _asked_alone(
        self, engine: Engine, stopped: Callable[[], bool], draft: Draft, number: int
    ) -> tuple[str, ...] | None:
        """What the model answers without the document, up to the first wrong answer; None where it was stopped. Raises
        Dropped where it is right each time."""
        answers: list[str] = []
        prompt, schema = with_letters(draft.question, draft.choices), self.kind.alone
        for time in range(TIMES_ALONE):
            seed = self._seed(number, f"alone {time}")
            try:
                said = await self._answer(engine, stopped, prompt, seed, _ALONE, schema, Effort.LOW)
                if said is None:
                    return None
                answers.append(str(value_of(said).get("answer")) if schema is not None else said)
            except Dropped:  # it came to no answer
                answers.append("")
            if not self.kind.knows(answers[-1], draft):
                return tuple(answers)
        raise Dropped(Drop.KNOWN)

    async def _answer(
        self,
        engine: Engine,
        stopped: Callable[[], bool],
        prompt: str,
        seed: int,
        instructions: str,
        schema: Mapping[str, Any] | None,
        effort: Effort | None = None,
    ) -> str | None:
        """The text of an answer, None where it was stopped. Raises Dropped where it is not whole."""
        if stopped():
            return None
        options = replace(self.recipe.options, seed=seed, effort=effort or self.recipe.options.effort)
        shown = ResponseFormat("item", schema) if schema is not None else None
        form = Form(schema) if schema is not None else None
        request = Request((user(prompt),), options, instructions or None, response_format=shown, form=form)
        answer = FoldedAnswer()
        try:
            async with aclosing(engine.ask(request)) as events:
                async for event in events:
                    answer.take(event.event)
        except EngineError as error:
            if error.too_long:
                raise Dropped(Drop.TOO_LONG) from None
            raise
        finished = answer.finished or Finished("cancelled")
        if finished.reason == "cancelled":
            return None
        if finished.reason not in ("stop", "stop_string"):
            raise Dropped(Drop.CUT_OFF)
        return answer.text

    def _seed(self, number: int, purpose: str) -> int:
        digest = hashlib.sha256(f"{self.recipe.seed} {number} {purpose}".encode()).digest()
        return int.from_bytes(digest[:4], "big")
