"""The `gptoss-chat` command: the terminal chat, one answer on standard output, the download of the weights.

Nothing heavy is imported before it is needed: `--help` loads neither MLX nor Textual, the chat loads no MLX at all (its
engine process does). `ask` and the plain chat run the model in this very process: no screen takes its time there, and
what a script measures of `ask` is then the model.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from app import paths, settings
from app.cli import bench, weights
from app.cli import conversations as history
from app.documents.attachments import join, read
from app.engine.protocol import Load
from app.interrupt import INTERRUPTED, Importing
from mlx_model.errors import GptossError, RequestError
from mlx_model.memory.plan import parse_size
from mlx_model.options import Options
from mlx_model.text import clean

OK, FAILED, USAGE, CLOSED_PIPE = 0, 1, 2, 141

DESCRIPTION = "Chat with OpenAI's gpt-oss on your own computer: private, offline, in the terminal."
EPILOG = """\
examples:
  gptoss-chat                                  open the chat
  gptoss-chat --plain                          the chat line by line, e.g. for a screen reader
  gptoss-chat ask "Why is the sky blue?"       one answer on standard output
  git diff | gptoss-chat ask "Review this"     what is piped in follows the prompt
  gptoss-chat ask --file a.pdf "Sum this up"   a text, code or PDF file with it
  gptoss-chat ask --effort high --json "2^61?" > answer.json
  gptoss-chat search lifetimes                 find it in all conversations
  gptoss-chat export --all --format json       all conversations, for `gptoss-chat import`
  gptoss-chat download gpt-oss-20b             fetch the weights (13.8 GB), resuming what is there
  gptoss-chat models                           what is on this computer; `models remove NAME` deletes
  gptoss-chat doctor                           how much memory a model would take here, and why
  gptoss-chat bench                            how fast a model is here, with a line for an issue

Without a terminal, `gptoss-chat` answers the prompt on standard input, as `gptoss-chat ask -` does. In a terminal that
can't show the chat (TERM is "dumb" or not set) it is as with --plain.

exit codes:
  0    done                           2    the command line makes no sense
  1    failed; one line says why      130  interrupted by Ctrl-C
                                      141  the reader closed the pipe (as in `| head -1`)
"""

_FIELDS = ("effort", "max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code. `arguments` are those of the process by default."""
    _prepare_streams()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # else huggingface_hub asks and tells more than is needed
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except GptossError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _silence(sys.stdout)
        return CLOSED_PIPE
    except OSError as error:
        if error.filename is not None:
            return _fail(f"{error.filename}: {error.strerror}")
        _silence(sys.stdout)  # or Python fails once more when it flushes at exit
        return _fail(f"{error.strerror or error}; nothing was lost but the rest of the output")
    except Exception as error:
        if paths.is_debugging():
            raise
        return _fail(
            f"unexpected {type(error).__name__}: {error}. That is a bug of this program: "
            f"set {paths.DEBUG}=1 for the traceback, and please report it"
        )


