"""The files of a prompt on the command line: what locks one is asked for, where there is a person."""

import getpass
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

from app.cli.printing import say
from app.documents.attachments import Attachment, AttachmentError, AttachmentLocked, split
from app.documents.files import STANDARD_INPUT, attach, meant, read_bytes, what_fits
from app.documents.mentions import names_in, written
from app.documents.notes import notes_of
from app.lines import one_line
from app.paths import FILE_PASSWORD
from mlx_model.tokens import about_tokens

T = TypeVar("T")

MOST_TRIES = 3
_CERTAIN = 0.8
"""The share of the context that a proposal fills: tokens are estimated here, and an answer takes some."""


def attached(name: str) -> Attachment:
    """The file, or the part of one, that `name` says: a path. Raises AttachmentError."""
    return unlocked(name, lambda password: attach(name, None, password))


def from_pipe(data: bytes) -> Attachment:
    """Standard input. Raises AttachmentError."""
    return unlocked(STANDARD_INPUT, lambda password: read_bytes(data, STANDARD_INPUT, password))


def say_notes(files: Iterable[Attachment]) -> None:
    """What is to be known of files before they are sent; of one that is read by parts it is said when it is."""
    for file in files:
        if file.note and notes_of(file) is None:
            say(f"{file.name}: {file.note}")


def say_unattached(text: str) -> None:
    """A prompt on the command line attaches nothing by `@name`, as it does in the chat: it may be somebody else's words
    that a script passes on. Say so of files that are there."""
    for name in names_in(text):
        try:
            path, selection = meant(name, None)
            is_file = path.is_file()
        except (AttachmentError, OSError, ValueError):
            continue
        if is_file:
            option, file = ("--read", str(path)) if selection.by_parts else ("--file", name)
            say(f"{written(name)} is words here, no file: to attach it add {option} {shlex.quote(file)}")


def what_would_fit(prompt: str, context: int) -> str:
    """What to take of the longest file in a prompt that has more tokens than the context; "" if that can't be said."""
    text, attachments = split(prompt)
    tokens = {attachment: about_tokens(attachment.text) for attachment in attachments}
    if not tokens:
        return ""
    longest = max(tokens, key=lambda each: tokens[each])
    others = about_tokens(text) + sum(tokens.values()) - tokens[longest]
    return what_fits(longest.name, None, int((context - others) * _CERTAIN))


def unlocked(name: str, read: Callable[[str | None], T]) -> T:
    """What is read with the password of the environment, or one that is typed. Raises AttachmentError."""
    password, tries = os.environ.get(FILE_PASSWORD) or None, 0
    while True:
        try:
            return read(password)
        except AttachmentLocked as error:
            tries += 1
            if not sys.stderr.isatty() or tries > MOST_TRIES:
                raise AttachmentLocked(f"{error}; give its password in {FILE_PASSWORD}") from None
            try:
                password = getpass.getpass(f"{one_line(str(error))}. Password: ")
            except EOFError:
                password = ""
            if not password:  # the person gives up
                raise
