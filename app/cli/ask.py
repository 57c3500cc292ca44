"""`gptoss-chat ask`: one answer on standard output, streamed; everything about it goes to standard error."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from app.chat.answer import AnswerRecord
from app.chat.conversation import new_id
from app.chat.loop import TurnTools, turn
from app.chat.sources import source_list
from app.chat.web_pages import web_pages
from app.cli.answer_printing import AnswerPrinter
from app.cli.approval import ask_person, remember
from app.cli.arguments import Start, answering, start, text_of
from app.cli.by_parts import Readings
from app.cli.completion import completed_by
from app.cli.files import attached, from_pipe, say_notes, say_unattached, what_would_fit
from app.cli.form import add_form, form_of, parsed
from app.cli.loading import load_model, load_there
from app.cli.printing import say
from app.cli.several import add_samples, plan_of, print_several
from app.cli.usage import UsageError
from app.documents.attachments import GAP, Attachment, join, split
from app.documents.citations import Cited, FileCitations, flaws
from app.documents.files import MOST_FILE_BYTES
from app.documents.selection import BY_PARTS
from app.engine.engine import Engine, EngineError
from app.engine.local import LocalEngine, drive
from app.engine.protocol import Ready
from app.paths import pages_folder
from app.programs import open_now
from app.settings import load
from app.tools.names import TOOLS, available
from app.tools.switched_on import SwitchedOn
from app.tools.web_pages import write_page
from mlx_model.errors import GptossError, RequestError
from mlx_model.events import Finished
from mlx_model.harmony.message import user
from mlx_model.request import Request
from mlx_model.tools.citations import cited
from mlx_model.tools.loop import ToolDenied, ToolFinished
from mlx_model.tools.shown_pages import pages_of

if TYPE_CHECKING:
    from app.remote.engine import RemoteEngine


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "ask",
        parents=[answering()],
        help="answer one prompt on standard output",
        description="Answer one prompt on standard output. Piped text follows the prompt after a blank line.",
    )
    parser.add_argument("prompt", nargs="*", metavar="PROMPT", help='the prompt; "-" or none reads standard input')
    parser.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="PATH",
        help="attach a file, or a part: paper.pdf:3-7 (pages; lines of text), paper.pdf#method, "
        "book.xlsx#Sales!A2:D9, 'paper.pdf?words' (what is found); may be repeated",
    )
    parser.add_argument(
        "--read",
        action="append",
        default=[],
        metavar="PATH",
        help="read a document (or a part, as for --file) that is longer than the context, part by part: the answer is "
        "made from notes on each; may be repeated",
    )
    tools = parser.add_argument(
        "--tools",
        default=argparse.SUPPRESS,
        metavar="NAMES",
        help=f"let the model call these tools, separated by commas: {', '.join(TOOLS)}, and MCP servers "
        "by their names (default: none)",
    )
    completed_by(tools, lambda **_: list(available()))
    parser.add_argument(
        "--open-html",
        action="store_true",
        help="open the last web page of the answer in the browser, cut off from the network",
    )
    add_form(parser)
    add_samples(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Answer the prompt of the command line; returns the exit code. Raises GptossError."""
    setup = _start(arguments)
    setup = replace(setup, form=form_of(arguments, is_bound_here=setup.server is None), plan=plan_of(arguments, setup))
    setup = replace(setup, open_html=getattr(arguments, "open_html", False))
    if setup.open_html and setup.plan is not None:
        raise UsageError("--open-html opens the page of one answer: leave out it or --samples")
    names = [*arguments.file, *(f"{name}{BY_PARTS}" for name in arguments.read)]
    files = [attached(name) for name in dict.fromkeys(names)]  # before the prompt is waited for
    return _ask(arguments.prompt, files, setup, arguments)


def answer_input(arguments: argparse.Namespace, words: Sequence[str]) -> int:
    """Answer a prompt of these words, and what is piped in; returns the exit code. Raises GptossError."""
    return _ask([*words, "-"], [], _start(arguments), arguments)


def _start(arguments: argparse.Namespace) -> Start:
    settings = load()
    for line in settings.warnings:
        say(line)
    return start(arguments, settings)


def _ask(words: list[str], files: list[Attachment], setup: Start, arguments: argparse.Namespace) -> int:
    prompt = _prompt(words, files)
    if not prompt.strip():
        raise RequestError('the prompt is empty; write it after `ask`, or pipe it in: echo "..." | gptoss-chat ask')
    return answer(prompt, setup, as_json=getattr(arguments, "json", False))


