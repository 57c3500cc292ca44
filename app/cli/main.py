"""The `gptoss-chat` command: its subcommands, and without one the chat.

Nothing heavy is imported before it is needed: `--help` loads neither MLX nor Textual, the chat loads no MLX at all (its
engine process does). `ask` and the plain chat run the model in this very process: no screen takes its time there, and
what a script measures of `ask` is then the model.
"""

import argparse
import errno
import gc
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from app import paths
from app.cli import arguments as shared
from app.cli import chat, completion
from app.cli.printing import say
from app.cli.usage import UsageError
from app.interrupt import INTERRUPTED, Importing
from app.lines import similar
from mlx_model.errors import GptossError
from mlx_model.text import clean

OK, FAILED, USAGE, CLOSED_PIPE = 0, 1, 2, 141

SUBCOMMANDS = {
    "chat": ("chat",),
    "ask": ("ask",),
    "conversations": ("list", "search", "export", "import"),
    "download": ("download",),
    "models": ("models",),
    "doctor": ("doctor",),
    "tools": ("tools",),
    "serve": ("serve",),
    "finetune": ("finetune",),
    "dataset": ("dataset",),
    "bench": ("bench",),
    "completion": ("completion",),
}
"""Modules of app.cli, and the subcommands that each adds: `register` has each parser name the function that carries it
out. Only those that a command line may mean are loaded."""

DESCRIPTION = "Chat with OpenAI's gpt-oss on your own computer: private, offline, in the terminal."
EPILOG = """\
examples:
  gptoss-chat                                  open the chat
  gptoss-chat -c                               open it where you left it
  gptoss-chat "Why is the sky blue?"           open it with this question
  gptoss-chat --plain                          the chat line by line, e.g. for a screen reader
  gptoss-chat ask "Why is the sky blue?"       one answer on standard output
  git diff | gptoss-chat ask "Review this"     piped text follows the prompt
  gptoss-chat ask --file a.pdf "Sum this up"   attach a document, text or code; a.pdf:3-7 takes pages
  gptoss-chat ask --effort high --json "2^61?" > answer.json
  gptoss-chat search lifetimes                 search all conversations
  gptoss-chat export --all --format json       all conversations, for `gptoss-chat import`
  gptoss-chat download gpt-oss-20b             download the weights (13.8 GB), or the rest of them
  gptoss-chat models                           what is on this computer; `models remove NAME` deletes
  gptoss-chat doctor                           how much memory a model would take here, and why
  gptoss-chat serve                            OpenAI's API for other programs, at 127.0.0.1
  gptoss-chat --server                         the chat, whose model other programs use by this API, too
  gptoss-chat --connect http://mini.local:8080 the chat here, with the model of `serve` there
  gptoss-chat --with me@mini.local             a model that needs the memory of both: see doctor --with
  gptoss-chat finetune --data mine.jsonl       train an adapter on conversations of yours
  gptoss-chat dataset papers/ -o test.jsonl    make a test set for language models from documents
  gptoss-chat bench                            how fast a model is here, with a line to post in an issue
  gptoss-chat bench --report                   the same, and a file for an issue with nothing private in it

If standard input or output is not a terminal, `gptoss-chat` answers the prompt on standard input, like
`gptoss-chat ask -`. In a terminal that can't show the full screen (TERM is "dumb" or not set), it opens
the plain chat, as with --plain.

exit codes:
  0    done                           2    wrong arguments
  1    failed, or no answer came;     130  interrupted by Ctrl-C
       a message says why             141  the reader closed the pipe (as in `| head -1`)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code. `arguments` are those of the process by default."""
    _prepare_streams()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # else huggingface_hub sends more than is needed
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
        return _fail(f"{error.strerror or error}; the rest of the output is lost")
    except Exception as error:
        if paths.is_debugging():
            raise
        return _fail(
            f"unexpected {type(error).__name__}: {error}. This is a bug in gptoss-chat: "
            f"please report it, with the traceback that {paths.DEBUG}=1 shows"
        )


def _run(arguments: Sequence[str] | None) -> int:
    parser = _parser(sys.argv[1:] if arguments is None else arguments)
    completion.complete(parser)
    parsed = parser.parse_args(arguments)
    if parsed.version:
        from importlib.metadata import version

        print(f"gptoss-chat {version('gptoss-chat')}")
        return OK
    try:
        shared.stated_options(parsed)
        gc.enable()
        code: int = parsed.run(parsed)
        return code
    except UsageError as error:
        if parsed.command in (sys.argv[1:] if arguments is None else arguments):
            parser.prog = f"{parser.prog} {parsed.command}"
        parser.error(str(error))


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the eight of the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse."""
        self.exit(USAGE, f"{self.prog}: {clean(message)}; see {self.prog} --help\n")

    def print_help(self, file: Any = None) -> None:
        """Called by argparse, which would keep to itself that it can't be written. Raises OSError."""
        print(self.format_help(), end="", file=file, flush=True)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Called by argparse: what is no command is a prompt, unless it looks like a mistyped command."""
        if not isinstance(action, _Commands) or value in action.choices:
            super()._check_value(action, value)
        elif (meant := similar(value, [name for names in SUBCOMMANDS.values() for name in names])) is not None:
            raise argparse.ArgumentError(None, f'there is no command "{value}" (did you mean {meant}?)')


class _Commands(argparse._SubParsersAction):  # type: ignore[type-arg]  # not generic where it runs
    """The commands, of which `chat` takes a line that begins with none."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Called by argparse with the command and what follows it."""
        assert values
        known = values[0] in self.choices
        super().__call__(parser, namespace, values if known else ["chat", *values], option_string)


def _parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of a command line of these words, and of any other where help is asked for, or a completion."""
    parser = _Parser(
        prog="gptoss-chat",
        description=DESCRIPTION,
        epilog=EPILOG,
        parents=[shared.answering(), chat.opening()],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.set_defaults(run=chat.run)
    commands = parser.add_subparsers(dest="command", metavar="[COMMAND]", title="commands", action=_Commands)
    # -h may stand among other letters, and --help may be shortened.
    every = completion.is_asked() or any(word.startswith("-") and "h" in word for word in words)
    with Importing():
        modules = [
            import_module(f"app.cli.{module}")
            for module, names in SUBCOMMANDS.items()
            if every or module == "chat" or not set(names).isdisjoint(words)
        ]
    for module in modules:
        module.register(commands)
    return parser


def _fail(text: str) -> int:
    try:
        say(text)
    except BrokenPipeError:
        _silence(sys.stderr)
    return FAILED


def _prepare_streams() -> None:
    """A process may be started without standard streams (`<&-`): the input is then empty, what goes to standard output
    fails as on a full disk, and messages lead nowhere."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123  # for as long as the process lives
    if sys.stdout is None:
        sys.stdout = _ClosedOutput(open(os.devnull, "wb"))  # noqa: SIM115, PTH123  # or a file would take its number
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    if isinstance(sys.stdout, io.TextIOWrapper):  # where it isn't UTF-8, as standard error has it: visible, no failure
        sys.stdout.reconfigure(errors="backslashreplace")


class _ClosedOutput(io.TextIOWrapper):
    """Stands for a standard output that the process was started without."""

    def write(self, text: str) -> int:
        """Raises OSError, unless there is nothing to write."""
        if text:
            raise OSError(errno.EBADF, "standard output is closed")
        return 0


def _silence(stream: object) -> None:
    """Let Python's own flush at exit go nowhere instead of failing on a pipe that is closed."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())  # type: ignore[attr-defined]
    os.close(null)
