"""What stands in the transcript: the person's prompts, the model's answers, notices of the program."""

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from app.tui.widgets.analysis import Analysis
from app.tui.widgets.markdown import MarkdownText
from mlx_model.events import Finished, Stats
from mlx_model.harmony.message import Effort
from mlx_model.text import clean

ENDINGS = {
    "cancelled": "stopped",
    "length": "cut off: the limit of tokens is reached",
    "stop_string": "ended at a stop string",
    "tool_call": "asked for a tool, which this chat has not got",
    "died": "broken off: the engine ended",
}


class Prompt(Static):
    """What the person wrote."""

    def __init__(self, text: str) -> None:
        super().__init__(Content(clean(text)), markup=False)


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


class AnswerView(Vertical):
    """One answer. Parts are mounted when there is something to show in them; `refresh_draft` brings them up to date."""

    def __init__(self, effort: Effort, *, analysis: str) -> None:
        """`analysis` says how to treat it: "auto" opens it while live, "shown" keeps it open, "hidden" closed."""
        super().__init__()
        self.effort = effort
        self.draft = Draft()
        self.analysis: Analysis | None = None
        self.finished: Finished | None = None
        self._treatment = analysis
        self._commentary: Static | None = None
        self._body: MarkdownText | None = None
        self._footer = Static(markup=False, classes="footer")

    def compose(self) -> ComposeResult:
        """The footer; everything else comes with the answer."""
        yield self._footer

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
            if not thinking and self._treatment == "auto" and self.analysis.open and self._body is None:
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
            if self._treatment == "auto" and not draft.final:
                self.analysis.open = True
            self.analysis.update(draft.analysis, draft.analysis_s, draft.analysis_tokens, live=False)
        if self._body is not None:
            await self._body.settle()
        self._footer.update(Content(_footer(self.effort, reason, stats)))
        self.set_class(reason not in ("stop", "tool_call"), "-cut-off")

    async def _add(self, widget: Widget) -> None:
        await self.mount(widget, before=self._footer)


def _footer(effort: Effort, reason: str, stats: Stats | None) -> str:
    parts = [effort.value]
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
