"""The commands that take conversations out and in: copy, export, import."""

import asyncio
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from app.chat.code_blocks import code_blocks
from app.chat.commands import COPY_TARGETS, EXPORT_FORMATS
from app.chat.conversation import Conversation
from app.chat.sources import with_sources
from app.documents.attachments import split
from app.lines import one_line, sentence
from app.tui.parts.conversation import ConversationKeeper
from app.tui.parts.desk import Desk
from app.tui.parts.journal import Journal
from mlx_model.errors import GptossError, RequestError
from mlx_model.text import clean
from mlx_model.tools.shown_pages import pages_of

FILE_NAME_S = 12.0
"""How long the name of a file that was written stays in sight."""


def part(conversation: Conversation, argument: str) -> str:
    """The text that someone wants to copy: "" or one of COPY_TARGETS; "code 2" is the second block from the top.

    Raises RequestError for what is not there.
    """
    kind, number = (*argument.lower().split(maxsplit=1), "", "")[:2]
    if kind not in ("", *COPY_TARGETS) or (number and kind != "code"):
        raise RequestError("/copy copies the last answer. Also: /copy code, /copy code 2, /copy prompt, /copy chat")
    if kind == "chat":
        if not conversation.nodes:
            raise RequestError("there is no conversation to copy yet")
        from app.store.exchange.export import to_markdown

        return to_markdown(conversation)
    if kind == "prompt":
        if (prompt := conversation.last_prompt()) is None:
            raise RequestError("there is no prompt to copy yet")
        return clean(split(prompt.text())[0] or prompt.text())  # without the files that went with it
    if (answer := conversation.last_answer()) is None:
        raise RequestError("there is no answer to copy yet")
    if kind != "code":
        return with_sources(clean(answer), pages_of(conversation.messages))
    return _block([block.code for block in code_blocks(clean(answer))], number)


def name_of(argument: str) -> str:
    """What a person calls that part."""
    kind, number = (*argument.lower().split(maxsplit=1), "", "")[:2]
    if kind == "code":
        return f"code block {number}" if number else "the last code block"
    return {"chat": "the conversation", "prompt": "your message"}.get(kind, "the answer")


def _block(blocks: list[str], number: str) -> str:
    if not blocks:
        raise RequestError("there is no code block in the last answer")
    numbers = {str(i): block for i, block in enumerate(blocks, 1)}
    if (number or str(len(blocks))) not in numbers:
        there = "1 code block" if len(blocks) == 1 else f"{len(blocks)} code blocks, numbered from the top"
        raise RequestError(f"the last answer has {there}")
    return numbers[number] if number else blocks[-1]


def typed_path(name: str) -> str:
    """A name as a shell would take it: a file that is dropped on a terminal comes in quotes, or with backslashes."""
    words = typed_words(name)
    return words[0] if len(words) == 1 else name


def typed_words(name: str) -> list[str]:
    """The names that a shell would find in it."""
    try:
        return shlex.split(name)
    except ValueError:  # a lone quote, which names may have
        return [name]


class Sharing:
    """Copies and exports the conversation on the screen, imports others."""

    def __init__(
        self,
        desk: Desk,
        journal: Journal,
        conversations: ConversationKeeper,
        to_clipboard: Callable[[str, str], None],
    ) -> None:
        """`to_clipboard` copies a text, which a person knows by the second one, and says what came of it."""
        self._desk = desk
        self._journal = journal
        self._conversations = conversations
        self._to_clipboard = to_clipboard

    def copy(self, argument: str) -> None:
        """Copy a part of the conversation, see `part`."""
        try:
            self._to_clipboard(part(self._conversations.conversation, argument), name_of(argument))
        except RequestError as error:
            self._desk.warn(sentence(str(error)))

    async def export(self, name: str) -> None:
        """Write the conversation to a new file: JSON if the name ends so, else Markdown, as its suffix says if it has
        none of its own.

        Without a name, or with but a format, the file is named by the title; in a folder too.
        """
        from app.store.exchange.export import to_json, to_markdown, write_new

        desk, conversation = self._desk, self._conversations.conversation
        if not conversation.nodes:
            desk.warn("There is no conversation to export yet.")
            return
        format = EXPORT_FORMATS[1] if re.search(r"(^|\.)json$", name, re.IGNORECASE) else EXPORT_FORMATS[0]
        target = "" if name.lower() in EXPORT_FORMATS else _with_suffix(typed_path(name), format)
        text = to_json([conversation]) if format == "json" else to_markdown(conversation)
        try:
            path = await asyncio.to_thread(write_new, text, target, conversation.title, format)
        except GptossError as error:
            desk.notify(f"{error}.", severity="error")
        else:
            desk.notify(f"Wrote {one_line(str(path.resolve()))}", timeout=FILE_NAME_S)

    async def import_(self, name: str) -> None:
        """Add the conversations of files to those in the sidebar."""
        desk = self._desk
        if not name:
            desk.warn("/import FILE takes a JSON export of this program, or the export of ChatGPT or Claude.")
            return
        try:
            result = await self._journal.import_files(_paths(name))
        except GptossError as error:
            desk.notify(one_line(f"{error}."), severity="error")
        else:
            lines = [(f"{failure}.", "error") for failure in result.failed()]  # it begins with a name
            if result.found or result.unreadable or not result.failures:
                where = "" if desk.sidebar.display else " ^B shows them."
                lines.append((f"{sentence(result.summary())}{where}", "info"))
            for text, level in lines:
                if len(lines) > 1:  # too much to read in a moment
                    await desk.notice(text, level)
                else:
                    desk.notify(text, severity="error" if level == "error" else "information", timeout=FILE_NAME_S)
            if self._conversations.conversation.id in result.continued:
                await self._conversations.refresh()
        await desk.saved()


OF_OTHERS = (".pdf", ".doc", ".docx", ".odt", ".rtf", ".html", ".htm", ".csv", ".zip")
"""Suffixes that would say what the file is not."""


def _with_suffix(name: str, suffix: str) -> str:
    """The name of a file, with a suffix if it has none, or one of another kind; that of a folder stays."""
    try:
        path = Path(name).expanduser()
        has_own = bool(path.suffix) and path.suffix.lower() not in OF_OTHERS
        whole = not name or name.endswith("/") or has_own or path.is_dir()
    except (OSError, ValueError, RuntimeError):  # writing it says why
        return name
    return name if whole else f"{name}.{suffix}"


def _paths(name: str) -> list[Path]:
    """The files that are named: one, which may have spaces in its name, or several. Raises ImportFileError."""
    try:
        whole = Path(typed_path(name)).expanduser()
        words = [Path(word).expanduser() for word in typed_words(name)]
        several = len(words) > 1 and not whole.exists() and all(word.exists() for word in words)
    except (OSError, ValueError, RuntimeError) as error:
        from app.store.exchange.sources import ImportFileError

        raise ImportFileError(f"{one_line(name)} can't be read: {error}; nothing was imported") from None
    return words if several else [whole]