def _prompt(words: list[str], files: list[Attachment]) -> str:
    """The files, then the prompt of the command line, after a blank line what is piped in.

    What is piped in is read as a file is. It is one in the prompt, too, where it is more than its own text: a document,
    or text that was changed in reading.
    """
    text, files = text_of(" ".join(word for word in words if word != "-")).strip("\n"), list(files)
    say_unattached(text)
    if "-" in words or not words or not sys.stdin.isatty():
        data = _standard_input()
        piped = from_pipe(data) if data.strip() else None
        if piped is not None and piped.note:
            files.append(piped)
        elif piped is not None:
            text = GAP.join(filter(None, (text, piped.text.strip("\n"))))
    say_notes(files)
    return join(text, files)


def _standard_input() -> bytes:
    """What is piped in or typed, no more than can be read of a file: a pipe may have no end."""
    if sys.stdin.isatty():
        print("Type the prompt, then press Ctrl-D on an empty line.", file=sys.stderr)
    return sys.stdin.buffer.read(MOST_FILE_BYTES + 1)


def answer(prompt: str, setup: Start, *, as_json: bool = False) -> int:
    """Load the model, answer, print; returns 0, or 1 if the answer has no final text, or is bound and not whole.

    Raises GptossError, and BrokenPipeError when nobody reads on.

    Plain: the text of the final channel as it comes, without any control character but newline and tab. `as_json`: one
    ASCII object at the end, whose strings are exactly what the model wrote.
    """
    if setup.server is not None:
        return asyncio.run(_answer_there(setup.server, prompt, setup, as_json=as_json))
    if not setup.tools and setup.plan is None:
        return drive(_answer(prompt, setup, as_json=as_json))
    engine = LocalEngine()
    ready = drive(load_model(engine, setup.load))
    if setup.plan is not None:
        return asyncio.run(_print_answer(engine, ready, prompt, setup, as_json=as_json))
    return asyncio.run(_answer_with_tools(engine, ready, prompt, setup, as_json=as_json))


async def _answer(prompt: str, setup: Start, *, as_json: bool) -> int:
    engine = LocalEngine()
    ready = await load_model(engine, setup.load)
    return await _print_answer(engine, ready, prompt, setup, as_json=as_json)


async def _answer_there(engine: "RemoteEngine", prompt: str, setup: Start, *, as_json: bool) -> int:
    """The model is another computer's; tools are this one's."""
    try:
        ready = await load_there(engine, setup.load)
        if setup.tools:
            return await _answer_with_tools(engine, ready, prompt, setup, as_json=as_json)
        return await _print_answer(engine, ready, prompt, setup, as_json=as_json)
    finally:
        await engine.close()


async def _answer_with_tools(engine: Engine, ready: Ready, prompt: str, setup: Start, *, as_json: bool) -> int:
    from app.tools.kits import kits_of  # only now: most answers need none of it

    tools = SwitchedOn(kits_of(setup.tools, f"ask-{new_id()}", is_kept=False), setup.permissions, ask_person, remember)
    try:
        await tools.prepare([user(prompt)])
        for kit in tools.kits:
            if kit.trouble:
                raise RequestError(f"{kit.name} can't be used: {kit.trouble}")
        in_turn = TurnTools(tools.toolbox, tools.approve, setup.most_calls)
        setup = replace(setup, instructions=tools.instructions(setup.instructions))
        return await _print_answer(engine, ready, prompt, setup, as_json=as_json, tools=in_turn)
    finally:
        await tools.close()


async def _print_answer(
    engine: Engine, ready: Ready, prompt: str, setup: Start, *, as_json: bool, tools: TurnTools | None = None
) -> int:
    shown, form = (None, None) if setup.form is None else (setup.form.shown, setup.form.form)
    readings = Readings(prompt, ready)
    await readings.read(engine, setup.options)
    prompt = readings.prompt
    request = Request((user(prompt),), setup.options, setup.instructions, response_format=shown, form=form)
    if setup.plan is not None:
        code = await print_several(engine, ready, request, setup, setup.plan, as_json=as_json)
        return _ended_with(code, readings)
    record, calls = AnswerRecord(setup.options.effort), list[dict[str, object]]()
    printer = AnswerPrinter(show_analysis=setup.show_analysis, is_data=form is not None)
    try:
        async with aclosing(turn(engine, request, record, tools)) as events:
            async for event in events:
                if not as_json:
                    printer.show(event)
                if isinstance(event, ToolFinished | ToolDenied):
                    calls.append(_call_to_json(event))
    except EngineError as error:
        if error.too_long and (advice := what_would_fit(prompt, ready.context_length)):
            raise EngineError(f"{error}; {advice}", error.unusable, error.too_long) from None
        raise
    finished = record.finished or Finished("cancelled")
    attachments = split(prompt)[1]
    citations = FileCitations(lambda: attachments).of(record.text)
    if as_json:
        of_files = {"citations": [each.to_json() for each in citations]} if attachments else {}
        of_tools = {"calls": calls, "sources": _sources_to_json(record)} if tools else {}
        of_form = parsed(setup.form, record.text, finished)
        fields = _to_json(record, finished, ready) | of_form | of_files | of_tools | readings.to_json()
        print(json.dumps(fields), flush=True)
    printer.end_line()
    return _ended_with(_ended(record, finished, printer, setup, citations, as_json=as_json), readings)


