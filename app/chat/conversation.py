"""One conversation, a tree of prompts and answers: the engine is asked with a path of it, the store keeps it all."""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from app.documents.attachments import HEAD, Attachment, split
from app.documents.mentions import written
from app.lines import one_line
from mlx_model.events import Stats
from mlx_model.harmony.history import drop_old_analysis, is_final
from mlx_model.harmony.message import Effort, Message, Role, user
from mlx_model.tokens import about_tokens

if TYPE_CHECKING:
    from mlx_model.tools.base import ToolResult

TITLE_LENGTH = 48
PREVIEW_LENGTH = 160
"""Characters of the last answer that a list of conversations gets."""
UNFINISHED = (None, "died", "cancelled", "length", "tool_limit")
"""How an answer has ended that can be continued."""

NOT_CUT_OFF = "The last answer was not cut off."
"""What to say where there is nothing to continue."""


@dataclass(frozen=True, slots=True)
class CallFacts:
    """How the result of a tool call came about, besides its text, which is a message.

    `seconds` is how long the tool ran, `allowed` what has allowed it, in words ("" where it was not run), `outcome` in
    a few words what came of it ("8 results"), `files` are the paths of those that it wrote.
    """

    seconds: float = 0.0
    error: bool = False
    allowed: str = ""
    outcome: str = ""
    files: tuple[str, ...] = ()

    @classmethod
    def of(cls, result: "ToolResult", allowed: str) -> "CallFacts":
        """Those of a result."""
        files = tuple(str(file) for file in result.files)
        return cls(result.seconds, result.error, allowed, result.outcome, files)


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """How an answer came about. `reason` is Finished.reason, "died" if the engine did, None while it is under way.

    `effort` is None in an answer from another program.

    `analysis_s` and `analysis_tokens` say how long the model thought before it answered, `calls` how the results of its
    tools came about, in their order; of answers from elsewhere there are fewer, and there is one more while the last
    call is run. `origin` says how it came about where several answers were asked for, in words.
    """

    model: str
    effort: Effort | None
    reason: str | None = None
    stats: Stats = field(default_factory=Stats)
    analysis_s: float = 0.0
    analysis_tokens: int = 0
    calls: tuple[CallFacts, ...] = ()
    origin: str = ""


@dataclass(frozen=True, slots=True)
class BlockRun:
    """What came of a code block of an answer that the person has run; the model reads nothing of it.

    `block` is its number from 1 on (app.chat.block_runs), `code` a digest of what was run, `output` bounded text
    without control characters. `facts` are None while it runs, and stay so if the program ends meanwhile.
    """

    block: int
    code: str
    output: str = ""
    facts: CallFacts | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """What one side said: a prompt (`facts` are None), or a whole answer with its analysis, commentary and tool calls.

    Nodes with the same parent are versions of each other: the prompt was edited, or the answer regenerated.
    `created` is in seconds since 1970; `runs` are those of its code blocks, in their order, the last of each.
    """

    id: str
    parent: str | None
    created: float
    messages: tuple[Message, ...]
    facts: AnswerFacts | None = None
    runs: tuple[BlockRun, ...] = ()

    @property
    def is_prompt(self) -> bool:
        """Whether the person wrote it."""
        return bool(self.messages) and self.messages[0].role is Role.USER

    def text(self, channel: str | None = None) -> str:
        """The texts on a channel that call no tool, with a blank line between; a prompt's text without a channel."""
        on_channel = (m for m in self.messages if m.channel == channel and m.role is not Role.TOOL)
        return "\n\n".join(m.text for m in on_channel if m.recipient is None and m.text)


def files_of(nodes: Iterable[Node]) -> list[Attachment]:
    """The files that went with the prompts among these."""
    prompts = (node.text() for node in nodes if node.is_prompt)
    return [attachment for text in prompts if HEAD in text for attachment in split(text)[1]]


def beginning_of(text: str) -> str:
    """The beginning of a message for a list: of a prompt without the files that went with it."""
    return (split(text)[0] if text.startswith(HEAD) else text)[:PREVIEW_LENGTH]


@dataclass(frozen=True, slots=True)
class Changes:
    """What of a conversation isn't saved yet. `title` is None where it has not changed."""

    id: str
    title: str | None
    created: float
    updated: float
    leaf: str | None
    nodes: tuple[Node, ...]
    removed: tuple[str, ...] = ()


