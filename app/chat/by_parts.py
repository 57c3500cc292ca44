"""Reads documents longer than the context part by part: the model takes notes, and the answer is made from those.

Over the engine protocol: the same for the screen and for `ask`.

What there is so far is always a prompt, with the notes as its files. Who keeps each prompt that comes can go on from
it, whatever happens: nothing else is needed but the texts (app/documents/kept_texts.py).
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from time import monotonic

from app.chat.reading_cost import Cost, Progress
from app.documents.attachments import QUOTE, Attachment, join, split
from app.documents.citations import FileCitations
from app.documents.files import MOST_BYTES
from app.documents.kept_texts import text_of
from app.documents.notes import Note, Notes, notes_of, stretch
from app.documents.portions import Portion, portions
from app.documents.selection import BY_PARTS
from app.engine.engine import Engine, EngineDied, EngineError
from mlx_model.errors import RequestError
from mlx_model.events import Event, PrefillProgress, Stats, TextDelta
from mlx_model.harmony.fold import FoldedAnswer
from mlx_model.harmony.message import Effort, user
from mlx_model.options import Options
from mlx_model.request import Request
from mlx_model.tokens import about_tokens

MOST_PART, MOST_NOTES, LEAST_NOTES = 32_768, 2_048, 96
"""Tokens of a part, and of the notes on one. The model finds more in a part of 32,000 tokens than in all that fits."""
HEAD = 256
"""Tokens of a request beside its texts: the system message, the marks, the line above a file."""
_SPARE = 4
"""The share of the context that is left to the answer, with its thought."""
_CERTAIN = 0.8
"""The share of a bound that is filled where tokens are only estimated."""

NOTHING = "nothing"
NO_REQUEST = "Say what the document is about, and what it says."
_TAKE = """\
The file above is part {number} of {of} of a document that is too long to be read at once. Take notes on what this \
part says about the request below. It will be answered from the notes on all parts alone. Write one fact, claim, \
number or name a line, with its place behind it{cite}. Copy decisive words exactly, in quotation marks. At most \
{words} words, nothing else. If nothing in this part matters for the request, write: {nothing}.

The request: {request}"""
_SHORTEN = """\
The file above has notes on a document, made for the request below. Make one shorter list of them: keep whatever \
matters for the request, its place{cite}, and exact quotations; leave out what is said twice. One fact, claim, \
number or name a line, at most {words} words, nothing else.

