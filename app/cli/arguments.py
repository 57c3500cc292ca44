"""Arguments that several commands share, and what they mean together with the settings file."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from app.adapters import adapter_names, find_adapter
from app.chat.plan import Plan
from app.cli.completion import completed_by, model_names
from app.cli.connecting import HERE, add_server, engine_there
from app.cli.usage import of_arguments
from app.engine.protocol import Load
from app.settings import AT_THE_TOP, MOST_CALLS, SAMPLING, Settings
from app.tools.names import read_names
from mlx_model.distributed.hosts import hosts_of
from mlx_model.errors import RequestError
from mlx_model.memory.sizes import parse_memory
from mlx_model.options import Options

if TYPE_CHECKING:
    from app.cli.beside import SharedEngine
    from app.remote.engine import RemoteEngine
    from mlx_model.generation.formats import AnswerFormat

PORT = 8080
"""Where a server listens unless something else is said."""

_OPTIONS = (*AT_THE_TOP, *SAMPLING, "stop")
"""Arguments that are fields of Options."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a chat or an answer starts with."""

    load: Load
    options: Options
    instructions: str | None
    show_analysis: bool
    tools: tuple[str, ...] = ()
    permissions: Mapping[str, str] = field(default_factory=dict)
    most_calls: int = MOST_CALLS
    form: "AnswerFormat | None" = None
    """What an answer is bound to, None for nothing."""
    plan: Plan | None = None
    """How several answers are asked for, None for one."""
    server: "RemoteEngine | None" = None
    """What answers instead of a model on this computer."""
    open_html: bool = False
    """Whether a web page of the answer is opened."""
    shared: "SharedEngine | None" = None
    """The engine of this computer, where other programs may ask it too."""


def add_model(group: "argparse._ArgumentGroup", *, streams: bool = True) -> None:
    """The arguments that say which model is loaded, and how. With `streams` its experts may stay on the disk."""
    model = group.add_argument(
        "--model",
        metavar="NAME",
        help="demo, gpt-oss-20b, gpt-oss-120b, org/name or a folder (default: gpt-oss-20b once it is downloaded, "
        "until then demo)",
    )
    completed_by(model, model_names)
    group.add_argument(
        "--dense-bits",
        type=int,
        choices=[16, 8, 6, 4],
        help="hold all weights but the experts at this many bits (default: the most that fit into memory)",
    )
    group.add_argument(
        "--memory",
        type=size,
        metavar="SIZE",
        help='use at most this much memory, as in "10GB"; GB as memory is sold, 2^30 bytes (default: what is free; see '
        "doctor)",
    )
    if streams:
        group.add_argument(
            "--experts",
            type=int,
            metavar="N",
            help="hold N experts of each layer in memory and read the others from the disk when they are needed: the "
            "same answers, slower (default: all, or where they don't fit as many as do)",
        )
    group.add_argument(
        "--map",
        choices=["auto", "on", "off"],
        help="use the weights where they lie in their files instead of copying them (default: auto, on a CPU and on a "
        "GPU that supports it)",
    )


def add_adapter(group: "argparse._ActionsContainer") -> None:
    """The argument that says which adapter answers."""
    adapter = group.add_argument(
        "--adapter",
        metavar="NAME",
        help="answer with this LoRA adapter: one that `finetune` has made, or a folder as peft's (default: none)",
    )
    completed_by(adapter, lambda **_: adapter_names())


def add_hosts(group: "argparse._ArgumentGroup") -> None:
    """The argument that says which other computers hold a part of the model."""
    group.add_argument(
        "--with",
        dest="hosts",
        metavar="HOSTS",
        help="share the model's layers with other computers that ssh reaches without a password and that have "
        "gptoss-chat, as in user@mini.local,user@studio.local; see doctor --with (in the settings file: with; "
        f"{HERE}: this computer alone)",
    )


def stated_hosts(arguments: argparse.Namespace, settings: Settings) -> tuple[str, ...]:
    """Which other computers hold a part of the model. Raises RequestError."""
    text = getattr(arguments, "hosts", settings.hosts)
    return () if text is None or text == HERE else hosts_of(text)


