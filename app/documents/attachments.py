"""Files as part of a prompt: put before the person's text, and found there again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlx_model.errors import GptossError
from mlx_model.text import fenced

GAP, HEAD, TAIL = "\n\n", '[file "', "]"
QUOTE, NOTE, CITE = '"', "; ", "cite as "


class AttachmentError(GptossError):
    """A file that can't be part of a prompt; the text names it and says why."""


class AttachmentLocked(AttachmentError):
    """It takes a password: there was none, or a wrong one."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A name to show, which is one line without control characters, and the text that the model is given.

    `note` says in one line without double quotes how many pages it has, what of the file is not in the text, or how it
    differs; the person and the model read the same. `citation` shows the model how to name a place in it, as `[p. 4]`.
    """

    name: str
    text: str
    note: str = ""
    citation: str = ""

    @property
    def size(self) -> int:
        """Bytes of the text in UTF-8."""
        return len(self.text.encode("utf-8", "replace"))


def join(text: str, attachments: Sequence[Attachment]) -> str:
    """The prompt: each file in a fence that is longer than any in the file, then the person's text.

    So the model can tell where a file ends whatever stands in it, and so can `split`; and a second question about the
    same files begins as the first did, so that the model need not read them again.
    """
    return GAP.join([*map(_block, attachments), *([text] if text or not attachments else [])])


def split(prompt: str) -> tuple[str, list[Attachment]]:
    """The person's text and the files of a prompt: what `join` took. Prompts of earlier versions have the files behind
    the text."""
    attachments: list[Attachment] = []
    start = 0
    while (block := _block_at(prompt, start)) is not None:
        start, attachment = block
        attachments.append(attachment)
    text = prompt[start:]
    # What a person has written themselves may look like it, but for what `join` would have written.
    if attachments and join(text, attachments) == prompt:
        return text, attachments
    return _split_behind(prompt)


def merge(prompts: Iterable[str]) -> str:
    """One prompt of several: all their files, then their texts one after the other."""
    parts = [split(prompt) for prompt in prompts]
    text = GAP.join(text for text, _ in parts if text.strip())
    return join(text, [attachment for _, attachments in parts for attachment in attachments])


def _block(attachment: Attachment) -> str:
    notes = [attachment.note, f"{CITE}{attachment.citation}" if attachment.citation else ""]
    note = "".join(f"{NOTE}{each}" for each in notes if each)
    return f"{HEAD}{attachment.name}{QUOTE}{note}{TAIL}\n{fenced(attachment.text)}"


def _block_at(prompt: str, start: int) -> tuple[int, Attachment] | None:
    """Where the text behind the file begins that begins at `start`, and the file; None if there is none."""
    if not prompt.startswith(HEAD, start):
        return None
    opening = prompt.find("\n", start)
    ticks = opening + 1
    while 0 < ticks < len(prompt) and prompt[ticks] == "`":
        ticks += 1
    fence = prompt[opening + 1 : ticks]
    if opening < 0 or len(fence) < 3 or not prompt.startswith("\n", ticks):
        return None
    closing = prompt.find(f"\n{fence}", ticks)  # a file has no such fence, so this one closes it
    end = closing + 1 + len(fence)
    if closing < 0 or not (end == len(prompt) or prompt.startswith(GAP, end)):
        return None
    if (named := _named(prompt[start:opening])) is None:
        return None
    text = prompt[ticks + 1 : closing] if closing > ticks else ""
    return min(end + len(GAP), len(prompt)), Attachment(named[0], text, *named[1:])


def _named(line: str) -> tuple[str, str, str] | None:
    """The name, the note and the citation in the line above a fence, None if it is no such line."""
    if "\n" in line or not (line.startswith(HEAD) and line.endswith(TAIL)):
        return None
    name, quote, note = line[len(HEAD) : -len(TAIL)].rpartition(QUOTE)  # a name may have quotes, a note has none
    if not quote or (note and (not note.startswith(NOTE) or note == NOTE)):
        return None
    before, cite, citation = note.rpartition(f"{NOTE}{CITE}")
    if not (cite and citation.startswith("[") and citation.endswith("]")):
        before, citation = note, ""
    return name, before.removeprefix(NOTE), citation


def _split_behind(prompt: str) -> tuple[str, list[Attachment]]:
    """As `split`, of a prompt with the files behind the text."""
    attachments: list[Attachment] = []
    end = len(prompt)
    while (block := _block_before(prompt, end)) is not None:
        end, attachment = block
        attachments.append(attachment)
    text, attachments = prompt[:end], attachments[::-1]
    is_whole = "".join([text, *(f"{GAP}{_block(each)}" for each in attachments)]) == prompt
    return (text, attachments) if text and is_whole else (prompt, [])


def _block_before(prompt: str, end: int) -> tuple[int, Attachment] | None:
    """Where the file begins that ends at `end`, and the file; None if there is none. Takes linear time."""
    closing = end
    while closing > 0 and prompt[closing - 1] == "`":
        closing -= 1
    fence = prompt[closing:end]
    closing -= 1  # the line break before it
    if len(fence) < 3 or not prompt.startswith("\n", max(0, closing)):
        return None
    opening = prompt.rfind(f"\n{fence}\n", 0, closing)  # a file has no such fence, so this one opened it
    start = prompt.rfind(GAP, 0, max(0, opening))
    if opening < 0 or start < 0 or (named := _named(prompt[start + len(GAP) : opening])) is None:
        return None
    return start, Attachment(named[0], prompt[opening + len(fence) + 2 : closing], *named[1:])
