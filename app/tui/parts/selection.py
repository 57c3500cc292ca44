"""What is done with the message that is selected: copied, edited, branched from, answered again, quoted, opened."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events

from app.chat.code_blocks import CodeBlock, code_blocks
from app.chat.conversation import BlockRun, Node
from app.documents.mentions import names_in
from app.tools.code import run_by
from app.tui.parts.conversation import ConversationKeeper
from app.tui.parts.desk import Desk
from app.tui.parts.tools import Tools
from app.tui.text import message_keys as keys
from app.tui.text.message_keys import MessageFacts
from app.tui.text.messages import quoted, text_of, written_files
from app.tui.widgets.composer import FOLD_LENGTH
from mlx_model.text import clean

if TYPE_CHECKING:  # what is done with answers is loaded once there are some
    from app.tui.parts.code_runs import CodeRuns
    from app.tui.parts.written_files import WrittenFiles
    from app.tui.widgets.markdown import MarkdownText
    from app.tui.widgets.messages import AnswerView
    from app.tui.widgets.notes import NotesView
    from mlx_model.tools.shown_pages import Page

WAITING = (keys.EDIT, keys.BRANCH, keys.AGAIN, keys.GO_ON, keys.VERSION_BACK, keys.VERSION_ON, keys.RUN)
"""What can't be done while an answer is under way."""
NO_TEXT = "There is no text in this message yet."
NO_FILES = "No call in this message has written a file."
NO_PAGE = "There is no code block in HTML in this message."
NO_CODE = "There is no code block in this message."
NO_OUTPUT = "Code block {} has no output."
NO_RUN = "There is no code block of Python or shell in this message."
NO_OUTPUTS = "No code block of this message has been run, or it has written nothing."
WITHOUT = {keys.SAVE: NO_CODE, keys.RUN: NO_RUN, keys.ASK: NO_OUTPUTS}
"""What to say where there is nothing to save, to run or to ask about."""
NOT_RUN = "Code block {} says neither that it is Python nor that it is shell: it is not run."


