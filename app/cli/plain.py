"""The chat line by line: for terminals that can't show the screen, and for people who prefer lines."""

import contextlib
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from app.adapters import OFF, adapters_here, find_adapter
from app.chat.answer import CHECKPOINT_S, AnswerRecord
from app.chat.by_parts import has_notes, unread
from app.chat.commands import COMMANDS, EFFORTS, CommandLine, next_effort, no_argument, parse, unknown
from app.chat.context import context_note
from app.chat.conversation import NOT_CUT_OFF, Conversation, Node, files_of
from app.chat.loop import TurnTools, turn
from app.chat.plan import Plan, read_plan
from app.chat.reading_texts import forget_texts
from app.chat.sampling import change
from app.cli.answer_printing import AnswerPrinter
from app.cli.arguments import Start
from app.cli.loading import load_model, load_there
from app.cli.plain_files import PlainFiles
from app.cli.plain_input import read_message, readline_edits
from app.cli.plain_output import print_footer, print_sources
from app.cli.plain_reading import NOTES_KEPT, read_documents
from app.cli.plain_several import PlainSeveral
from app.cli.plain_tools import PlainTools
from app.cli.printing import is_dumb, say
from app.cli.stopping import interruptible
from app.documents.attachments import split
from app.documents.citations import FileCitations, flaws
from app.engine.engine import EngineError
from app.engine.local import LocalEngine
from app.engine.protocol import Load
from app.lines import one_line, sentence
from app.store.saver import Saver
from app.tools.names import available, in_words, read_names
from mlx_model.errors import GptossError, RequestError
from mlx_model.request import Request
from mlx_model.text import clean
from mlx_model.tools.citations import cited, plain_number
from mlx_model.tools.loop import ToolDenied, ToolFinished, ToolStarted
from mlx_model.tools.shown_pages import pages_of

if TYPE_CHECKING:
    from app.cli.beside import SharedEngine
    from app.remote.engine import RemoteEngine

_HERE = ("effort", "set", "continue", "pro", "tools", "adapter", "new", "help", "quit")
SLASH_COMMANDS = tuple(command for command in COMMANDS if command.slash in _HERE)
"""The commands of the full-screen chat that this one has."""

_NO_TOOLS = "The model may call no tools. /tools NAME switches one on: "


def chat(start: Start, prompt: str = "", *, resume: bool = False) -> int:
    """Ask and answer until the person quits; returns 0. `prompt` is asked first; `resume` continues the last chat.

    Raises GptossError if the model can't be loaded.
    """
    reason = ": TERM is dumb or not set, so the full-screen chat can't be shown" if is_dumb() else ""
    print(f"Plain chat{reason}.\nCtrl-D or /quit quits, Ctrl-C stops an answer, /help lists the commands.", flush=True)
    # A terminal that can move its cursor lets a line be edited, and earlier ones called back.
    edits_lines = not is_dumb() and readline_edits()
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]  # a stray byte must not end the chat
    with contextlib.closing(Saver(say)) as saver:
        plain = PlainChat(start.server or start.shared or LocalEngine(), start, saver, edits_lines=edits_lines)
        try:
            name = plain.load(start.load)
            if start.server is not None:
                print(f"{name} answers at {start.server.host}. Tools run on this computer.", flush=True)
            if start.shared is not None:
                print(f"{name} answers. Other programs find it at {start.shared.url}.", flush=True)
            if resume:
                plain.resume()
            plain.run(prompt)
        finally:
            plain.close()
    return 0