def _ended_with(code: int, readings: Readings) -> int:
    """The notes on documents are needed no longer where there is an answer."""
    if code == 0:
        readings.forget()
    return code


def _ended(
    record: AnswerRecord,
    finished: Finished,
    printer: AnswerPrinter,
    setup: Start,
    citations: Sequence[Cited],
    *,
    as_json: bool,
) -> int:
    """What is printed below an answer; returns the exit code."""
    if record.text.strip():
        if setup.form is not None and setup.form.form is not None and finished.reason != "stop":
            say(f"the answer is not whole: {_why_cut(finished)}")
            return 1
        if printer.sources:  # part of the answer, which has their numbers
            print(f"\n{source_list(printer.sources)}", flush=True)
        for flaw in [] if as_json else flaws(citations):
            say(flaw)
        if setup.open_html:
            _open_page(record.text)
        if finished.reason == "length":
            say(f"the answer was cut off at {_limit(finished)}")
        return 0
    say(f"no answer: {_why_empty(record, finished)}")
    if not as_json and not setup.show_analysis and (rest := _unseen(record, finished.reason)):
        printer.print_aside(rest)
    return 1


def _open_page(text: str) -> None:
    """Opens the last web page of an answer, and says where it is. Raises GptossError."""
    if not (pages := web_pages(text)):
        say("the answer has no web page: no code block in HTML")
        return
    path = write_page(pages[-1], pages_folder())
    try:
        open_now(path)
        say(f"opened {path}")
    except GptossError as error:
        say(f"{path} is not opened: {error}")


def _limit(finished: Finished) -> str:
    return f"the token limit, after {finished.stats.decode_tokens:,} tokens; allow more with --max-tokens"


def _why_cut(finished: Finished) -> str:
    """Why an answer breaks off."""
    match finished.reason:
        case "length":
            return f"it reached {_limit(finished)}"
        case "stop_string":
            return "a stop string ended it"
    return "it was ended before its time"


def _to_json(record: AnswerRecord, finished: Finished, ready: Ready) -> dict[str, object]:
    return {
        "text": record.text,
        "commentary": record.commentary,
        "analysis": record.analysis,
        "finish_reason": finished.reason,
        "stats": {"load_s": ready.load_s, "resident_bytes": ready.resident_bytes, **finished.stats.to_json()},
    }


def _call_to_json(event: ToolFinished | ToolDenied) -> dict[str, object]:
    """A call and what came of it; `result` is what the model read."""
    fields = {"tool": event.call.name, "text": event.call.text, "result": event.message.text}
    if isinstance(event, ToolDenied):
        return fields | {"allowed": False}
    files = [str(file) for file in event.result.files]
    return fields | {"allowed": True, "error": event.result.error, "seconds": event.result.seconds, "files": files}


def _sources_to_json(record: AnswerRecord) -> list[dict[str, object]]:
    """What the text cites, with the citations as they stand there."""
    return [asdict(source) for source in cited(record.text, pages_of(record.messages))[1]]


def _why_empty(record: AnswerRecord, finished: Finished) -> str:
    """Why an answer has no final text, and what to do about it where that is known."""
    match finished.reason:
        case "length":
            return (
                f"the model reached the token limit, after {finished.stats.decode_tokens:,} tokens, before it "
                "answered; allow more with --max-tokens, or less thinking with --effort low"
            )
        case "tool_call" if record.calls:
            tool = record.calls[-1].recipient
            remedy = "; --tools python switches it on" if tool == "python" else ", which `ask` does not have"
            return f"the model called the tool {tool}{remedy}"
        case "tool_limit":
            return (
                "the model called tools as often as it may ([tools] most_calls in settings.toml), or the same one "
                "again and again"
            )
        case "stop_string":
            return "a stop string ended the answer before its first word"
    return "the model ended its turn without one"


def _unseen(record: AnswerRecord, reason: str) -> str:
    """What the model wrote instead of an answer, unless it has been printed: its calls, else its analysis."""
    if record.calls:
        return "\n\n".join(call.text for call in record.calls)
    return record.analysis if reason == "no_answer" and not record.commentary else ""