The request: {request}"""


def unread(prompt: str) -> bool:
    """Whether documents of a prompt are to be read by parts, and have not been to their end."""
    if f"{BY_PARTS}{QUOTE}" not in prompt:
        return False
    return any((notes := notes_of(each)) is not None and not notes.is_over for each in split(prompt)[1])


def has_notes(prompt: str) -> bool:
    """Whether there are notes in a prompt to answer from."""
    return any((notes := notes_of(each)) is not None and notes.done for each in split(prompt)[1])


class ReadingByParts:
    """The reading of the documents of one prompt, one after the other.

    `prompt` is what there is of it: the same prompt with all the notes so far. `used` is how many tokens the
    conversation before it has; `options` are those of the answer.
    """

    def __init__(self, engine: Engine, prompt: str, options: Options, used: int = 0) -> None:
        self.prompt = prompt
        self.text = ""
        """What is being noted on the part under way, as far as it has come."""
        self.fits: list[str] = []
        """The names of documents that fit as they are: they are in the prompt whole."""
        self.cost = Cost(0, 0, 0)
        """Of what is yet to be read."""
        self._engine, self._used, self._options = engine, used, options
        self._is_exact = True
        self._request = split(prompt)[0].strip() or NO_REQUEST
        self._parts: dict[str, list[Portion]] = {}  # of each document, by its digest
        self._room = self._most_notes = 0
        self._read_before = self._fresh = 0  # tokens of parts that were read before, and since then
        self._began = 0.0
        self.progress = Progress(0, 0, "", 0, 0)

    @property
    def attachments(self) -> list[Attachment]:
        """The files of the prompt as they are now."""
        return split(self.prompt)[1]

    @property
    def names(self) -> list[str]:
        """Of the documents that are read."""
        return [each.name for each in self.attachments if (n := notes_of(each)) is not None and not n.is_over]

    @property
    def digests(self) -> list[str]:
        """Of their texts."""
        return [*self._parts]

    async def plan(self) -> None:
        """Find out what there is to read; `cost` says so then, and documents that fit are in the prompt whole.

        Raises RequestError where the conversation has no room for notes, or where a text is no longer there.
        """
        waiting = [notes for each in self.attachments if (notes := notes_of(each)) is not None and not notes.is_over]
        own = join(split(self.prompt)[0], [each for each in self.attachments if notes_of(each) is None])
        context = self._engine.context_length
        rest = context - self._used - HEAD - sum(await self._count([own]))
        for notes in waiting:
            text = "" if notes.done else text_of(notes.digest)
            if text and len(text.encode("utf-8", "replace")) < MOST_BYTES:
                size = sum(await self._count([text]))
                if size <= (rest - context // _SPARE) * self._margin:
                    self._put_whole(notes, text)
                    rest -= size
        waiting = [notes for notes in waiting if notes.name.removesuffix(BY_PARTS) not in self.fits]
        if not waiting:
            return
        self._room = (rest - context // _SPARE) // len(waiting)
        most = await self._size_of_parts()
        self._most_notes = max(LEAST_NOTES, min(MOST_NOTES, most // 8))
        if most < 2 * LEAST_NOTES or self._room < 2 * self._most_notes:
            used = f", of which the conversation takes {self._used:,}" if self._used else ""
            raise RequestError(f"notes on a document have no room in a context of {context:,} tokens{used}")
        for notes in waiting:
            await self._take_up(notes, most)

    def _put_whole(self, notes: Notes, text: str) -> None:
        name = notes.name.removesuffix(BY_PARTS)
        note = "; ".join(filter(None, (notes.before, notes.after)))
        self.fits.append(name)
        self._replace(notes.name, Attachment(name, text, note, notes.citation))

    async def _size_of_parts(self) -> int:
        """Half of the context at most, as far as the question and what is noted have room beside them."""
        task = _TAKE.format(number=1, of=1, cite="", words=1, nothing=NOTHING, request=self._request)
        context = self._engine.context_length
        room = context - HEAD - sum(await self._count([task]))
        # Notes are an eighth of a part, and a thought before them half of that.
        return int(min(MOST_PART, context // 2, room * 4 // 5, room - 2 * LEAST_NOTES) * self._margin)

    async def _take_up(self, notes: Notes, most: int) -> None:
        text = text_of(notes.digest)
        if text is None:
            raise RequestError(
                f"the text of {notes.name} is no longer there; remove it from the message, and attach it anew"
            )
        if notes.done and notes.most > most:
            raise RequestError(
                f"{notes.name} was begun with parts of {notes.most:,} tokens, which this context does not hold; remove "
                "it from the message, and attach it anew"
            )
        most = notes.most if notes.done else most  # what was planned alone is planned anew
        parts = await portions(text, self._count, most)
        if not parts:
            raise RequestError(f"{notes.name} has no text")
        last = notes.notes[-1].last if notes.notes else ""
        if notes.done and (len(parts) != notes.parts or not parts[min(notes.done, len(parts)) - 1].last.endswith(last)):
            raise RequestError(
                f"{notes.name} was cut into other parts when it was begun, as where tokens are counted in another way; "
                "remove it from the message, and attach it anew"
            )
        self._parts[notes.digest] = parts
        self._read_before += sum(part.tokens for part in parts[: notes.done])
        left = parts[notes.done :]
        tokens, written = sum(part.tokens for part in left), len(left) * self._most_notes
        cost = self.cost
        self.cost = Cost(cost.parts + len(left), cost.tokens + tokens, cost.written + written, self._is_exact)
        self._replace(notes.name, replace(notes, parts=len(parts), most=most).attachment)

    async def events(self, is_stopped: Callable[[], bool] = lambda: False) -> AsyncGenerator[bool, None]:
        """Read, after `plan`: true whenever `prompt` has more notes, which are to be kept before the next is asked for;
        false whenever only `progress` or `text` has changed. Ends early where the answer under way was cancelled, and
        asks for no other once it `is_stopped`.

        Raises EngineError and EngineDied; `prompt` then has everything that was noted before.
        """
        self._began = monotonic()
        for name in [each.name for each in self.attachments]:
            async with aclosing(self._document(name, is_stopped)) as events:
                async for event in events:
                    yield event
            notes = self._notes(name)
            if notes is not None and not notes.is_over:
                return

    async def _document(self, name: str, is_stopped: Callable[[], bool]) -> AsyncGenerator[bool, None]:
        notes = self._notes(name)
        parts = self._parts.get(notes.digest, []) if notes is not None else []
        part: Portion | None
        group: Sequence[Note]
        while notes is not None and not notes.is_over:
            if notes.done < len(parts):
                part = parts[notes.done]
                request, group = self._about_part(notes, part), ()
            else:
                group = await self._to_shorten(notes)
                if not group:
                    self._replace(name, replace(notes, is_over=True).attachment)
                    yield True
                    return
                request, part = self._about_notes(notes, group), None
            if is_stopped():
                return
            began, said, stats = monotonic(), "", Stats()
            # A thought may take all the tokens there are: then it is asked again without one.
            for options in (request.options, replace(request.options, max_thinking=0)):
                answer = FoldedAnswer()
                async with aclosing(self._engine.ask(replace(request, options=options))) as events:
                    async for event in events:
                        answer.take(event.event)
                        self._see(event.event, notes, part, answer)
                        yield False
                if answer.finished is None or answer.finished.reason == "cancelled":
                    return
                said, stats = answer.text.strip(), answer.finished.stats
                notes = replace(
                    notes,
                    read=notes.read + stats.prefill_tokens + stats.reused_tokens,
                    written=notes.written + stats.decode_tokens,
                )
                if said:
                    break
            if part is not None:
                self._fresh += part.tokens
                note = Note(part.first, part.last, await self._bounded(checked(said, Attachment("", part.text))))
                notes = replace(notes, notes=_added(notes.notes, note), done=notes.done + 1)
            else:
                shorter = await self._bounded(said or "\n".join(note.text for note in group))
                notes = replace(notes, notes=_replaced(notes.notes, group, shorter))
            notes = replace(notes, seconds=notes.seconds + monotonic() - began)
            self.text = ""
            self._replace(name, notes.attachment)
            yield True

    def _see(self, event: Event, notes: Notes, part: Portion | None, answer: FoldedAnswer) -> None:
        """What an event says of the progress."""
        if isinstance(event, PrefillProgress):
            share = event.done / event.total if event.total else 0.0
        elif isinstance(event, TextDelta) and event.channel == "final":
            share, self.text = 1.0, answer.text
        else:
            return
        self._say(notes, part, share)

    def _say(self, notes: Notes, part: Portion | None, share: float) -> None:
        """So much of a part has been read."""
        fresh = self._fresh + round(share * part.tokens if part is not None else 0)
        left = self.cost.tokens - fresh
        seconds = (monotonic() - self._began) / fresh * left if fresh > 0 else 0.0
        where = stretch(part.first, part.last) if part is not None else ""
        before = self._read_before
        self.progress = Progress(
            min(notes.done + 1, notes.parts), notes.parts, where, before + fresh, before + self.cost.tokens, seconds
        )

    def _about_part(self, notes: Notes, part: Portion) -> Request:
        name = notes.name.removesuffix(BY_PARTS)
        where = f"part {notes.done + 1} of {notes.parts}, {stretch(part.first, part.last)}"
        task = _TAKE.format(
            number=notes.done + 1,
            of=notes.parts,
            cite=f", as {notes.citation}" if notes.citation else "",
            words=self._most_notes // 2,
            nothing=NOTHING,
            request=self._request,
        )
        return self._request_of(join(task, [Attachment(name, part.text, where)]))

    def _about_notes(self, notes: Notes, group: Sequence[Note]) -> Request:
        cite = f", as {notes.citation}" if notes.citation else ""
        task = _SHORTEN.format(cite=cite, words=self._most_notes // 2, request=self._request)
        where = f"notes on {stretch(group[0].first, group[-1].last)}"
        return self._request_of(join(task, [Attachment(notes.name, "\n\n".join(map(str, group)), where)]))

    def _request_of(self, prompt: str) -> Request:
        most = self._most_notes
        options = replace(
            self._options,
            effort=Effort.LOW,
            max_tokens=most + most // 2,
            max_thinking=most // 2,
            stop=(),
            logprobs=None,
        )
        return Request((user(prompt),), options)

    async def _to_shorten(self, notes: Notes) -> Sequence[Note]:
        """The notes that are to be made one, so that all of them fit: as many as a part has room for, of those that
        stand next to each other the ones that were shortened least. None where they fit, or can't be shortened."""
        sizes = await self._count([f"{note}\n\n" for note in notes.notes])
        if sum(sizes) <= self._room * self._margin:
            return ()
        runs = []
        for start in range(len(sizes)):
            end, tokens = start, 0
            while end < len(sizes) and tokens + sizes[end] <= notes.most:
                tokens += sizes[end]
                end += 1
            runs.append(notes.notes[start:end])
        most = max(map(len, runs))
        return next(run for run in runs if len(run) == most) if most > 1 else ()

    async def _bounded(self, text: str) -> str:
        """As many lines from the first as have no more than the tokens that notes may have."""
        most = self._most_notes
        if sum(await self._count([text])) <= most:
            return text
        lines = text.split("\n")
        beginnings = ["\n".join(lines[:end]) for end in range(1, len(lines))]
        sizes = await self._count(beginnings)
        fitting = [beginning for beginning, size in zip(beginnings, sizes, strict=True) if size <= most]
        if fitting:
            return fitting[-1]
        line = lines[0]
        while sum(await self._count([line])) > most:
            line = line[: len(line) // 2]
        return line

    async def _count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of texts; estimated where the engine can't count."""
        if self._is_exact:
            try:
                return await self._engine.count(texts)
            except EngineDied:
                raise
            except EngineError:
                self._is_exact = False
        return [about_tokens(text) for text in texts]

    @property
    def _margin(self) -> float:
        return 1.0 if self._is_exact else _CERTAIN

    def _notes(self, name: str) -> Notes | None:
        return next((notes_of(each) for each in self.attachments if each.name == name), None)

    def _replace(self, name: str, attachment: Attachment) -> None:
        text, attachments = split(self.prompt)
        self.prompt = join(text, [attachment if each.name == name else each for each in attachments])


def checked(notes: str, part: Attachment) -> str:
    """Notes on a part in which it is said of each quotation that isn't there."""
    citations = FileCitations(lambda: [part])
    pieces = citations.pieces(notes, citations.of(notes))
    return "".join(
        each if isinstance(each, str) else f"{each.text} ({each.note})" if each.note else each.text for each in pieces
    )


def _added(notes: Sequence[Note], note: Note) -> tuple[Note, ...]:
    """One note more; where nothing was noted that says so, once for parts that follow one another."""
    is_empty = note.text.strip(" .\n").casefold() in ("", NOTHING)
    note = replace(note, text=NOTHING) if is_empty else note
    if notes and is_empty and notes[-1].text == NOTHING:
        return (*notes[:-1], replace(note, first=notes[-1].first))
    return (*notes, note)


def _replaced(notes: Sequence[Note], group: Sequence[Note], text: str) -> tuple[Note, ...]:
    """One note in place of several that follow one another."""
    at = notes.index(group[0])
    return (*notes[:at], Note(group[0].first, group[-1].last, text), *notes[at + len(group) :])