def _run(arguments: Sequence[str] | None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.version:
        from importlib.metadata import version

        print(f"gptoss-chat {version('gptoss-chat')}")
        return OK
    if given.command in weights.COMMANDS:
        return weights.run(given)
    if given.command in history.COMMANDS:
        return history.run(given)
    try:
        stated = {name: getattr(given, name) for name in _FIELDS if hasattr(given, name)}
        Options(**stated)
        given.memory = parse_size(given.memory) if hasattr(given, "memory") else None
    except RequestError as error:
        parser.error(str(error))
    if given.command == "doctor":
        from app.cli import doctor

        return doctor.run(given.memory, as_json=getattr(given, "json", False))
    model = getattr(given, "model", None)
    if given.command == "bench":
        bits = getattr(given, "dense_bits", None)
        return bench.run(model, dense_bits=bits, memory=given.memory, as_json=getattr(given, "json", False))
    instructions = _text(getattr(given, "instructions", None))
    saved = settings.load()
    bits, map = getattr(given, "dense_bits", None), getattr(given, "map", "auto")
    wanted = Load(saved.model if model is None else model, bits, map, given.memory)
    options = Options(**{**saved.options, **stated})
    in_terminal = given.command is None and not hasattr(given, "json") and sys.stdin.isatty() and sys.stdout.isatty()
    if in_terminal and not (given.plain or _is_dumb()):
        return _chat(wanted, options, instructions, replace(saved, mouse=saved.mouse and not given.no_mouse))
    for line in saved.warnings:
        print(f"gptoss-chat: {clean(line)}", file=sys.stderr)
    if in_terminal:
        return _plain_chat(given, wanted, options, instructions)
    if given.command == "ask":
        files = [read(Path(name)) for name in given.file]  # before the prompt is waited for
        return _ask(given, join(_prompt(given.prompt), files), wanted, options, instructions)
    return _ask(given, _prompt(["-"]), wanted, options, instructions)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the eight of the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse."""
        self.exit(USAGE, f"{self.prog}: {clean(message)}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    # The same options before and after the word `ask`: SUPPRESS keeps the inner parser's defaults from overwriting.
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = shared.add_argument_group("model")
    group.add_argument(
        "--model",
        metavar="NAME",
        help="demo, gpt-oss-20b, gpt-oss-120b, org/name or a folder (default: gpt-oss-20b once it is downloaded, "
        "till then the demo)",
    )
    group.add_argument("--instructions", metavar="TEXT", help="the developer message: how to answer, e.g. a role")
    group.add_argument(
        "--dense-bits",
        type=int,
        choices=[16, 8, 6, 4],
        help="hold all but the experts at so many bits (default: the most that fits into memory)",
    )
    group.add_argument(
        "--memory", metavar="SIZE", help='hold at most so much, as in "10GB" (default: what is free; see doctor)'
    )
    group.add_argument(
        "--map",
        choices=["auto", "on", "off"],
        help="use the weights where they lie in their files instead of copying them (default: auto, on a GPU that can)",
    )
    group.add_argument("--effort", choices=["low", "medium", "high"], help="how long to think (default: medium)")
    group = shared.add_argument_group("sampling")
    group.add_argument("--temperature", type=float, metavar="T", help="0 always takes the likeliest (default: 1)")
    group.add_argument("--top-p", type=float, metavar="P", help="the likeliest tokens up to this sum (default: 1)")
    group.add_argument("--top-k", type=int, metavar="K", help="the K likeliest tokens (default: 0, all)")
    group.add_argument("--min-p", type=float, metavar="P", help="drop what is less likely than P times the first")
    group.add_argument("--repetition-penalty", type=float, metavar="R", help="above 1 avoids repeating (default: 1)")
    group.add_argument("--seed", type=int, metavar="N", help="equal seeds give equal answers")
    group.add_argument("--max-tokens", type=int, metavar="N", help="end after N tokens, thinking included")
    group.add_argument("--stop", action="append", metavar="TEXT", help="end the answer at this text; may be repeated")

    group = shared.add_argument_group("output, without the chat")
    group.add_argument("--show-analysis", action="store_true", help="the model's analysis on standard error")
    group.add_argument("--json", action="store_true", help="one object: text, analysis, finish_reason, stats")

    parser: argparse.ArgumentParser = _Parser(
        prog="gptoss-chat",
        description=DESCRIPTION,
        epilog=EPILOG,
        parents=[shared],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument(
        "--no-mouse",
        action="store_true",
        help="the chat leaves the mouse to the terminal, which selects text by its own means (the settings file: "
        "mouse = false)",
    )
    parser.add_argument("--plain", action="store_true", help="the chat line by line, not on the full screen")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    ask = commands.add_parser(
        "ask",
        parents=[shared],
        help="answer one prompt on standard output",
        description="Answer one prompt on standard output. What is piped in follows the prompt after a blank line.",
    )
    ask.add_argument("prompt", nargs="*", metavar="PROMPT", help='the prompt; "-" stands for standard input')
    ask.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="PATH",
        help="a text, code or PDF file that goes with the prompt; may be repeated",
    )
    history.register(commands)
    weights.register(commands)
    doctor_parser = commands.add_parser(
        "doctor",
        argument_default=argparse.SUPPRESS,
        help="what this computer is, and how a model would be held in its memory",
        description="What this computer is, which weights it has, and how a model would be held in its memory.",
    )
    doctor_parser.add_argument("--memory", metavar="SIZE", help='plan for so much, as in "10GB", not for what is free')
    doctor_parser.add_argument("--json", action="store_true", help="one object; sizes in bytes")
    bench.register(commands)
    return parser


def _chat(wanted: Load, options: Options, instructions: str | None, saved: settings.Settings) -> int:
    if not sys.stderr.isatty():
        raise RequestError("the chat draws on standard error, which leads elsewhere here: leave out the 2> redirection")
    with Importing():
        from app.tui.app import ChatApp

    app = ChatApp(wanted, options, instructions, settings=saved)
    app.run(mouse=saved.mouse)
    return app.return_code or OK


def _plain_chat(given: argparse.Namespace, wanted: Load, options: Options, instructions: str | None) -> int:
    with Importing():
        from app.cli import plain

    dumb = "No full-screen chat: this terminal can't show it (TERM is dumb or not set)."
    return plain.chat(
        wanted,
        options,
        instructions,
        why=dumb if _is_dumb() else "Plain chat.",
        show_analysis=getattr(given, "show_analysis", False),
        edit_lines=not _is_dumb(),
    )


def _ask(given: argparse.Namespace, prompt: str, wanted: Load, options: Options, instructions: str | None) -> int:
    if not prompt.strip():
        raise RequestError('the prompt is empty; write it after `ask`, or pipe it in: echo "..." | gptoss-chat ask')
    with Importing():
        from app.cli.ask import answer

    as_json = getattr(given, "json", False)
    return answer(
        prompt,
        wanted,
        options,
        instructions,
        as_json=as_json,
        show_analysis=getattr(given, "show_analysis", False) and not as_json,
    )


def _prompt(words: list[str]) -> str:
    """The prompt of the command line, and after a blank line what is piped in."""
    stated = " ".join(word for word in words if word != "-")
    parts = [_text(stated) or ""]
    if "-" in words or not words or not sys.stdin.isatty():
        if sys.stdin.isatty():
            print("Type the prompt, then Ctrl-D on a line of its own.", file=sys.stderr)
        parts.append(sys.stdin.buffer.read().decode("utf-8-sig", "replace"))
    return "\n\n".join(part.strip("\n") for part in parts if part.strip())


def _text(argument: str | None) -> str | None:
    """An argument of the process as Unicode: bytes that are not UTF-8 arrive as lone surrogates."""
    return None if argument is None else argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _is_dumb() -> bool:
    """Whether the terminal can only print, or says nothing of what else it can."""
    return os.environ.get("TERM", "") in ("", "dumb")


def _fail(text: str) -> int:
    try:
        print(f"gptoss-chat: {clean(text)}", file=sys.stderr)
    except BrokenPipeError:
        _silence(sys.stderr)
    return FAILED


def _prepare_streams() -> None:
    """A process may be started without standard streams (`<&-`): they are then empty, and lead nowhere."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123  # for as long as the process lives
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123
    if isinstance(sys.stdout, io.TextIOWrapper):  # where it isn't UTF-8, as standard error has it: visible, no failure
        sys.stdout.reconfigure(errors="backslashreplace")


def _silence(stream: object) -> None:
    """Let Python's own flush at exit go nowhere instead of failing on a pipe that is closed."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())  # type: ignore[attr-defined]
    os.close(null)
