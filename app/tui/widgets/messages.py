"""What stands in the transcript: the person's prompts, the model's answers, notices of the program."""

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from app.attachments import split
from app.conversation import Conversation, Node, one_line
from app.tui.widgets.analysis import Analysis
from app.tui.widgets.attached import describe
from app.tui.widgets.markdown import MarkdownText
from app.tui.widgets.versions import VersionSwitch
from mlx_model.events import Finished, Stats
from mlx_model.harmony.message import Effort, Role
from mlx_model.text import clean

ENDINGS = {
    "cancelled": "stopped",
    "length": "cut off: the limit of tokens is reached",
    "stop_string": "ended at a stop string",
    "tool_call": "asked for a tool, which this chat has not got",
    "died": "broken off: the engine ended",
    "": "not finished: the program ended",
}
"""What a footer says of an answer's end; "" stands for one that was still under way when it was last saved."""


class Prompt(Static):
    """What the person wrote, and in a line each the files that went with it."""

    def __init__(self, prompt: str) -> None:
        text, attachments = split(prompt)
        lines = [clean(text)] if text else []
        super().__init__(Content("\n".join([*lines, *(f"+ {describe(each)}" for each in attachments)])), markup=False)


class Notice(Static):
    """A line of the program's own; `level` is "info", "warning" or "error"."""

    def __init__(self, text: str, level: str = "info") -> None:
        super().__init__(Content(clean(text)), markup=False, classes=f"-{level}")

    def say(self, text: str) -> None:
        """Say something else."""
        self.update(Content(clean(text)))


@dataclass
class Draft:
    """What has come of an answer so far. `tokens` of the analysis; times in seconds."""

    analysis: str = ""
    commentary: str = ""
    final: str = ""
    analysis_tokens: int = 0
    analysis_s: float = 0.0

    @staticmethod
    def of(node: Node) -> "Draft":
        """That of an answer which is kept."""
        turn = node.turn
        seconds, tokens = (turn.analysis_s, turn.analysis_tokens) if turn else (0.0, 0)
        return Draft(node.text("analysis"), _commentary(node), node.text("final"), tokens, seconds)


