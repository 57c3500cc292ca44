"""The chat: what `gptoss-chat` does without a command, in a terminal; elsewhere it answers the prompt."""

import argparse
import gc
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from app.cli.arguments import PORT, Start, answering, start, text_of
from app.cli.connecting import HERE
from app.cli.printing import is_dumb, say
from app.cli.usage import UsageError, port
from app.interrupt import Importing
from app.paths import is_debugging
from app.settings import Settings, load
from mlx_model.errors import RequestError

if TYPE_CHECKING:
    from app.cli.beside import SharedEngine


def opening() -> argparse.ArgumentParser:
    """The options of the chat alone, as a parent of other parsers; see `answering`."""
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = shared.add_argument_group("chat")
    group.add_argument(
        "-c", "--continue", dest="resume", action="store_true", help="continue the conversation that was last used"
    )
    group.add_argument(
        "--server",
        dest="is_shared",
        action="store_true",
        help="let other programs on this computer use the model too, by OpenAI's API, for as long as the chat is open",
    )
    group.add_argument("--port", type=port, metavar="N", help=f"the port of --server (default: {PORT})")
    group.add_argument("--plain", action="store_true", help="open the chat line by line, not full screen")
    group.add_argument(
        "--no-mouse",
        action="store_true",
        help="leave the mouse to the terminal, so that it selects text itself (in the settings file: mouse = false)",
    )
    return shared


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "chat",
        parents=[answering(), opening()],
        help="open the chat (the default), with a prompt if there is one",
        description="Open the chat, and send PROMPT if there is one. Without a terminal, answer it as `ask` does.",
    )
    parser.add_argument("prompt", nargs="*", metavar="PROMPT", help="what to send first")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Open the chat in a terminal, full screen or plain; else answer the prompt, and what is piped in.

    Returns the exit code. Raises GptossError.
    """
    words: list[str] = getattr(arguments, "prompt", [])
    resume = hasattr(arguments, "resume")
    is_shared = hasattr(arguments, "is_shared")
    if hasattr(arguments, "port") and not is_shared:
        raise UsageError("--port is for a server: add --server")
    in_terminal = not hasattr(arguments, "json") and sys.stdin.isatty() and sys.stdout.isatty()
    if not in_terminal:
        if is_shared:
            raise RequestError("--server opens the chat, which needs a terminal; `serve` serves without one")
        if resume:
            raise RequestError("--continue opens the chat, which needs a terminal; `ask` answers without one")
        from app.cli import ask

        return ask.answer_input(arguments, words)
    settings = load()
    setup = start(arguments, settings)
    if is_shared:
        setup = replace(setup, shared=_shared(setup, getattr(arguments, "port", PORT)))
    prompt = text_of(" ".join(words))
    if not (hasattr(arguments, "plain") or is_dumb()):
        return _full_screen(setup, settings, prompt, resume=resume, mouse=not hasattr(arguments, "no_mouse"))
    for line in settings.warnings:
        say(line)
    with Importing():
        from app.cli import plain

    return plain.chat(setup, prompt, resume=resume)


def _shared(setup: Start, port: int) -> "SharedEngine":
    if setup.server is not None:
        raise UsageError(
            f"--server is for a model on this computer, and {setup.server.host} answers; --connect {HERE} changes that"
        )
    from app.cli.beside import SharedEngine

    return SharedEngine(port)


def _full_screen(setup: Start, settings: Settings, prompt: str, *, resume: bool, mouse: bool) -> int:
    if not sys.stderr.isatty():
        raise RequestError(
            "the full-screen chat needs standard error, which is redirected: remove the 2>, or use --plain"
        )
    if not is_debugging():  # Textual's own variables are for those who develop; a value it doesn't know ends it
        for name in [name for name in os.environ if name.startswith("TEXTUAL_")]:
            del os.environ[name]
    gc.disable()  # nothing of what is made up to the first screen is garbage; ChatApp enables it again
    with Importing():
        from app.tui.app import ChatApp

    server, shared = setup.server, setup.shared
    app = ChatApp(
        *(setup.load, setup.options, setup.instructions, server or shared, settings),
        server="" if server is None else server.host,
        shared_at="" if shared is None else shared.url,
        prompt=prompt,
        resume=resume,
    )
    app.run(mouse=mouse and settings.mouse)
    return app.return_code or 0