class PlainChat:
    """One conversation at a time. Prompts are on the disk before the model sees them, a long answer once a second."""

    def __init__(
        self,
        engine: "LocalEngine | RemoteEngine | SharedEngine",
        start: Start,
        saver: Saver,
        *,
        edits_lines: bool,
    ) -> None:
        """`load` has the engine load a model, or connects to it."""
        self._engine = engine
        self._server = "" if start.server is None else start.server.host
        self._load = start.load
        self._model = ""
        self._options = start.options
        self._instructions = start.instructions
        self._show_analysis = start.show_analysis
        self._saver = saver
        self._edits_lines = edits_lines
        self._conversation = Conversation()
        self._plan = Plan()
        self._files = PlainFiles()
        self._tools = PlainTools(start.permissions, start.most_calls, always_loops=not isinstance(engine, LocalEngine))

    def load(self, load: Load) -> str:
        """Load a model, or connect to a server; returns what answers. Raises EngineError or EngineDied."""
        there = load_there if self._server else load_model
        ready = self._tools.drive(there(self._engine, load))
        # Another load is of the same model, be it the default one; only a server may have another one by then.
        self._load, self._model = load if self._server else replace(load, model=ready.model), ready.label
        return one_line(ready.label)

    def resume(self) -> None:
        """Go on with the conversation that was last used, and print its end."""
        last = self._saver.last()
        if last is None:
            print("There is no conversation to continue yet.")
            return
        self._conversation = last
        print(f"Continuing: {one_line(last.title)}")
        pages = pages_of(last.messages)
        for node in last.path[-2:]:
            if node.is_prompt:
                own, files = split(node.text())
                print(clean("\n".join([f"> {own}", *(f"  with {file.name}" for file in files)])), end="\n\n")
                continue
            text, sources = cited(clean(node.text("final")), pages, plain_number)
            print(text, flush=True)
            print_sources(sources)
            print()
        if last.unfinished is not None:
            print("The last answer is not finished; /continue goes on with it.", end="\n\n")

    def close(self) -> None:
        """End what the tools have started, and a connection."""
        if not isinstance(self._engine, LocalEngine):
            self._tools.drive(self._engine.close())
        self._tools.close()

    def run(self, prompt: str = "") -> None:
        """Ask `prompt`, if there is one; then ask and answer until Ctrl-D, /quit, or a second Ctrl-C in a row."""
        interrupted = self._ask_message(prompt) if prompt else False
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                try:
                    text = read_message(self._edits_lines)
                except EOFError:
                    print()
                    return
                except KeyboardInterrupt:  # what was typed of this message is dropped, as in a shell
                    print()
                    if interrupted:
                        return
                    interrupted = True
                    print("Ctrl-C again quits.")
                    continue
                interrupted = False
                line = parse(text)
                slash = line.command.slash if line is not None and line.command and not line.argument else ""
                if slash == "quit":
                    return
                if line is not None and line.command is not None and line.command.slash == "pro":
                    interrupted = self._several(line.argument)
                elif slash == "continue":
                    interrupted = self._go_on()
                elif line is not None:
                    print(self._command(line))
                elif text.strip():
                    interrupted = self._ask_message(text)

    def _command(self, line: CommandLine) -> str:
        """Carry out a slash command; returns the line to print."""
        if line.command not in SLASH_COMMANDS:
            if line.command is None:
                return unknown(line.name, SLASH_COMMANDS)
            return f"The plain chat has no command /{line.name}; /help lists its commands."
        name, argument = line.command.slash, line.argument
        if name == "effort":
            return self._effort(argument)
        if name == "set":
            try:
                after = change(self._options, argument)
            except RequestError as error:
                return sentence(str(error))
            self._options = after.options
            return sentence(after.text)
        if name == "tools":
            return self._switch(argument)
        if name == "adapter":
            return self._adapt(argument)
        if argument:
            return no_argument(line.name)
        if name == "new":
            self._tools.leave()
            self._conversation = Conversation()
            return "This is a new conversation."
        return _help()

    def _effort(self, level: str) -> str:
        """Set the effort, or state it."""
        if not level:
            return f"The effort is {self._options.effort}. /effort low, /effort medium or /effort high changes it."
        effort = next_effort(self._options.effort, level)
        if effort is None:
            return EFFORTS
        self._options = replace(self._options, effort=effort)
        return f"The effort of the next answer is {effort}."

    def _adapt(self, name: str) -> str:
        """Answer with an adapter, or with none, or state which there are."""
        if self._server:
            return f"The adapter is that of the model at {self._server}."
        if not name:
            return f"{one_line(self._model)} answers. {adapters_here()}"
        present = self._load
        try:
            folder = None if name == OFF else find_adapter(name)
            return f"{self.load(replace(present, adapter=folder))} answers from now on."
        except EngineError as error:
            return f"{sentence(one_line(str(error)))} {self.load(present)} is loaded again."
        except GptossError as error:
            return sentence(one_line(str(error)))

    def _switch(self, names: str) -> str:
        """Switch tools on or off, or state what is on."""
        if names.lower() == "off":
            self._tools.switch(())
        elif names:
            try:
                self._tools.switch(read_names(names))
            except RequestError as error:
                return sentence(str(error))
        on = ", ".join(map(in_words, self._tools.names))
        if not on:
            return f"{_NO_TOOLS}{', '.join(available())}."
        state = f"Tools that the model may call: {on}. /tools off switches them off."
        return f"{state} {context_note(self._engine.context_length)}".rstrip()

    def _several(self, argument: str) -> bool:
        """Have several answers, and one made of them, to the question that follows the command, else to the last
        prompt; whether Ctrl-C has ended them."""
        try:
            plan = read_plan(argument, self._options, self._plan)
        except RequestError as error:
            print(sentence(str(error)))
            return False
        self._plan = replace(plan, question="")
        if plan.question:
            return self._ask_message(plan.question, partial(self._answer_several, plan))
        if (prompt := self._conversation.last_prompt()) is None:
            print("There is no message to answer yet.")
            return False
        return self._read_and_answer(prompt, partial(self._answer_several, plan))

    def _ask_message(self, text: str, answer: Callable[[Node], bool] | None = None) -> bool:
        """Ask with the files that a message names, if all can be read; whether Ctrl-C has stopped the answer."""
        prompt = self._files.prompt_of(text)
        return prompt is not None and self._ask(prompt, answer)

    def _ask(self, text: str, answer: Callable[[Node], bool] | None = None) -> bool:
        """Ask and print the answer; whether Ctrl-C has stopped it."""
        conversation, before = self._conversation, self._conversation.leaf
        prompt = conversation.add_prompt(text, before)
        self._saver.save(conversation)
        try:
            return self._read_and_answer(prompt, answer or self._answer)
        finally:
            is_bare = conversation.leaf == prompt.id and not has_notes(conversation.nodes[prompt.id].text())
            if is_bare:  # nothing came of it: as if it had not been asked
                conversation.withdraw(prompt.id, before)
                self._saver.save(conversation)
                if not conversation.nodes:
                    forget_texts(conversation.id)

    def _read_and_answer(self, prompt: Node, answer: Callable[[Node], bool]) -> bool:
        """Read what of a prompt is to be read by parts, and answer it; whether Ctrl-C has ended that."""
        conversation = self._conversation
        is_answered = any(node.parent == prompt.id for node in conversation.nodes.values())
        if is_answered or not unread(prompt.text()):
            return answer(prompt)
        save, is_read = partial(self._saver.save, conversation), False
        with interruptible(self._engine.stop) as stopped:
            try:
                reading = read_documents(self._engine, conversation, prompt.id, self._options, self._model, save)
                is_read = self._tools.drive(reading)
            except GptossError as error:
                say(str(error))
        if is_read and not stopped():
            return answer(conversation.nodes[prompt.id])
        if has_notes(conversation.nodes[prompt.id].text()):
            say(NOTES_KEPT)
        return stopped()

    def _go_on(self) -> bool:
        """Go on with an answer that was cut off, inside its last message; whether Ctrl-C has stopped it again."""
        last = self._conversation.unfinished
        if last is None:
            print(NOT_CUT_OFF)
            return False
        return self._read_and_answer(last, self._answer) if last.is_prompt else self._answer(last)

    def _answer(self, node: Node) -> bool:
        """Print the answer to a prompt, or how a cut-off answer goes on, and keep it; whether Ctrl-C has stopped it.

        A second Ctrl-C raises KeyboardInterrupt.
        """
        record = AnswerRecord(self._options.effort, node, model=self._model)
        path = self._conversation.path_to(node.id)
        printer = AnswerPrinter(
            show_analysis=self._show_analysis,
            thinking=record.thinking,
            earlier=[message for each in path[:-1] for message in each.messages],
            begun=node.messages,  # of a prompt nothing is printed again
        )
        failure: GptossError | None = None
        try:
            tools = self._tools.in_turn(self._conversation)
        except KeyboardInterrupt:  # a tool may take its time to get ready
            print()
            return True
        with interruptible(lambda: self._stop(tools)) as stopped:
            try:
                self._tools.drive(self._show(node, record, printer, tools))
            except GptossError as error:
                failure = error
            finally:
                unfinished = "cancelled" if stopped() else "died"
                if record.has_begun:
                    self._keep(record, unfinished)
                printer.end_line()
                if record.has_begun:
                    print_sources(printer.sources)
                    for flaw in flaws(FileCitations(lambda: files_of(path)).of(record.text)):
                        say(flaw)
                    print_footer(record, unfinished)
            if failure is not None:
                say(str(failure))
            return stopped()

    def _answer_several(self, plan: Plan, prompt: Node) -> bool:
        """Print what comes of several answers, and keep them all; whether Ctrl-C has ended them. A second Ctrl-C raises
        KeyboardInterrupt."""
        conversation = self._conversation
        request = Request(conversation.for_engine(prompt.id), self._options, self._instructions)
        save = partial(self._saver.save, conversation)
        several = PlainSeveral(prompt, conversation, request, plan, self._model, save)
        if self._tools.names:
            print("Tools are off meanwhile.", file=sys.stderr, flush=True)
        with interruptible(self._engine.stop) as stopped:
            try:
                self._tools.drive(several.show(self._engine, stopped), loops=True)
            except GptossError as error:
                say(str(error))
            finally:
                several.keep("cancelled" if stopped() else "died")
            several.print_answer()
            return stopped()

    def _stop(self, tools: TurnTools | None) -> None:
        self._engine.stop()
        if tools is not None:
            tools.cancel()

    async def _show(
        self, node: Node, record: AnswerRecord, printer: AnswerPrinter, tools: TurnTools | None = None
    ) -> None:
        """Ask, and print and save the answer as it comes; a call of a tool before it is run, and its result at once."""
        options = replace(self._options, effort=record.effort)
        instructions = self._tools.instructions(self._instructions)
        request = Request(self._conversation.for_engine(node.id), options, instructions)
        saved = monotonic()
        async with contextlib.aclosing(turn(self._engine, request, record, tools)) as events:
            async for event in events:
                printer.show(event)
                of_tool = isinstance(event, ToolStarted | ToolFinished | ToolDenied)
                if record.has_begun and (of_tool or monotonic() - saved >= CHECKPOINT_S):
                    self._keep(record)
                    saved = monotonic()

    def _keep(self, record: AnswerRecord, unfinished: str | None = None) -> None:
        record.keep_in(self._conversation, monotonic(), unfinished)
        self._saver.save(self._conversation)


def _help() -> str:
    rows = [(command.usage, command.help) for command in SLASH_COMMANDS]
    rows += [
        ("Ctrl-C", "stop the answer; at the prompt, twice: quit"),
        ("Ctrl-D", "quit"),
        ("\\ at the end", "continue the message on the next line"),
        ("@name", "attach a file, or a part: :3-7, #title, ?words; * reads by parts what is longer than the context"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {text}" for name, text in rows)
