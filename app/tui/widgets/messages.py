"""What stands in the transcript: the person's prompts, the model's answers, notices of the program."""

from collections.abc import Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message as TextualMessage
from textual.widget import Widget

from app.chat.conversation import CallFacts, Conversation, Node
from app.chat.footer import ending, explained, figures
from app.documents.attachments import Attachment, split
from app.documents.citations import Cited, FileCitations
from app.documents.notes import all_notes, notes_of
from app.lines import one_line
from app.store.search import OUTPUT
from app.tui.text.answer_parts import Kind, Part, Running, State, parts_of
from app.tui.text.code_words import copy_alone, words_of
from app.tui.text.days import moment
from app.tui.text.pages import beginning
from app.tui.widgets.analysis import Analysis
from app.tui.widgets.attached import describe
from app.tui.widgets.calls import CallView
from app.tui.widgets.fold import Fold
from app.tui.widgets.grows import Grows
from app.tui.widgets.last_line import LastLine
from app.tui.widgets.live_container import LiveContainer
from app.tui.widgets.markdown import MarkdownText
from app.tui.widgets.marked_text import MarkedText
from app.tui.widgets.notes import NotesView
from app.tui.widgets.run_views import RunViews
from app.tui.widgets.sources import Sources
from app.tui.widgets.steps import Steps, to_cover
from app.tui.widgets.versions import VersionSwitch
from mlx_model.events import Finished, Stats
from mlx_model.harmony.message import Effort, Message
from mlx_model.text import clean
from mlx_model.tools.citations import Citations, held_back


class Prompt(MarkedText):
    """What the person wrote, and in a line each the files that went with it; when, for who points at it."""

    def __init__(self, prompt: Node) -> None:
        text, attachments = split(prompt.text())
        lines = [clean(beginning(text))] if text else []
        super().__init__()
        self.show("\n".join([*lines, *(f"+ {_described(each)}" for each in attachments)]))
        self.tooltip = Content(moment(prompt.created))


def _described(attachment: Attachment) -> str:
    """A file in a line; what is noted on a document stands below."""
    notes = notes_of(attachment)
    return describe(attachment) if notes is None else "  ".join(filter(None, map(one_line, (notes.name, notes.before))))


class AnswerText(MarkdownText):
    """What the model says to the person: the answer, or something on the way to it. A citation that is still being
    written is not shown yet."""

    @dataclass
    class SourceWanted(TextualMessage):
        """A click on the number of a source."""

        number: int

    @dataclass
    class CitedWanted(TextualMessage):
        """A click on the citation of a file."""

        cited: Cited

    def __init__(self, part: Part, citations: Citations, files: FileCitations) -> None:
        """`citations` have read its text; `files` know the files of the prompts before it."""
        grows, words = part.state is State.GROWING, words_of if part.kind is Kind.ANSWER else copy_alone
        super().__init__(_so_far(part), grows=grows, citations=citations, files=files, words=words)
        self.part = part
        self.set_class(part.kind is Kind.ASIDE, "-aside")

    async def show(self, part: Part) -> None:
        """Show this part, which has grown or ended."""
        if (text := _so_far(part)) != self.source:
            await self.grow(text)
        self.part = part
        if part.state is not State.GROWING:
            await self.finish_layout()

    def action_show_source(self, number: int) -> None:
        """Show a source below the answer: the action of its number."""
        self.post_message(self.SourceWanted(number))

    def action_show_place(self, number: int) -> None:
        """Show what is cited of a file: the action of its citation."""
        if self._files is not None and (cited := self._files.at(number)) is not None:
            self.post_message(self.CitedWanted(cited))


def _so_far(part: Part) -> str:
    return part.text[: len(part.text) - held_back(part.text)] if part.state is State.GROWING else part.text


PartView = Analysis | CallView | AnswerText
"""Each has the `part` it shows, `show` for what has become of it, and marks what a search has found there."""


