"""`gptoss-chat list`, `search`, `export` and `import`: the conversations without the terminal UI."""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from app.cli.completion import completed_by, conversation_ids
from app.cli.printing import say
from app.paths import conversations_file
from app.store.database import StoreError, UnwritableError
from app.store.exchange.export import short, to_json, to_markdown
from app.store.exchange.importing import read
from app.store.store import Store
from mlx_model.errors import RequestError
from mlx_model.text import clean

Run = Callable[[argparse.Namespace], int]
"""Carries out a command; returns its exit code."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to the command line."""
    listing = commands.add_parser(
        "list", help="list the conversations", description="List the conversations, the latest first."
    )
    listing.add_argument("--json", action="store_true", help="print JSON, with times in seconds since 1970")
    listing.set_defaults(run=_on_store(_list))
    search = commands.add_parser(
        "search",
        help="search all conversations",
        description="Find titles and messages that contain all of the words, up to 50 of each: titles first, then "
        "messages, each the newest first.",
    )
    search.add_argument("text", nargs="+", metavar="TEXT", help="the words, or parts of them")
    search.add_argument("--json", action="store_true", help="print JSON, with times in seconds since 1970")
    search.set_defaults(run=_on_store(_search))
    export = commands.add_parser(
        "export",
        help="write conversations to standard output",
        description="Write a conversation, by default the latest, or all of them to standard output.",
    )
    id = export.add_argument("id", nargs="?", metavar="ID", help="the id that `list` shows, or its beginning")
    completed_by(id, conversation_ids)
    export.add_argument("--all", action="store_true", help="all conversations")
    export.add_argument(
        "--format",
        choices=["md", "json"],
        default="md",
        help="md: Markdown of the versions shown last (the default); json: everything, for `import`",
    )
    export.set_defaults(run=_on_store(_export))
    importing = commands.add_parser(
        "import",
        help="add conversations from a file",
        description="Add the conversations of a JSON export, or of the conversations.json in an export of ChatGPT. "
        "Conversations that are here already are not changed.",
    )
    importing.add_argument("file", metavar="FILE", help="the file; - reads standard input")
    importing.set_defaults(run=_on_store(_import, writing=True))


def _on_store(action: Callable[[Store, argparse.Namespace], None], *, writing: bool = False) -> Run:
    """The command that does this with the conversations; it returns 0. Raises GptossError."""

    def run(arguments: argparse.Namespace) -> int:
        with closing(_open(writing=writing)) as store:
            action(store, arguments)
        return 0

    return run


def _open(*, writing: bool) -> Store:
    path = conversations_file()
    try:
        store = Store(path)
    except UnwritableError:
        if writing or not _holds_what_can_be_read(path):
            raise
        store = Store.in_memory(copy_of=path)
    if store.warning:
        say(store.warning)
    return store


def _holds_what_can_be_read(path: Path) -> bool:
    """Whether the conversations there can be read; in an empty folder there are none to read."""
    if os.access(path, os.F_OK):  # Path.exists raises where it may not look
        return os.access(path, os.R_OK)
    return path.parent.is_dir() and os.access(path.parent, os.R_OK | os.X_OK)


def _list(store: Store, arguments: argparse.Namespace) -> None:
    summaries = store.summaries()
    if arguments.json:
        print(json.dumps([asdict(summary) for summary in summaries]))
        return
    width = _width()
    for summary in summaries:
        print(f"{summary.id}  {_day(summary.updated)}  {summary.count:>4}  {short(summary.title)}"[:width])
    if not summaries:
        say("there are no conversations yet")


def _search(store: Store, arguments: argparse.Namespace) -> None:
    text = " ".join(arguments.text)
    hits = store.search(text)
    if arguments.json:
        print(json.dumps([asdict(hit) for hit in hits]))
        return
    width = _width()
    for hit in hits:
        title = short(hit.title) if hit.node is None else f"{short(hit.title)}: {hit.snippet}"
        print(f"{hit.conversation}  {_day(hit.created)}  {title}"[:width])
    if not hits:
        say(f'nothing was found for "{text}"')


def _export(store: Store, arguments: argparse.Namespace) -> None:
    if arguments.id and arguments.all:
        raise RequestError("give an ID or --all, not both")
    ids = [summary.id for summary in store.summaries()]
    if not ids:
        raise StoreError("there are no conversations yet")
    if not arguments.all:
        ids = ids[:1] if arguments.id is None else [_matching(arguments.id, ids)]
    conversations = (conversation for each in ids if (conversation := store.load(each)) is not None)
    if arguments.format == "json":
        sys.stdout.write(to_json(conversations))
    else:
        sys.stdout.write("\n".join(to_markdown(conversation) for conversation in conversations))


def _matching(beginning: str, ids: list[str]) -> str:
    matching = [id for id in ids if id.startswith(beginning.lower())]
    if len(matching) == 1:
        return matching[0]
    quoted = f'"{clean(beginning)}"'
    if matching:
        raise RequestError(f"{len(matching)} ids begin with {quoted}: {', '.join(matching[:5])}; give more of the id")
    raise RequestError(f"no conversation has the id {quoted}; `gptoss-chat list` shows the ids")


def _import(store: Store, arguments: argparse.Namespace) -> None:
    imported = read(None if arguments.file == "-" else Path(arguments.file))
    print(imported.summary([conversation for conversation in imported.conversations if store.insert(conversation)]))


def _width() -> int | None:
    """The columns of the terminal; None if standard output is something else."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
