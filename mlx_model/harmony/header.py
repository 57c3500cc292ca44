"""Read the header of a message, well-formed or not: role, channel, recipient, content type, and text that got into it.

A well-formed header is `ROLE[ to=RECIPIENT]<|channel|>CHANNEL[ to=RECIPIENT][ TYPE]`, with the recipient in one of its
two places and TYPE a word or `<|constrain|>`word. gpt-oss-20b writes another in some 4% of turns at temperature 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlx_model.harmony.message import CONSTRAIN, NO_TOOL, Role
from mlx_model.harmony.prompt import CHANNELS

# What may stand alone after a channel as a content type. After a recipient any single word may.
_TYPES = ("json", "code", "text")
_NAME = r"[\w.:/-]{1,256}"
# What a bare word can only be the name of a tool.
_BARE_TOOL = re.compile(rf"(?:functions|browser)\.{_NAME}|browser|python")
_TYPE = r"[\w.+/-]+"
# The model may also spell the special token in letters.
_SPELT_TYPE = rf"(?:{re.escape(CONSTRAIN)})?{_TYPE}"
_NO_CHANNEL = re.compile(rf"to=|{_BARE_TOOL.pattern}")
_ROLES = "|".join(Role)
# A channel whose marker is missing, often glued to the role.
_BARE_CHANNEL = re.compile(rf"(?:{_ROLES})*({'|'.join(CHANNELS)})", re.IGNORECASE)
# The same after a recipient: "functions.fcommentary", but not "functions.get_commentary".
_GLUED_CHANNEL = re.compile(r"(.*[^\W_])(analysis|commentary)")


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says. `channel` is one of gpt-oss's three, or None if none was named.

    `rest` is text after the fields: the start of the content, if `<|message|>` never came (not `complete`). `clean` is
    False if anything had to be guessed or left out.
    """

    role: Role
    name: str | None
    channel: str | None
    recipient: str | None
    content_type: str | None
    rest: str
    complete: bool
    clean: bool


def read_header(parts: Sequence[tuple[str, str]], role: Role | None, *, complete: bool) -> Header:
    """Read a header given in `parts`: "", `<|channel|>` or `<|constrain|>` and the text that follows. Never raises.

    `role` is that of the prompt, or None if the header names it. `complete` says that `<|message|>` ended the header;
    if not, only unmistakable fields are taken as such, and the text after them is `rest`.
    """
    reader = _HeaderReader(role, complete)
    for marker, text in parts:
        reader.read(marker, text)
    return reader.header()


