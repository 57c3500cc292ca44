"""`gptoss-chat list`, `search`, `export` and `import`: the conversations without the terminal UI."""

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

from app.paths import conversations_file
from app.store.database import StoreError, UnwritableError
from app.store.exchange.export import short, to_json, to_markdown
from app.store.exchange.importing import read
from app.store.store import Store
from mlx_model.errors import RequestError
from mlx_model.text import clean

COMMANDS = ("list", "search", "export", "import")


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to the command line."""
    listing = commands.add_parser(
        "list", help="list the conversations", description="List the conversations, the latest first."
    )
    listing.add_argument("--json", action="store_true", help="as JSON, with the times in seconds since 1970")
    search = commands.add_parser(
        "search",
        help="search all conversations",
        description="Find the messages and titles that contain every one of the words, the newest first.",
    )
    search.add_argument("text", nargs="+", metavar="TEXT", help="the words, or parts of them")
    search.add_argument("--json", action="store_true", help="as JSON, with the times in seconds since 1970")
    export = commands.add_parser(
        "export",
        help="write conversations to standard output",
        description="Write a conversation, by default the latest, or all of them to standard output.",
    )
    export.add_argument("id", nargs="?", metavar="ID", help="the id that `list` shows, or its beginning")
    export.add_argument("--all", action="store_true", help="all conversations")
    export.add_argument(
        "--format",
        choices=["md", "json"],
        default="md",
        help="md: Markdown of the versions last shown (the default); json: everything, for `import`",
    )
    importing = commands.add_parser(
        "import",
        help="add conversations from a file",
        description="Add the conversations of a JSON export, or of the conversations.json in an export of ChatGPT. "
        "Those that are here already stay as they are.",
    )
    importing.add_argument("file", metavar="FILE", help="the file; - reads standard input")


def run(given: argparse.Namespace) -> int:
    """Carry out one of the commands; returns 0. Raises GptossError."""
    store = _open(writing=given.command == "import")
    try:
        match given.command:
            case "list":
                _list(store, as_json=given.json)
            case "search":
                _search(store, " ".join(given.text), as_json=given.json)
            case "export":
                if given.id and given.all:
                    raise RequestError("give an ID or --all, not both")
                _export(store, given.id, everything=given.all, as_json=given.format == "json")
            case "import":
                _import(store, given.file)
    finally:
        store.close()
    return 0


def _open(*, writing: bool) -> Store:
    path = conversations_file()
    try:
        store = Store(path)
    except UnwritableError:
        if writing or not _holds_what_can_be_read(path):
            raise
        store = Store.in_memory(copy_of=path)
    if store.warning:
        _say(store.warning)
    return store


def _holds_what_can_be_read(path: Path) -> bool:
    """Whether the conversations there can be read; in an empty folder there are none to read."""
    if os.access(path, os.F_OK):  # Path.exists raises where it may not look
        return os.access(path, os.R_OK)
    return path.parent.is_dir() and os.access(path.parent, os.R_OK | os.X_OK)


def _list(store: Store, *, as_json: bool) -> None:
    found = store.summaries()
    if as_json:
        print(json.dumps([asdict(summary) for summary in found]))
        return
    width = _width()
    for summary in found:
        print(f"{summary.id}  {_day(summary.updated)}  {summary.count:>4}  {short(summary.title)}"[:width])
    if not found:
        _say("there are no conversations yet")


def _search(store: Store, text: str, *, as_json: bool) -> None:
    hits = store.search(text)
    if as_json:
        print(json.dumps([asdict(hit) for hit in hits]))
        return
    width = _width()
    for hit in hits:
        title = short(hit.title) if hit.node is None else f"{short(hit.title)}: {hit.snippet}"
        print(f"{hit.conversation}  {_day(hit.created)}  {title}"[:width])
    if not hits:
        _say(f'nothing found with "{text}"')


def _export(store: Store, id: str | None, *, everything: bool, as_json: bool) -> None:
    ids = [summary.id for summary in store.summaries()]
    if not ids:
        raise StoreError("there are no conversations yet")
    if not everything:
        ids = ids[:1] if id is None else [_matching(id, ids)]
    conversations = (conversation for each in ids if (conversation := store.load(each)) is not None)
    if as_json:
        sys.stdout.write(to_json(conversations))
    else:
        sys.stdout.write("\n".join(to_markdown(conversation) for conversation in conversations))


def _matching(beginning: str, ids: list[str]) -> str:
    matching = [id for id in ids if id.startswith(beginning.lower())]
    if len(matching) == 1:
        return matching[0]
    shown = f'"{clean(beginning)}"'
    if matching:
        raise RequestError(f"{len(matching)} ids begin with {shown}: {', '.join(matching[:5])}")
    raise RequestError(f"no conversation has the id {shown}; `gptoss-chat list` shows them")


def _import(store: Store, file: str) -> None:
    imported = read(None if file == "-" else Path(file))
    print(imported.summary([conversation for conversation in imported.conversations if store.insert(conversation)]))


def _width() -> int | None:
    """The columns of the terminal; None if standard output is something else."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


def _say(text: str) -> None:
    print(f"gptoss-chat: {clean(text)}", file=sys.stderr)