def answering() -> argparse.ArgumentParser:
    """The arguments of everything that answers, as a parent of other parsers.

    The chat and `ask` have the same ones, before and after the word `ask`: SUPPRESS keeps the defaults of the inner
    parser from overwriting what the outer one has read.
    """
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = shared.add_argument_group("model", "The settings file can change the defaults of --model and --effort.")
    add_model(group)
    add_adapter(group)
    add_hosts(group)
    add_server(group)
    group.add_argument("--instructions", metavar="TEXT", help="the developer message: how to answer, e.g. a role")
    group.add_argument("--effort", choices=["low", "medium", "high"], help="how long to think (default: medium)")
    group = shared.add_argument_group("sampling", "The settings file can change the defaults.")
    group.add_argument("--temperature", type=float, metavar="T", help="0 always takes the likeliest token (default: 1)")
    group.add_argument(
        "--top-p",
        type=float,
        metavar="P",
        help="sample from the likeliest tokens whose probabilities sum to P (default: 1, all)",
    )
    group.add_argument("--top-k", type=int, metavar="K", help="sample from the K likeliest tokens (default: 0, all)")
    group.add_argument(
        "--min-p", type=float, metavar="P", help="leave out tokens less likely than P times the likeliest (default: 0)"
    )
    group.add_argument("--repetition-penalty", type=float, metavar="R", help="above 1 avoids repeating (default: 1)")
    group.add_argument(
        "--seed", type=int, metavar="N", help="the same seed gives the same answer (default: a random one)"
    )
    group.add_argument(
        "--max-tokens", type=int, metavar="N", help="end after N tokens, thinking included (default: none)"
    )
    group.add_argument(
        "--max-thinking", type=int, metavar="N", help="end the analysis after N tokens and answer (default: none)"
    )
    group.add_argument("--stop", action="append", metavar="TEXT", help="end the answer at this text; may be repeated")
    group.add_argument(
        "--prompt-lookup",
        action=argparse.BooleanOptionalAction,
        help="guess tokens from what stands in the prompt already and check several at once: the answer stays the same "
        "and comes sooner where it quotes or edits, a little later elsewhere (default: off)",
    )

    group = shared.add_argument_group("output, except in the full-screen chat")
    group.add_argument("--show-analysis", action="store_true", help="print the model's analysis on standard error")
    group.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object: text, commentary, analysis, finish_reason, stats, with tools also calls, with "
        "--samples also votes and samples",
    )
    return shared


def size(text: str) -> int:
    """Bytes of "10GB": the type of an argument."""
    try:
        return parse_memory(text)
    except RequestError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def stated_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of Options that the command line states. Raises UsageError for values outside their range."""
    values = {name: getattr(arguments, name) for name in _OPTIONS if hasattr(arguments, name)}
    with of_arguments():
        Options(**values)
    return values


def stated_load(arguments: argparse.Namespace, settings: Settings) -> Load:
    """Which model is to be loaded, and how."""
    return Load(
        getattr(arguments, "model", settings.model),
        getattr(arguments, "dense_bits", None),
        getattr(arguments, "map", "auto"),
        getattr(arguments, "memory", None),
        find_adapter(arguments.adapter) if hasattr(arguments, "adapter") else None,
        getattr(arguments, "experts", None),
        stated_hosts(arguments, settings),
    )


def start(arguments: argparse.Namespace, settings: Settings) -> Start:
    """What the command line states, and for the rest what the settings do."""
    server = engine_there(arguments, settings)
    load = stated_load(arguments, settings if server is None else replace(settings, model=None, hosts=None))
    options = Options(**{**settings.options, **stated_options(arguments)})
    instructions = getattr(arguments, "instructions", None)
    return Start(
        load,
        options,
        None if instructions is None else text_of(instructions),
        getattr(arguments, "show_analysis", False),
        read_names(arguments.tools) if hasattr(arguments, "tools") else (),
        settings.permissions,
        settings.most_calls,
        server=server,
    )


def text_of(argument: str) -> str:
    """An argument of the process as Unicode: bytes that are not UTF-8 arrive as lone surrogates."""
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