class _HeaderReader:
    """The fields found so far. Each method takes its field from the start of a text and returns what follows."""

    def __init__(self, role: Role | None, complete: bool) -> None:
        self.role = role
        self.complete = complete
        self.clean = complete
        self.name: str | None = None
        self.channel: str | None = None
        self.recipient: str | None = None
        self.content_type: str | None = None
        self.rest = ""
        self.words: list[str] = []

    def read(self, marker: str, text: str) -> None:
        match marker:
            case "":
                text = self._author(text)
            case "<|channel|>":
                text = self._channel(text)
            case _:
                text = self._constrained_type(text)
        if self.complete:
            self.words += text.split()
        else:
            self.rest += text if self.rest.strip() else self._leading_fields(text)

    def header(self) -> Header:
        if self.complete:
            self._sort_words()
        if self.role in (Role.ASSISTANT, None):
            if self.recipient in NO_TOOL:
                self.clean &= self.recipient is None
                self.recipient = None
            self.clean &= self.channel is not None
        return Header(
            self.role or Role.ASSISTANT,
            self.name,
            self.channel,
            self.recipient,
            self.content_type,
            self.rest,
            self.complete,
            self.clean,
        )

    def _author(self, text: str) -> str:
        if self.role is None:
            words = text.split()
            if match := re.match(rf"\s*({_ROLES})\1*(?::({_NAME}))?(?!\S)", text):
                self.role, self.name = Role(match[1]), match[2]
                self.clean &= match[0] in (match[1], f"{match[1]}:{match[2]}")
            elif (match := re.match(rf"\s*({_NAME})(?!\S)", text)) and (
                "to=assistant" in words[1:] or _BARE_TOOL.fullmatch(match[1])
            ):
                self.role, self.name = Role.TOOL, match[1]
                self.clean &= match[0] == match[1] and "to=assistant" in words[1:]
            elif not self.complete and (match := re.match(Role.ASSISTANT, text)):
                self.role = Role.ASSISTANT  # and the text follows at once
            elif not self.complete and any(role.startswith(text) for role in Role):
                return ""  # the role was cut off
            else:
                self.clean = False
                return text
            text = text[match.end() :]
        # The role once more: the model repeats what the prompt or <|start|> states.
        if match := re.match(rf"(?:\s*(?:{self.role})+(?!\S))+", text):
            self.clean = False
            text = text[match.end() :]
        return text

    def _channel(self, text: str) -> str:
        """Of several channels the last known one counts. Text before a channel is debris."""
        self.clean &= self.channel is None and not self.rest.strip()
        if self.channel is not None:
            self.words = [word for word in self.words if word.startswith("to=")]
        stripped = text.lstrip()
        match = None if _NO_CHANNEL.match(stripped) else re.match(r"[^\W\d_]+", stripped)
        name = match[0] if match else ""
        known = next((channel for channel in CHANNELS if name.lower().startswith(channel)), None)
        self.clean &= name == known and stripped == text
        if known is not None:
            self.channel, self.rest = known, ""
            return stripped[len(known) :]
        if self.complete:
            if name and self.channel is None:
                self.channel = "commentary"
            return stripped[len(name) :]
        cut_off = stripped == name and any(channel.startswith(name.lower()) for channel in CHANNELS)
        return "" if cut_off else text

    def _constrained_type(self, text: str) -> str:
        match = re.match(rf"\s*({_TYPE})", text)
        self.clean &= match is not None and match[0] == match[1] and self.content_type is None
        if match is None:
            return text
        self.content_type = f"{CONSTRAIN}{match[1]}"
        return text[match.end() :]

    def _leading_fields(self, text: str) -> str:
        """Of an incomplete header: take a recipient and, after one, a type; leave everything else as it is."""
        if match := re.match(rf"\s*to=({_NAME})?", text):
            self.recipient = match[1] or ""
            text = text[match.end() :]
        if self.recipient and (match := re.match(rf"\s+({'|'.join(_TYPES)})", text)):
            self.content_type = self.content_type or match[1]
            text = text[match.end() :]
        return text

    def _sort_words(self) -> None:
        """Of a complete header: find recipient and type among the words that are neither author nor channel."""
        others: list[str] = []
        words = iter(self.words)
        for word in words:
            if not word.startswith("to="):
                others.append(word)
                continue
            target = word.removeprefix("to=") or next(words, "")
            match = re.match(_NAME, target)
            self.clean &= self.recipient is None and match is not None and word == f"to={match[0]}"
            self.recipient = match[0] if match else ""
        if self.channel is None:
            if self.recipient and (match := _GLUED_CHANNEL.fullmatch(self.recipient)):
                self.recipient, self.channel = match[1], match[2]
                self.clean = False
            for word in filter(_BARE_CHANNEL.fullmatch, tuple(others)):
                self.channel = next(channel for channel in CHANNELS if word.lower().endswith(channel))
                self.clean = False
                others.remove(word)
        if others and self.recipient is None and _BARE_TOOL.fullmatch(others[0]):
            self.recipient = others.pop(0)
            self.clean = False
        names_type = len(others) == 1 and (others[0] in _TYPES or bool(self.recipient))
        if self.content_type is None and names_type and re.fullmatch(_SPELT_TYPE, others[0]):
            self.clean &= bool(self.recipient) and not others[0].startswith(CONSTRAIN)
            self.content_type = others.pop()
        self.clean &= not others