class AnswerView(Vertical):
    """One answer. Parts are mounted when there is something to show in them; `refresh_draft` brings them up to date."""

    def __init__(
        self,
        effort: Effort | None,
        *,
        analysis: str,
        kept: Node | None = None,
        versions: VersionSwitch | None = None,
    ) -> None:
        """`analysis` says how to treat it: "collapsed" opens it while live, "shown" keeps it open, "hidden" closed.

        `kept` is an answer of before, which is shown whole.
        """
        super().__init__()
        self.effort = effort
        self.draft = Draft.of(kept) if kept else Draft()
        self.analysis: Analysis | None = None
        self.finished: Finished | None = None
        self._treatment = analysis
        self._kept = kept
        self._commentary: Static | None = None
        self._body: MarkdownText | None = None
        self._footer = Static(markup=False, classes="footer")
        self._last_line = Horizontal(self._footer, *([versions] if versions else []), classes="last-line")

    def compose(self) -> ComposeResult:
        """The footer; everything else comes with the answer, unless it is there already."""
        if self._kept is not None:
            yield from self._compose_kept(self._kept)
        yield self._last_line

    def _compose_kept(self, node: Node) -> ComposeResult:
        draft, turn = self.draft, node.turn
        if draft.analysis:
            opened = self._treatment == "shown" or (self._treatment == "collapsed" and not draft.final)
            self.analysis = Analysis(opened=opened)
            self.analysis.update(draft.analysis, draft.analysis_s, draft.analysis_tokens, live=False)
            yield self.analysis
        if draft.commentary:
            self._commentary = Static(Content(clean(draft.commentary)), markup=False, classes="commentary")
            yield self._commentary
        if draft.final:
            yield MarkdownText(clean(draft.final))
        if turn is not None:
            reason = turn.reason or ""
            stats = turn.stats if turn.stats.decode_tokens else None
            self._footer.update(Content(_footer(self.effort, reason, stats) or clean(turn.model)))
            self.set_class(reason not in ("stop", "tool_call"), "-cut-off")

    async def switch(self, versions: VersionSwitch | None) -> None:
        """Show a switch between versions at the end of the footer, in place of the one before."""
        await self._last_line.query(VersionSwitch).remove()
        if versions is not None:
            await self._last_line.mount(versions)

    def treat_analysis(self, treatment: str) -> None:
        """Open or close the analysis from now on."""
        self._treatment = treatment
        if self.analysis is not None:
            self.analysis.open = treatment == "shown"

    def wait(self, text: str) -> None:
        """Say what the answer waits for."""
        self._footer.update(Content(clean(text)))

    async def refresh_draft(self) -> None:
        """Show what the draft has gained. Does nothing once the view is gone from the screen."""
        if not self.is_attached:
            return
        draft = self.draft
        if draft.analysis:
            if self.analysis is None:
                self.analysis = Analysis(opened=self._treatment != "hidden")
                await self._add(self.analysis)
            thinking = not (draft.final or draft.commentary)
            if not thinking and self._treatment == "collapsed" and self.analysis.open and self._body is None:
                self.analysis.open = False
            self.analysis.update(draft.analysis, draft.analysis_s, draft.analysis_tokens, live=thinking)
        if draft.commentary:
            if self._commentary is None:
                self._commentary = Static(markup=False, classes="commentary")
                await self._add(self._commentary)
            self._commentary.update(Content(clean(draft.commentary)))
        if draft.final:
            if self._body is None:
                self._body = MarkdownText()
                await self._add(self._body)
            await self._body.grow(clean(draft.final))

    async def finish(self, finished: Finished | None) -> None:
        """Say how it ended (None: the engine died) and what it cost."""
        await self.refresh_draft()
        if not self.is_attached:
            return
        reason, stats = (finished.reason, finished.stats) if finished else ("died", None)
        draft, self.finished = self.draft, finished
        if self.analysis is not None:
            if self._treatment == "collapsed" and not draft.final:
                self.analysis.open = True
            self.analysis.update(draft.analysis, draft.analysis_s, draft.analysis_tokens, live=False)
        if self._body is not None:
            await self._body.settle()
        self._footer.update(Content(_footer(self.effort, reason, stats)))
        self.set_class(reason not in ("stop", "tool_call"), "-cut-off")

    async def _add(self, widget: Widget) -> None:
        await self.mount(widget, before=self._last_line)


def _footer(effort: Effort | None, reason: str, stats: Stats | None) -> str:
    parts = [effort.value] if effort else []
    if stats is not None:
        if stats.decode_tok_s:
            parts.append(f"{stats.decode_tok_s:.1f} tok/s")
        if stats.ttft_s:
            parts.append(f"first token {stats.ttft_s:.1f} s")
        parts.append(f"{stats.decode_tokens:,} tokens")
        if stats.reused_tokens:
            parts.append(f"{stats.reused_tokens:,} reused")
    if reason in ENDINGS:
        parts.append(ENDINGS[reason])
    return "   ".join(parts)


def _commentary(node: Node) -> str:
    """What the model said aside, called and was answered, one after the other."""
    aside = (m for m in node.messages if m.text and (m.role is Role.TOOL or m.channel == "commentary" or m.recipient))
    return "\n\n".join(
        f"From {one_line(m.name or 'a tool')}:\n{m.text}" if m.role is Role.TOOL else m.text for m in aside
    )


def views_of(conversation: Conversation, node: Node, analysis: str) -> list[Widget]:
    """The widgets of a node that is kept, with a switch where it has versions."""
    versions = switch_of(conversation, node)
    if node.is_prompt:
        return [Prompt(node.text()), *([versions] if versions else [])]
    return [AnswerView(node.turn.effort if node.turn else None, analysis=analysis, kept=node, versions=versions)]


def switch_of(conversation: Conversation, node: Node) -> VersionSwitch | None:
    """The switch between the versions of a node, None where there is but one."""
    versions = conversation.versions(node)
    number = versions.index(node) + 1
    return VersionSwitch(node.id, number, len(versions)) if len(versions) > 1 else None