class Selection:
    """Carries out the actions of app.tui.text.message_keys, and shows which there are. `to_clipboard` copies a text,
    which a person knows by the second one, and says what came of it."""

    def __init__(
        self,
        desk: Desk,
        conversations: ConversationKeeper,
        tools: Tools,
        to_clipboard: Callable[[str, str], None],
    ) -> None:
        self._desk = desk
        self._conversations = conversations
        self._to_clipboard = to_clipboard
        self._tools = tools
        self._runs: CodeRuns | None = None
        self._choosing: tuple[str, str] | None = None  # the message, and what is to be done with one of what it has
        self._counted: tuple[Node | None, int, tuple[int, ...], int] = (None, 0, (), 0)
        self._keyed: tuple[AnswerView | None, Sequence[str]] = (None, ())  # which shows these at its code blocks

    @property
    def _node(self) -> Node | None:
        """What is selected; None too for an answer of which nothing has been kept yet."""
        return self._conversations.conversation.nodes.get(self._desk.transcript.selected or "")

    @property
    def _view(self) -> "AnswerView | None":
        from app.tui.widgets.messages import AnswerView

        return next((view for view in self._desk.transcript.selected_views if isinstance(view, AnswerView)), None)

    @property
    def _notes(self) -> "list[NotesView]":
        from app.tui.widgets.notes import NotesView

        return [view for view in self._desk.transcript.selected_views if isinstance(view, NotesView)]

    @property
    def _pages(self) -> "dict[int, Page]":
        """What the model has seen of the web, by which its citations are numbered."""
        from mlx_model.tools.shown_pages import pages_of

        return pages_of(self._conversations.conversation.messages)

    @cached_property
    def _files(self) -> "WrittenFiles":
        from app.tui.parts.written_files import WrittenFiles

        return WrittenFiles(self._desk)

    @property
    def _code_runs(self) -> "CodeRuns":
        from app.tui.parts.code_runs import CodeRuns

        self._runs = self._runs or CodeRuns(self._desk, self._conversations, self._tools)
        return self._runs

    @property
    def is_running_code(self) -> bool:
        """Whether a code block is running, or waits for a yes."""
        return self._runs is not None and self._runs.is_running

    def stop_code(self) -> bool:
        """Stop the code block that is running; false if there is none."""
        return self._runs is not None and self._runs.stop()

    async def close(self) -> None:
        """The chat ends."""
        if self._runs is not None:
            await self._runs.close()

    def show(self) -> None:
        """Bring the line with the keys up to date; without a message the focus is where typing goes."""
        desk = self._desk
        if self._choosing is not None and self._choosing[0] != desk.transcript.selected:
            self._choosing = None
        transcript, facts = desk.transcript, self._facts()
        if transcript.selected is None and transcript.has_focus:
            desk.focus(desk.composer)
        transcript.numbers = (facts.choosing if facts else "") or keys.CODE
        if transcript.numbers == keys.FILE:
            numbered = len(facts.files) if facts else 0
        else:
            numbered = facts.code_blocks if facts and facts.code_blocks > 1 else 0
        transcript.numbered = min(numbered, keys.MAX_NUMBERED)
        transcript.own_keys = keys.own_keys(facts) if facts else {}
        with_keys = facts is not None and transcript.has_focus and facts.choosing != keys.FILE
        self._show_code_keys(keys.code_keys(facts.code_blocks) if facts and with_keys else ())
        desk.effort_switch.display = facts is None
        desk.message_keys.show(facts, with_keys=transcript.has_focus)

    def _show_code_keys(self, shown: Sequence[str]) -> None:
        before, self._keyed = self._keyed, (self._view, shown)
        if before == self._keyed:
            return
        for view, code_keys in (before[0], ()), self._keyed:
            if view is not None:
                view.show_code_keys(code_keys)

    def _facts(self) -> MessageFacts | None:
        if self._desk.transcript.selected is None:
            return None
        node, view, conversation = self._node, self._view, self._conversations.conversation
        code, runs, pages = self._count(node) if node else (0, (), 0)
        return MessageFacts(
            is_prompt=view is None,
            code_blocks=code,
            details=view.details if view else "notes" if self._notes else "",
            pages=view.pages if view else 1,
            versions=len(conversation.versions(node)) if node else 1,
            can_go_on=node is not None and self._conversations.cut_off is node,
            files=tuple(path.name for path in written_files(node)) if node else (),
            choosing=self._choosing[1] if node is not None and self._choosing is not None else "",
            runs=runs if view is not None else (),
            outputs=tuple(run.block for run in node.runs if run.output) if node and view is not None else (),
            sources=view is not None and view.sources.display,
            web_page=view is not None and pages > 0,
            is_running=self.is_running_code,
        )

    def _count(self, node: Node) -> tuple[int, tuple[int, ...], int]:
        """How many code blocks it has, which of them can be run, and how many web pages; counted once, which takes a
        while in a long answer."""
        from app.chat.web_pages import web_pages

        if self._counted[0] is not node:
            text = text_of(node)
            blocks = code_blocks(text)
            runs = tuple(block.number for block in blocks if run_by(block.language))
            self._counted = (node, len(blocks), runs, len(web_pages(text)))
        return self._counted[1:]

    def leave(self) -> None:
        """Nothing is selected any more, and typing goes on."""
        self._desk.transcript.select(None)
        self._desk.focus(self._desk.composer)

    async def act(self, action: str) -> None:
        """Do what a key of the selected message does."""
        name, _, number = action.partition(" ")
        chose = self._ends_choice()
        if (chose and action in (keys.FILE, keys.LEAVE)) or (name == keys.LEAVE and self.stop_code()):
            return
        if name == keys.LEAVE:
            self.leave()
        elif name in WAITING and not self._conversations.idle.is_set():
            self._desk.warn_busy()
        elif name in (keys.PREVIOUS, keys.NEXT):
            self._desk.transcript.step(-1 if name == keys.PREVIOUS else 1)
        elif name in (keys.FIRST, keys.LAST):
            await self._go_far(name)
        elif name in (keys.DETAILS, keys.SOURCES, keys.PAGE_BACK, keys.PAGE_ON):
            self._open(name)
        elif (node := self._node) is None:
            self._desk.warn(NO_TEXT)
        elif name in (keys.VERSION_BACK, keys.VERSION_ON):
            await self._switch(node, -1 if name == keys.VERSION_BACK else 1)
        elif name in (keys.COPY, keys.CODE, keys.QUOTE):
            self._take(name, number, node)
        elif name in (keys.FILE, keys.WEB_PAGE):
            self._open_what_is_in(name, number, node)
        elif name in (keys.SAVE, keys.RUN, keys.ASK):
            self._take_block(name, number, node, is_last=chose == name)
        else:
            await self._ask_on(name, node)

    def _take(self, name: str, number: str, node: Node) -> None:
        """Copy or quote it, or copy a code block of it."""
        from app.chat.sources import with_numbers, with_sources

        if name == keys.COPY:
            what = "your message" if node.is_prompt else "the answer"
            self._copy(with_sources(text_of(node), self._pages), what, NO_TEXT)
        elif name == keys.QUOTE:
            self._quote(self._desk.selected_text or with_numbers(text_of(node), self._pages))
        else:
            what = f"code block {number}" if number else "the last code block"
            self._copy(_code(code_blocks(text_of(node)), number), what, NO_CODE)

    async def _ask_on(self, name: str, node: Node) -> None:
        conversations, desk = self._conversations, self._desk
        prompt = conversations.conversation.nodes.get(node.parent or "")
        if name == keys.EDIT and not node.is_prompt:
            desk.warn("Only messages of yours can be edited.")
        elif name == keys.BRANCH and node.is_prompt:
            desk.warn("A branch begins at an answer. To ask something else here, edit this message.")
        elif name == keys.GO_ON and conversations.cut_off is not node:
            desk.warn("Only an answer at the end that was cut off can be continued.")
        else:
            self.leave()
            if name == keys.EDIT:
                conversations.edit(node)
            elif name == keys.BRANCH:
                await conversations.branch(node)
            elif name == keys.GO_ON:
                conversations.go_on()
            else:
                conversations.again(node if node.is_prompt else prompt)

    async def _go_far(self, name: str) -> None:
        """Select the first or the last message of the conversation."""
        path, transcript = self._conversations.conversation.path, self._desk.transcript
        id = path[0 if name == keys.FIRST else -1].id
        if not transcript.has(id):
            if not self._conversations.idle.is_set():  # what is under way would have to be mounted again
                self._desk.warn_busy()
                return
            await self._conversations.show(at=id)
        transcript.select(id)
        if name == keys.LAST:
            transcript.follow()

    async def _switch(self, node: Node, step: int) -> None:
        conversation = self._conversations.conversation
        versions = conversation.versions(node)
        if len(versions) < 2:
            self._desk.warn("There are no other versions of this message.")
            return
        by_keys = self._desk.transcript.has_focus
        await self._conversations.switch(step, node.id)
        self._desk.transcript.select(versions[(versions.index(node) + step) % len(versions)].id, scroll=False)
        if by_keys:
            self._desk.focus(self._desk.transcript)

    def _open(self, name: str) -> None:
        view = self._view
        if name == keys.DETAILS and view is not None and view.details:
            view.toggle_details()
        elif name == keys.SOURCES and view is not None:
            view.sources.toggle()
        elif name == keys.DETAILS and (notes := self._notes):
            for each in notes:
                each.toggle()
        elif name == keys.DETAILS:
            self._desk.warn("There is nothing to open in this message.")
        elif view is not None and view.pages > 1:
            view.turn_page(-1 if name == keys.PAGE_BACK else 1)
        else:
            self._desk.warn("This message has one page.")

    def _open_what_is_in(self, name: str, number: str, node: Node) -> None:
        """Open the last web page of it, or the file of this number; without one, the only file, or let the person
        choose."""
        if name == keys.WEB_PAGE:
            self._open_page(node)
            return
        files = written_files(node)
        if number or len(files) == 1:
            self.open_file(files[int(number or 1) - 1])
        elif files:
            self._choose(keys.FILE, node)
        else:
            self._desk.warn(NO_FILES)

    def _choose(self, action: str, node: Node) -> None:
        """Let the person choose one of what a message has."""
        self._choosing = node.id, action
        self.show()

    def _take_block(self, name: str, number: str, node: Node, *, is_last: bool) -> None:
        """Save or run the code block of this number, or ask about its output; without one, the only one, the last, or
        let the person choose."""
        blocks = code_blocks(text_of(node))
        fitting = {
            keys.SAVE: [block.number for block in blocks],
            keys.RUN: [block.number for block in blocks if run_by(block.language)],
            keys.ASK: [run.block for run in node.runs if run.output],
        }[name]
        if not fitting:
            self._desk.warn(WITHOUT[name])
        elif not number and len(fitting) > 1 and not is_last:
            self._choose(name, node)
        elif (at := int(number) if number else fitting[-1]) not in fitting:
            self._desk.warn((NOT_RUN if name == keys.RUN else NO_OUTPUT).format(at))
        elif name == keys.SAVE:
            self._desk.run(self._code_runs.save(blocks[at - 1]), group="save-code")
        elif name == keys.ASK:
            self.ask_about(next(run for run in node.runs if run.block == at))
        elif self._view is not None:
            self._code_runs.start(node.id, blocks[at - 1])

    def take_block(self, event: "MarkdownText.BlockWanted") -> None:
        """A click on a word above a code block."""
        from app.tui.text.code_words import OPEN, SAVE
        from app.tui.widgets.messages import AnswerView

        blocks = code_blocks(clean(event.view.source))
        if event.number > len(blocks):  # the text has changed since
            return
        block = blocks[event.number - 1]
        answer = next((each for each in event.view.ancestors if isinstance(each, AnswerView)), None)
        node = next(
            (id for id in self._conversations.conversation.nodes if answer in self._desk.transcript.views_of(id)), ""
        )
        if event.word is SAVE:
            self._desk.run(self._code_runs.save(block), group="save-code")
        elif event.word is OPEN:
            self._desk.run(self._files.open_page(f"{block.code}\n"), group="open-file")
        elif not self._conversations.idle.is_set():
            self._desk.warn_busy()
        elif answer is not None and node and (number := answer.runs.number_of(event.view, event.number)):
            self._code_runs.start(node, block._replace(number=number))

    def ask_about(self, run: BlockRun) -> None:
        """The next message is about what a code block has written."""
        from app.chat.block_runs import state_of

        self._quote(f"Output of code block {run.block} ({state_of(run.facts)}):\n\n{clean(run.output)}")

    def _open_page(self, node: Node) -> None:
        """Open the last page of it, as it was written."""
        from app.chat.web_pages import web_pages

        if pages := web_pages(node.text("final")):
            self._desk.run(self._files.open_page(pages[-1]), group="open-file")
        else:
            self._desk.warn(NO_PAGE)

    def _ends_choice(self) -> str:
        """Nothing is being chosen any more; for what something was, "" if nothing was."""
        chose, self._choosing = self._choosing[1] if self._choosing else "", None
        if chose:
            self.show()
        return chose

    def open_file(self, path: Path) -> None:
        """Open a file that a tool has written with the system's program."""
        self._desk.run(self._files.open(path), group="open-file")

    def _copy(self, text: str, what: str, otherwise: str) -> None:
        if text:
            self._to_clipboard(text, what)
        else:
            self._desk.warn(otherwise)

    def _quote(self, text: str) -> None:
        if not text:
            self._desk.warn(NO_TEXT)
            return
        composer = self._desk.composer
        self.leave()
        row, column = composer.cursor_location
        if composer.document.get_line(row)[:column].strip():
            composer.write("\n")
        if len(text) > FOLD_LENGTH:
            composer.on_paste(events.Paste(quoted(text)))  # which folds it
        else:
            composer.write(quoted(text))
            composer.leave_as_text(names_in(text))


def _code(blocks: Sequence[CodeBlock], number: str) -> str:
    """What the block of this number says, the last one by default; "" if it isn't there."""
    at = int(number) if number else len(blocks)
    return blocks[at - 1].code if 0 < at <= len(blocks) else ""
