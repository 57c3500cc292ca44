"""`gptoss-chat list`, `search`, `export` and `import`: the conversations without the terminal UI."""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from app.cli.completion import completed_by, conversation_ids
from app.cli.printing import emphasized, say, shows_styles
from app.cli.usage import UsageError
from app.paths import conversations_file
from app.store.errors import StoreError, UnwritableError
from app.store.exchange.export import short, to_json, to_markdown
from app.store.exchange.importing import read
from app.store.exchange.result import ImportResult
from app.store.folding import spans
from app.store.search import words_of
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
        description="Find messages and titles that contain all of the words, up to 50 of each, the newest first; a "
        "title only if no message of its conversation is found. What was said by you, in an answer, in a thought or "
        "by a tool is named.",
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
        description="Add the conversations of a JSON export of this program, or of an export of ChatGPT or Claude: "
        "its zip archive, its folder, or its conversations.json. Conversations that are here already get what is new "
        "in the file; nothing of theirs is changed.",
    )
    importing.add_argument("files", nargs="+", metavar="FILE", help="a file or a folder; - reads standard input")
    importing.set_defaults(run=_on_store(_import, writing=True))


def _on_store(action: Callable[[Store, argparse.Namespace], int | None], *, writing: bool = False) -> Run:
    """The command that does this with the conversations; it returns what that does, 0 for None. Raises GptossError."""

    def run(arguments: argparse.Namespace) -> int:
        with closing(_open(writing=writing)) as store:
            return action(store, arguments) or 0

    return run


def _open(*, writing: bool) -> Store:
    path = conversations_file()
    try:
        store = Store(path)
    except UnwritableError as error:
        if writing:
            raise
        try:
            store = Store.in_memory(copy_of=path if path.parent.exists() else None)
        except StoreError:
            raise error from None
    if not store.warning:
        return store
    if not writing:  # the new file says nothing about what was in the damaged one
        with closing(store):
            raise StoreError(store.warning)
    say(store.warning)
    return store


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
    found = store.search(text)
    with_messages = {hit.conversation for hit in found if hit.node is not None}
    hits = [hit for hit in found if hit.node is not None or hit.conversation not in with_messages]
    if arguments.json:
        print(json.dumps([asdict(hit) for hit in hits]))
        return
    width, words, bold = _width(), words_of(text), shows_styles(sys.stdout)
    for hit in hits:
        title = short(hit.title) if hit.node is None else f"{short(hit.title)}: {hit.snippet}"
        where = f"{hit.conversation}  {_day(hit.created)}  {hit.role:<7}  "
        shown = title[: max(0, width - len(where))] if width else title
        print(where + (emphasized(shown, spans(title, words)) if bold else shown))
    if not hits:
        say(f'nothing was found for "{text}"')


def _export(store: Store, arguments: argparse.Namespace) -> None:
    if arguments.id and arguments.all:
        raise UsageError("give an ID or --all, not both")
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


def _import(store: Store, arguments: argparse.Namespace) -> int:
    """Import what can be; 1 if a file could not be read to its end, or nothing in it."""
    result = ImportResult()
    for file in arguments.files:
        if not file:
            raise RequestError("the name of a file is empty")
        for conversation in read(None if file == "-" else Path(file), result):
            try:
                result.inserted(store.insert(conversation), conversation)
            except StoreError as error:
                raise result.stopped(error) from None
    if result.found or result.unreadable or not result.failures:
        print(result.summary())
    for failure in result.failed():
        say(failure)
    return 1 if result.failures or (result.unreadable and not result.found) else 0


def _width() -> int | None:
    """The columns of the terminal; None if standard output is something else."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