class Conversation:
    """A tree of nodes, and the leaf whose path from the root is on the screen.

    Knows what has changed since it was last saved. Its only way to lose something is `withdraw`, for a prompt or an
    answer that came to nothing.
    """

    def __init__(
        self, id: str | None = None, *, title: str = "", created: float | None = None, nodes: Iterable[Node] = ()
    ) -> None:
        """`nodes` are those of a stored conversation, parents before their children; the last one is the leaf."""
        self.id = id or new_id()
        self.title = title
        self.created = time.time() if created is None else created
        self.updated = self.created
        self.nodes: dict[str, Node] = {node.id: node for node in nodes}
        self.leaf: str | None = next(reversed(self.nodes), None)
        self._changed: dict[str, None] = {}
        self._removed: set[str] = set()
        self._head_changed = False
        self._title_changed = False

    # The path on the screen

    @property
    def path(self) -> list[Node]:
        """The nodes from the root to the leaf."""
        return self.path_to(self.leaf)

    def path_to(self, id: str | None) -> list[Node]:
        """The nodes from the root to this one."""
        nodes: list[Node] = []
        at = id
        while at is not None:
            nodes.append(self.nodes[at])
            at = nodes[-1].parent
        return nodes[::-1]

    @property
    def messages(self) -> list[Message]:
        """The messages along the path."""
        return [message for node in self.path for message in node.messages]

    def for_engine(self, id: str | None = None) -> list[Message]:
        """The messages to ask with, up to this prompt, or this cut-off answer (None: to the leaf).

        An analysis that never came to an answer (stopped, or the engine died) is left out: the model would read its own
        broken-off thought as the beginning of the next.
        """
        messages: list[Message] = []
        for message in (message for node in self.path_to(id or self.leaf) for message in node.messages):
            if message.role is Role.USER:
                while messages and _is_analysis(messages[-1]):
                    messages.pop()
            messages.append(message)
        return messages

    def last_answer(self) -> str | None:
        """The text of the last answer on the path, None before the first."""
        for message in reversed(self.messages):
            if message.role is Role.ASSISTANT and message.channel == "final" and message.text:
                return message.text
        return None

    @property
    def preview(self) -> str:
        """The beginning of the answer at the path's end, or of the prompt there; "" if that answer has no text yet."""
        messages = self.nodes[self.leaf].messages if self.leaf is not None else ()
        texts = (m.text for m in reversed(messages) if m.channel == "final" or m.role is Role.USER)
        return beginning_of(next(filter(None, texts), ""))

    @property
    def tokens(self) -> tuple[int, bool]:
        """As `tokens_to`, of what is on the screen."""
        return self.tokens_to(self.leaf)

    def tokens_to(self, id: str | None) -> tuple[int, bool]:
        """Size in tokens up to a node, and whether some of them are estimated.

        Counted is what there was after the last answer with figures: one that was cut off has none, nor has another
        program's. Earlier analysis doesn't count, since the model doesn't see it again. Of an answer with tools the
        prompt is counted, with what declares them, and what stays is estimated: most of it leaves with the thoughts.
        """
        path, counted, texts = self.path_to(id), 0, list[str]()
        for node in reversed(path):
            leaves_most = any(map(is_final, node.messages)) and any(m.role is Role.TOOL for m in node.messages)
            stats = Stats() if node.facts is None else node.facts.stats
            if not leaves_most:
                counted = stats.reused_tokens + stats.prefill_tokens + stats.decode_tokens
                if counted:
                    break
            stays = drop_old_analysis(node.messages) if leaves_most else node.messages
            texts += (m.text for m in stays if node is path[-1] or not _is_analysis(m))
            if counted := stats.first_prompt_tokens:
                break
        return counted + (about_tokens("\n\n".join(texts)) if any(texts) else 0), any(texts)

    @property
    def unfinished(self) -> Node | None:
        """The node at the end that can be continued: an answer that was cut off, or a prompt without an answer.

        An answer that the conversation went on from is none: it is what the rest was said about.
        """
        last = next(reversed(self.path), None)
        if last is None or (last.facts is not None and last.facts.reason not in UNFINISHED):
            return None
        return None if any(node.parent == last.id for node in self.nodes.values()) else last

    def last_prompt(self) -> Node | None:
        """The prompt that the path's last answer answers, or will answer."""
        return next((node for node in reversed(self.path) if node.is_prompt), None)

    # The tree

    def versions(self, node: Node) -> list[Node]:
        """The node and its siblings, oldest first."""
        return [other for other in self.nodes.values() if other.parent == node.parent]

    def leaves(self) -> list[str]:
        """The ends of all paths: below each node those of its older children first."""
        children: dict[str | None, list[str]] = {}
        for node in self.nodes.values():
            children.setdefault(node.parent, []).append(node.id)
        ends: list[str] = []
        waiting = children.get(None, [])[::-1]
        while waiting:
            id = waiting.pop()
            waiting += children.get(id, [])[::-1]
            if id not in children:
                ends.append(id)
        return ends

    def select(self, id: str) -> None:
        """Show the path through a node, and on from it along the newest of each node's children."""
        newest = {node.parent: node.id for node in self.nodes.values()}
        while id in newest:
            id = newest[id]
        if id != self.leaf:
            self._lead_to(id)

    def end_at(self, id: str | None) -> None:
        """Show the path to a node and nothing after it: what is added next branches there."""
        if id != self.leaf:
            self._lead_to(id)

    def add_prompt(self, text: str, parent: str | None) -> Node:
        """The person asks, in answer to `parent` (None: as a first message); the new node becomes the leaf."""
        if not self.nodes:
            self.rename(self.title or auto_title(text))
        return self._add(Node(new_id(), parent, time.time(), (user(text),)))

    def update_prompt(self, id: str, text: str) -> None:
        """The files of a prompt have become others: notes on a document grow."""
        self.nodes[id] = replace(self.nodes[id], messages=(user(text),))
        self._changed[id] = None

    def add_answer(self, parent: str, facts: AnswerFacts, messages: Sequence[Message], id: str | None = None) -> Node:
        """The model has begun to answer `parent`; the new node becomes the leaf."""
        return self._add(Node(id or new_id(), parent, time.time(), tuple(messages), facts))

    def update_answer(self, id: str, facts: AnswerFacts, messages: Sequence[Message]) -> None:
        """More of the answer has come."""
        self.nodes[id] = replace(self.nodes[id], facts=facts, messages=tuple(messages))
        self._changed[id] = None

    def keep_run(self, id: str, run: BlockRun) -> None:
        """A code block of a node is run, or was: in place of what came of it before."""
        node = self.nodes[id]
        runs = [other for other in node.runs if other.block != run.block]
        self._set_runs(node, [*runs, run])

    def drop_run(self, id: str, block: int) -> None:
        """Nothing came of running a code block."""
        node = self.nodes[id]
        self._set_runs(node, [run for run in node.runs if run.block != block])

    def _set_runs(self, node: Node, runs: Iterable[BlockRun]) -> None:
        self.nodes[node.id] = replace(node, runs=tuple(sorted(runs, key=lambda run: run.block)))
        self._changed[node.id] = None

    def withdraw(self, id: str, leaf: str | None) -> None:
        """Take back a node without children, which came to nothing, and go back to `leaf`.

        The title that came from a first prompt goes with it; one that the person chose stays.
        """
        assert not any(node.parent == id for node in self.nodes.values())
        node = self.nodes.pop(id)
        if not self.nodes and self.title == one_line(auto_title(node.text())):
            self.title = ""
        self._changed.pop(id, None)
        self._removed.add(id)
        self._lead_to(leaf)

    def rename(self, title: str) -> None:
        """Give it another title, which is brought into one line."""
        self.title = one_line(title)
        self._title_changed = self._head_changed = True

    # What the store needs

    def take_changes(self) -> Changes | None:
        """What changed since the last call, for the store; None if nothing did."""
        if not (self._changed or self._removed or self._head_changed):
            return None
        title = self.title if self._title_changed else None
        nodes = tuple(self.nodes[id] for id in self._changed)
        changes = Changes(self.id, title, self.created, self.updated, self.leaf, nodes, tuple(self._removed))
        self._changed, self._removed = {}, set()
        self._head_changed = self._title_changed = False
        return changes

    def give_back(self, changes: Changes) -> None:
        """What `take_changes` gave could not be saved: it counts as changed again."""
        ids = (*(node.id for node in changes.nodes), *self._changed)
        self._changed = {id: None for id in ids if id in self.nodes}
        self._removed |= set(changes.removed)
        self._title_changed |= changes.title is not None
        self._head_changed = True

    def everything(self) -> Changes:
        """All of it, for a store that has none of it."""
        return Changes(self.id, self.title, self.created, self.updated, self.leaf, tuple(self.nodes.values()))

    def _add(self, node: Node) -> Node:
        self.nodes[node.id] = node
        self.updated = node.created
        self._changed[node.id] = None
        self._lead_to(node.id)
        return node

    def _lead_to(self, leaf: str | None) -> None:
        self.leaf = leaf
        self._head_changed = True


def new_id() -> str:
    """A name for a conversation or a node: short enough to type, random enough for two programs at once."""
    return os.urandom(6).hex()


def auto_title(prompt: str) -> str:
    """A title from the first question: its first words, those of a folded paste included, else the files' names."""
    text, files = split(prompt)
    own_text = text
    for file in files:
        text = text.replace(f"[{file.name}]", file.text[: 20 * TITLE_LENGTH])
        own_text = own_text.replace(written(file.name), "")
    title = one_line(text[: 20 * TITLE_LENGTH])
    if files and not own_text.strip():
        title = ", ".join(PurePath(file.name).name or file.name for file in files)
    return shortened(title)


def shortened(title: str) -> str:
    """A title of one line as a list has room for it, cut between words."""
    if len(title) <= TITLE_LENGTH:
        return title
    words = title[: TITLE_LENGTH + 1].rsplit(" ", 1)[0][:TITLE_LENGTH]
    return f"{words.rstrip(',.;:')}\u2026"


def _is_analysis(message: Message) -> bool:
    return message.role is Role.ASSISTANT and message.channel == "analysis"
