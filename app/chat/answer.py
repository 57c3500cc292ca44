"""One answer as its events come, and what a conversation keeps of it. Pure: the caller has the clock."""

from collections.abc import Sequence

from app.chat.conversation import AnswerFacts, CallFacts, Conversation, Node, new_id
from app.chat.thinking import Thinking
from mlx_model.events import Event, Finished, Stats
from mlx_model.harmony.fold import FoldedAnswer
from mlx_model.harmony.message import Effort, Message, Role

CHECKPOINT_S = 1.0
"""How often a growing answer is saved."""


class AnswerRecord:
    """Takes the events of one answer in order; everything else may be read at any moment in between.

    `node` is the prompt that is answered, or an answer that was cut off and is continued: its messages and figures are
    then the beginning, and it keeps its effort. None where no conversation keeps the answer. `model` is the name of the
    model that answers; it may be set later, when the model has been loaded.
    """

    def __init__(self, effort: Effort, node: Node | None = None, *, model: str = "") -> None:
        self.id = new_id()
        """The id of the node that keeps it."""
        self.model = model
        self._parent: str | None = node.id if node is not None else None
        self._first_messages: tuple[Message, ...] = ()
        facts = AnswerFacts(model, effort)
        if node is not None and node.facts is not None:  # an answer that was cut off
            self.id, self._parent, self._first_messages, facts = node.id, node.parent, node.messages, node.facts
        self.effort = facts.effort or effort
        self.origin = facts.origin
        """How it came about where it is one of several: see AnswerFacts."""
        self.thinking = Thinking(facts.analysis_s, facts.analysis_tokens)
        self._stats_before = facts.stats
        self._calls = list(facts.calls)
        self._fold = FoldedAnswer(self._first_messages)

    def take(self, event: Event, now: float, deltas: int = 1) -> None:
        """Add an event that came at `now`, in seconds; `deltas` text deltas were merged into it."""
        self._fold.take(event)
        self.thinking.take(event, now, deltas)

    def begin_call(self, allowed: str) -> None:
        """The last call is about to be run: what is kept says so until its result is there."""
        self._set_facts(CallFacts(allowed=allowed))

    def add(self, result: Message, facts: CallFacts | None = None) -> None:
        """Add what a tool has answered to the last call, or what the model was told instead, and how that came."""
        self._set_facts(facts or CallFacts())
        self._fold.add(result)

    @property
    def cut_off_call(self) -> Message | None:
        """The call at the end that was run, and whose result nobody has seen: the program has ended meanwhile."""
        results = _results(self._fold.messages)
        return self._fold.messages[-1] if len(self._calls) > results and self.calls else None

    def _set_facts(self, facts: CallFacts) -> None:
        """Those of the result that is to come next."""
        results = _results(self._fold.messages)
        known = [*self._calls[:results], *[CallFacts()] * (results - len(self._calls))]  # some have come without facts
        self._calls = [*known, facts]

    @property
    def call_facts(self) -> Sequence[CallFacts]:
        """How each result of a tool came about, in the order of the results."""
        return self._calls

    @property
    def messages(self) -> list[Message]:
        """The messages of the answer so far, partial ones included."""
        return self._fold.messages

    @property
    def has_begun(self) -> bool:
        """Whether anything has come that is worth keeping."""
        return self._fold.finished is not None or tuple(self._fold.messages) != self._first_messages

    @property
    def finished(self) -> Finished | None:
        """How the answer ended, with the figures of all its parts; None while it goes on, and if the engine died."""
        end = self._fold.finished
        if end is None:
            return None
        return Finished(end.reason, self._stats_before.followed_by(end.stats))

    @property
    def stats(self) -> Stats:
        """What the answer has cost, as far as that is known."""
        return self._stats_before if self.finished is None else self.finished.stats

    @property
    def text(self) -> str:
        """The final text, for the user."""
        return self._fold.text

    @property
    def commentary(self) -> str:
        """What the model tells the user outside of its final message, as before a call."""
        return self._fold.on("commentary")

    @property
    def analysis(self) -> str:
        """The chain of thought."""
        return self._fold.analysis

    @property
    def calls(self) -> list[Message]:
        """The messages that call a tool, the one that is being written included."""
        return [message for message in self.messages if message.calls_tool]

    def facts(self, now: float, unfinished: str | None = None) -> AnswerFacts:
        """How the answer came about. `unfinished` is its reason where the model gave none: None while it goes on."""
        return AnswerFacts(
            self.model,
            self.effort,
            unfinished if self.finished is None else self.finished.reason,
            self.stats,
            self.thinking.seconds(now),
            self.thinking.tokens,
            tuple(self._calls),
            self.origin,
        )

    def keep_in(self, conversation: Conversation, now: float, unfinished: str | None = None) -> None:
        """Put what has come into the conversation, as `facts` describes it."""
        facts = self.facts(now, unfinished)
        if self.id in conversation.nodes:
            conversation.update_answer(self.id, facts, self.messages)
        else:
            assert self._parent is not None
            conversation.add_answer(self._parent, facts, self.messages, self.id)


def _results(messages: Sequence[Message]) -> int:
    return sum(message.role is Role.TOOL for message in messages)
