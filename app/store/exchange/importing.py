"""Reads conversations from files: this program's JSON export, and those of ChatGPT and Claude."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from app.chat.conversation import Conversation
from app.lines import one_line
from app.store.exchange import chatgpt, claude, own
from app.store.exchange.export import FORMAT, VERSION
from app.store.exchange.json_items import JsonError, JsonItems
from app.store.exchange.kinds import kind_of, program_of
from app.store.exchange.result import NAMED, ImportResult
from app.store.exchange.sources import ImportFileError, Source, sources
from app.store.values import OddValueError
from mlx_model.errors import GptossError

NEITHER = "neither an export of gptoss-chat nor ChatGPT's or Claude's conversations.json"
_ODD = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, GptossError)
"""What converting a conversation of an unknown form may raise."""


KEY_LENGTH = 40
"""Characters of the name of what is missing."""


def read(path: Path | None, result: ImportResult) -> Iterator[Conversation]:
    """The conversations of a file, a folder, an archive, or of standard input (None), one at a time.

    `result` gets what could not be read: one broken conversation, or one broken file of several, does not spoil the
    others. Who takes a conversation into a store says so with `result.inserted`.
    """
    try:
        for source in sources(path):
            yield from _conversations(source, result)
    except ImportFileError as error:
        result.failures.append(f"{error}; nothing was imported")


def _conversations(source: Source, result: ImportResult) -> Iterator[Conversation]:
    """Of one file. What is not a conversation counts as one that can't be read if there are others."""
    good = 0
    others = 0
    outlines: list[dict[str, Any]] = []
    failure = ""
    try:
        items = JsonItems(source)
        for item in items:
            _check_version(items.fields, source.label)
            if (convert := _converter(item)) is None:
                others += 1
                outlines += [_outline(item)] if len(outlines) < NAMED else []
                continue
            good += 1
            if (conversation := _converted(item, convert, result)) is not None:
                yield conversation
    except ImportFileError as error:
        failure = str(error)
    except JsonError as error:
        kind = kind_of(items.start)
        failure = f"{source.label} is not JSON ({f'it is {kind}' if kind else error})"
        if good or others:
            failure = f"{source.label} can't be read to its end ({error})"
    if failure:
        result.failures.append(f"{failure}; {_before(good) if good else 'nothing was imported'}")
    elif others and not good:
        kind = (
            program_of(outlines[0]) or "neither an export of gptoss-chat nor ChatGPT's or Claude's conversations.json"
        )
        result.failures.append(f"{source.label} is {kind}; nothing was imported")
    if good:
        for outline in outlines:
            result.unread(outline.get("title"), "it has no messages")
        result.unreadable += others - len(outlines)


def _before(good: int) -> str:
    return "1 conversation was read before" if good == 1 else f"{good:,} conversations were read before"


def _outline(item: Any) -> dict[str, Any]:
    """Of something else, the names that tell what it is."""
    if not isinstance(item, dict):
        return {}
    return {key: value if key == "title" else None for key, value in list(item.items())[:50]}


def _check_version(fields: dict[str, Any], label: str) -> None:
    if fields.get("format") == FORMAT and "version" in fields and fields["version"] != VERSION:
        raise ImportFileError(
            f"{label} is an export of version {str(fields['version'])[:20]!r}, but this program reads version {VERSION}"
        )


def _why(error: Exception) -> str:
    if isinstance(error, OddValueError | GptossError):
        return one_line(str(error))
    if isinstance(error, KeyError) and isinstance(key := error.args[0], str):
        return f'"{one_line(key[:KEY_LENGTH])}" is missing'
    return "its form is not that of an export"


Convert = Callable[[dict[str, Any], ImportResult], Conversation]


def _converter(item: Any) -> Convert | None:
    """How to read an item, None if it is no conversation."""
    if not isinstance(item, dict):
        return None
    if "mapping" in item:
        return chatgpt.convert
    if "chat_messages" in item:
        return claude.convert
    return (lambda item, _: own.convert(item)) if "nodes" in item else None


def _converted(item: dict[str, Any], convert: Convert, result: ImportResult) -> Conversation | None:
    try:
        conversation = convert(item, result)
    except _ODD as error:
        result.unread(item.get("title") or item.get("name"), _why(error))
        return None
    if not conversation.nodes:
        result.without_text += 1
        return None
    return conversation