class AnswerView(Vertical, LiveContainer, Grows):
    """One answer: a widget for each part of its messages, its sources, and a footer. `show` brings it up to date."""

    def __init__(
        self,
        effort: Effort | None,
        *,
        analysis: str,
        stored: Node | None = None,
        versions: VersionSwitch | None = None,
    ) -> None:
        """`analysis` says how to treat it: "collapsed" opens it while live, "shown" keeps it open, "hidden" closed.

        `stored` is an answer of the conversation, which is shown whole.
        """
        super().__init__()
        self.effort = effort
        self.messages: Sequence[Message] = ()
        self.finished: Finished | None = None
        self._treatment = analysis
        self._analysis_s, self._analysis_tokens = 0.0, 0
        self._calls: Sequence[CallFacts] = ()
        self._parts: list[PartView] = []
        self.runs = RunViews(self, lambda: self._texts)
        self._steps: Steps | None = None
        self._origin = ""
        self.sources = Sources()
        self._last_line = LastLine(versions)
        if stored is not None:
            self._show_stored(stored)

    def compose(self) -> ComposeResult:
        """The parts that are there already, their sources, and the last line; more parts come with the answer."""
        self.sources.read(self.messages)
        self.sources.show()
        for view in self._parts:
            if self._steps is not None and view is self._covered[0]:
                yield self._steps
            yield view
            if isinstance(view, AnswerText):
                yield from view.below
        if self.sources.display:
            yield self.sources
        yield self._last_line

    def _show_stored(self, node: Node) -> None:
        facts = node.facts
        reason = (facts.reason or "") if facts else "stop"
        self.messages = node.messages
        parts = parts_of(node.messages, reason, facts.calls if facts else ())
        for part in parts:
            self._append(part, last=part is parts[-1])
        for run in node.runs:
            self.runs.place(run)
        self._gather(ended=True)
        if facts is not None:
            self._origin = clean(facts.origin)
            self._analysis_s, self._analysis_tokens = facts.analysis_s, facts.analysis_tokens
            stats = facts.stats if facts.stats.decode_tokens or not node.messages else None
            self._end(reason, stats, clean(facts.model))
        self._count()

    def reveal(self, channel: str | None) -> None:
        """Open what is closed of a channel: something was found there."""
        if self._steps is not None and channel != "final":
            self._steps.open = True
        for view in self._parts:
            if isinstance(view, Fold) and any(message.channel == channel for message in view.part.messages):
                view.open = True
        for run in self.runs if channel == OUTPUT else ():
            run.open = True

    @property
    def _all(self) -> list[PartView]:
        return [*self._parts, *self.runs]

    def mark(self, words: Sequence[str]) -> None:
        """Mark these words, which are folded, in all parts; () marks none."""
        for view in self._all:
            view.mark(words)

    def line_of_mark(self) -> int | None:
        """The line of the first word that is marked and laid out, counted from 0; None without one."""
        for view in self._all:
            if (line := view.line_of_mark()) is not None:
                return line + view.content_region.y - self.region.y
        return None

    def treat_analysis(self, treatment: str) -> None:
        """Open or close the analysis from now on."""
        self._treatment = treatment
        for view in self._parts:
            if isinstance(view, Analysis):
                view.quiet = treatment == "hidden"
                view.open = treatment == "shown"

    @property
    def details(self) -> str:
        """What stands under its folds, in a word; "" without any."""
        if any(isinstance(view, CallView) for view in self._parts):
            return "steps"
        if any(isinstance(view, Analysis) for view in self._parts):
            return "thought"
        return "output" if any(self.runs) else ""

    def toggle_details(self) -> None:
        """Open all folds, or close them if all are open."""
        folds = [*filter(None, [self._steps]), *(view for view in self._parts if isinstance(view, Fold))]
        folds += self.runs
        opened = not all(fold.open for fold in folds)
        for fold in reversed(folds):  # the first of them is the one that is kept in sight
            if fold.open is not opened:
                fold.toggle()

    def show_code_keys(self, keys: Sequence[str]) -> None:
        """Show which key copies which code block of the answer."""
        if not keys:
            for view in self._texts:
                view.show_code_keys(())
            return
        for text, blocks in self.runs.with_blocks():
            text.show_code_keys(keys[: len(blocks)])
            keys = keys[len(blocks) :]

    @property
    def _texts(self) -> Sequence[AnswerText]:
        """The texts of the answer, or where there are none of what was said before it."""
        texts = [view for view in self._parts if isinstance(view, AnswerText)]
        return [view for view in texts if view.part.kind is Kind.ANSWER] or texts

    @property
    def pages(self) -> int:
        """How many pages its longest text has."""
        return max((view.pages for view in self._parts if isinstance(view, AnswerText)), default=1)

    def turn_page(self, step: int) -> None:
        """Turn the pages of that text: 1 on, -1 back."""
        texts = [view for view in self._parts if isinstance(view, AnswerText)]
        if texts:
            max(texts, key=lambda text: text.pages).turn(step)

    async def switch(self, versions: VersionSwitch | None) -> None:
        """Show a switch between versions, in place of the one before."""
        await self._last_line.switch(versions)

    def wait(self, text: str) -> None:
        """Say what the answer waits for."""
        self._last_line.say(clean(text))

    async def show(
        self,
        messages: Sequence[Message],
        analysis_s: float,
        analysis_tokens: int,
        reason: str | None = None,
        calls: Sequence[CallFacts] = (),
        running: Running | None = None,
    ) -> None:
        """Show these messages: the last of them goes on growing, or the answer has ended for this reason.

        `calls` and `running` are as for parts_of. Only the parts that differ from what is shown are touched. Shows
        nothing once the view is gone from the screen.
        """
        self.messages, self._analysis_s, self._analysis_tokens = messages, analysis_s, analysis_tokens
        self._calls = calls
        if not self.is_attached:
            return
        if reason is None:
            self.remove_class("-cut-off")  # it was, and goes on
        parts = parts_of(messages, reason, calls, running)
        self.sources.read(messages)
        for view, part in zip(self._parts, parts, strict=False):
            if part != view.part:
                if isinstance(view, Analysis) and part is not parts[-1] and self._treatment == "collapsed":
                    view.open = False  # it has just ended: one that was opened since then differs no more
                await view.show(part)
        for part in parts[len(self._parts) :]:
            below = self.sources if self.sources.is_attached else self._last_line
            await self.mount(self._append(part, last=part is parts[-1]), before=below)
        if (steps := self._gather(ended=reason is not None)) is not None:
            await self.mount(steps, before=self._covered[0])
        self._count()
        if reason is not None:
            self.sources.show()
            if self.sources.display and not self.sources.is_attached:
                await self.mount(self.sources, before=self._last_line)

    def on_answer_text_source_wanted(self, event: AnswerText.SourceWanted) -> None:
        """Open that source."""
        event.stop()
        self.sources.open(event.number)

    async def finish(self, finished: Finished | None) -> None:
        """Say how it ended (None: the engine died) and what it cost."""
        self.finished = finished
        reason, stats = (finished.reason, finished.stats) if finished else ("died", None)
        await self.show(self.messages, self._analysis_s, self._analysis_tokens, reason, self._calls)
        await self.runs.drop_old()
        self._end(reason, stats)

    def _append(self, part: Part, *, last: bool) -> Widget:
        """The widget of one more part; `last` if nothing comes below it yet."""
        view: PartView
        if part.kind is Kind.CALL:
            view = CallView(part)
        elif part.kind is Kind.ANALYSIS:
            opened = self._treatment == "shown" or (self._treatment == "collapsed" and last)
            first = not any(isinstance(each, Analysis) for each in self._parts)
            view = Analysis(part, opened=opened, first=first, quiet=self._treatment == "hidden")
        else:
            view = AnswerText(part, self.sources.citations, self.sources.files)
        if self._parts:
            self._parts[-1].add_class("-followed")
        self._parts.append(view)
        return view

    @property
    def _covered(self) -> Sequence[Analysis | CallView]:
        return self._steps.covered if self._steps else ()

    def _gather(self, *, ended: bool) -> Steps | None:
        """Put many calls under one line; returns that line if it has to be mounted."""
        covered = to_cover(self._parts, ended=ended)
        if self._steps is not None:
            self._steps.cover(covered)
        elif covered:
            self._steps = Steps()
            self._steps.cover(covered)
            return self._steps
        return None

    def _count(self) -> None:
        """Say in the first analysis how long the model has thought."""
        if (thought := self._thought) is not None:
            thought.count(self._analysis_s, self._analysis_tokens)

    @property
    def _thought(self) -> Analysis | None:
        """The first analysis, whose line says what all of the answer took."""
        return next((view for view in self._parts if isinstance(view, Analysis)), None)

    def _end(self, reason: str, stats: Stats | None, otherwise: str = "") -> None:
        """Say how the answer ended, if not as it should, and what it took; `otherwise` if nothing is known of it."""
        took, end = figures(self.effort, stats), ending(reason, stats)
        otherwise = "" if took else otherwise
        if (thought := self._thought) is not None:
            thought.figure(took, explained(self.effort, stats))
            took = []
        said = [*filter(None, [end, *self._origin.split("; "), *took])]
        self._last_line.say(*(said or filter(None, [otherwise])))
        self.set_class(reason not in ("stop", "tool_call"), "-cut-off")


def views_of(conversation: Conversation, node: Node, analysis: str) -> list[Widget]:
    """The widgets of a node that is kept, with a switch where it has versions."""
    versions = switch_of(conversation, node)
    if node.is_prompt:
        notes = [NotesView(each) for each in all_notes(node.text())]
        return [Prompt(node), *notes, *([versions] if versions else [])]
    view = AnswerView(node.facts.effort if node.facts else None, analysis=analysis, stored=node, versions=versions)
    view.sources.earlier = conversation.path_to(node.parent)
    return [view]


def switch_of(conversation: Conversation, node: Node) -> VersionSwitch | None:
    """The switch between the versions of a node, None where there is but one."""
    versions = conversation.versions(node)
    number = versions.index(node) + 1
    return VersionSwitch(node.id, number, len(versions)) if len(versions) > 1 else None
