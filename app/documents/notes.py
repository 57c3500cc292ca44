"""Notes on a document that is read by parts. They stand in a prompt as a file does; its name ends with a `*`.

So the prompt says all that is known of the reading: how far it is, what it took, and which text was read. Who goes on
with it needs nothing else but that text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.documents.attachments import NOTE, QUOTE, Attachment, split
from app.documents.cited_pages import citation_in
from app.documents.kept_texts import remember, text_of
from app.documents.selection import BY_PARTS
from app.lines import counted, one_line
from mlx_model.documents.document import Page, joined

_NUMBER = r"\d[\d,]{0,15}"
_STATE = re.compile(
    rf"(?:to be read by parts|notes on (?:all|(?P<done>{_NUMBER}) of) (?P<parts>{_NUMBER}) parts? of up to "
    rf"(?P<most>{_NUMBER}) tokens, (?P<read>{_NUMBER}) read, (?P<written>{_NUMBER}) written, (?P<seconds>{_NUMBER}) s)"
    r", text (?P<digest>[0-9a-f]{16})"
)
_HEAD = re.compile(r"^== (.{1,400}?)(?: \.\.\. (.{1,400}))? ==$", re.MULTILINE)  # bounded: a model may write anything
_LABEL = re.compile(r"(page|slide|chapter|cell) (\d{1,7})")

_PLACE = re.compile(r"(line|p\.|slide|chapter|cell)s? (\d+)(?:-(\d+))?")


@dataclass(frozen=True, slots=True)
class Note:
    """What was noted on a stretch of the document, from the place `first` up to and with `last`."""

    first: str
    last: str
    text: str

    def __str__(self) -> str:
        """As it stands in a prompt."""
        head = self.first if self.first == self.last else f"{self.first} ... {self.last}"
        # A line that looks like a head is none of this program's.
        return f"== {head} ==\n" + _HEAD.sub(lambda match: match[0][1:-1], self.text)


@dataclass(frozen=True, slots=True)
class Notes:
    """How far a document has been read: `done` of its `parts`, which have up to `most` tokens each; 0 parts before it
    has begun. `read` and `written` are tokens, thoughts included. `is_over` once the notes are as short as they are to
    be. `before` and `after` are what else is said of the document."""

    name: str
    digest: str
    notes: tuple[Note, ...] = ()
    done: int = 0
    parts: int = 0
    most: int = 0
    read: int = 0
    written: int = 0
    seconds: float = 0.0
    is_over: bool = False
    before: str = ""
    after: str = ""
    citation: str = ""

    @property
    def attachment(self) -> Attachment:
        """As a part of the prompt."""
        text = "\n\n".join(map(str, self.notes))
        return Attachment(
            self.name, text, NOTE.join(filter(None, (self.before, self._state, self.after))), self.citation
        )

    @property
    def _state(self) -> str:
        if not self.parts:
            return f"to be read by parts, text {self.digest}"
        done = "all" if self.is_over else f"{self.done:,} of"
        took = f"{self.read:,} read, {self.written:,} written, {self.seconds:,.0f} s"
        return (
            f"notes on {done} {counted(self.parts, 'part')} of up to {self.most:,} tokens, {took}, text {self.digest}"
        )


def notes_of(attachment: Attachment) -> Notes | None:
    """The notes that a file of a prompt is; None where it is none."""
    match = _STATE.search(attachment.note) if attachment.name.endswith(BY_PARTS) else None
    if match is None:
        return None
    done, parts, most, read, written, seconds = (
        int((match[name] or "0").replace(",", "")) for name in ("done", "parts", "most", "read", "written", "seconds")
    )
    is_over = parts > 0 and match["done"] is None
    heads = [*_HEAD.finditer(attachment.text)]
    ends = [*(head.start() for head in heads[1:]), len(attachment.text)]
    notes = (
        Note(head[1], head[2] or head[1], attachment.text[head.end() : end].strip("\n"))
        for head, end in zip(heads, ends, strict=False)  # without any head there is an end too many
    )
    return Notes(
        attachment.name,
        match["digest"],
        tuple(notes),
        parts if is_over else done,
        *(parts, most, read, written, float(seconds), is_over),
        attachment.note[: match.start()].removesuffix(NOTE),
        attachment.note[match.end() :].removeprefix(NOTE),
        attachment.citation,
    )


def to_be_read(name: str, pages: Sequence[Page], part: str, notes: Sequence[str]) -> Attachment:
    """A document, or a `part` of one, that is to be read by parts; its text is kept for that."""
    digest = remember(joined(pages))
    before, after = (one_line(each).replace(QUOTE, "'") for each in (part, NOTE.join(notes)))
    return Notes(name, digest, before=before, after=after, citation=citation_in(pages)).attachment


def anew(attachment: Attachment) -> Attachment:
    """A document as it is before anything was noted on it: notes are made for one question. Any other file as it is."""
    notes = notes_of(attachment)
    if notes is None:
        return attachment
    fresh = Notes(notes.name, notes.digest, before=notes.before, after=notes.after, citation=notes.citation)
    return fresh.attachment


def as_read(attachment: Attachment) -> Attachment:
    """The document itself in place of notes on it, as far as its text is kept; any other file as it is."""
    notes = notes_of(attachment)
    text = text_of(notes.digest) if notes is not None else None
    return attachment if text is None else Attachment(attachment.name.removesuffix(BY_PARTS), text)


def place(label: str) -> str:
    """The label of a page, as briefly as it is written in a citation: `p. 4`, `lines 10-19`."""
    if match := _LABEL.match(label):
        return f"p. {match[2]}" if match[1] == "page" else match[0]
    return re.sub(r"^lines (\d+) to (\d+)$", r"lines \1-\2", one_line(label))


def stretch(first: str, last: str) -> str:
    """From one place to another, in a few words: `p. 41-58`."""
    start, end = _PLACE.fullmatch(first), _PLACE.fullmatch(last)
    if first == last or not (start and end and start[1] == end[1]):
        return first if first == last else f"{first} to {last}"
    unit = "lines" if start[1] == "line" else start[1]
    return f"{unit} {start[2]}-{end[3] or end[2]}"


def all_notes(prompt: str) -> list[Notes]:
    """The notes in a prompt, those that have not begun included."""
    return [notes for each in split(prompt)[1] if (notes := notes_of(each)) is not None]
