"""One conversation of this program's own JSON export."""

from dataclasses import fields as dataclass_fields
from dataclasses import replace
from typing import Any

from app.chat.block_runs import kept_output
from app.chat.conversation import AnswerFacts, BlockRun, CallFacts, Conversation, Node
from app.store.values import OddValueError, hashed, moment, name_of, number, text, text_or_none
from mlx_model.events import Stats
from mlx_model.harmony.message import Effort, Message


def convert(item: dict[str, Any]) -> Conversation:
    """The conversation, its nodes under the names they have where it was exported.

    Raises KeyError, TypeError, AttributeError or ValueError where the format is another; OddValueError, which is one of
    the last, says what is wrong.
    """
    id = name_of(text(item["id"]))
    names: dict[str | None, str | None] = {None: None}
    nodes = []
    for entry in item["nodes"]:
        messages = tuple(_message(message) for message in entry["messages"])
        facts = _facts(entry["turn"]) if "turn" in entry else None
        if not messages and facts is None:  # an answer that was stopped at once has none
            raise OddValueError("a message has no text")
        name = text(entry["id"])
        node_id = name if name_of(name) == name else hashed(id, name)
        if name in names:
            raise OddValueError("two messages have one id")
        if entry["parent"] not in names:
            raise OddValueError("a message follows one that is not there")
        runs = {run.block: run for run in map(_run, entry.get("runs", ()))}
        place = (names[entry["parent"]], moment(entry["created"]))
        nodes.append(Node(node_id, *place, messages, facts, tuple(runs[block] for block in sorted(runs))))
        names[name] = node_id
    conversation = Conversation(id, title=text(item["title"]), created=moment(item["created"]), nodes=nodes)
    conversation.updated = moment(item["updated"])
    if item["leaf"] not in names:
        raise OddValueError("its last message is not there")
    conversation.leaf = names[item["leaf"]]
    return conversation


def _run(fields: dict[str, Any]) -> BlockRun:
    """What came of a code block, as bounded as if it had been run here."""
    facts = None if fields["facts"] is None else _call(fields["facts"])
    return BlockRun(int(number(fields["block"])), text(fields["code"])[:64], kept_output(text(fields["output"])), facts)


def _message(fields: dict[str, Any]) -> Message:
    message = Message.from_json(fields)
    text(message.text)
    for value in (message.name, message.channel, message.recipient, message.content_type):
        text_or_none(value)
    return replace(message, recovered=bool(message.recovered))


def _facts(fields: dict[str, Any]) -> AnswerFacts:
    stats = Stats()
    for stat in dataclass_fields(Stats):
        value = number(fields["stats"].get(stat.name, 0), bits=64 if stat.name == "seed" else 63)
        stats = replace(stats, **{stat.name: type(getattr(stats, stat.name))(value)})
    effort = fields["effort"]
    return AnswerFacts(
        model=text(fields["model"]),
        effort=None if effort is None else Effort(effort),
        reason=text_or_none(fields["reason"]),
        stats=stats,
        analysis_s=float(number(fields["analysis_s"])),
        analysis_tokens=int(number(fields["analysis_tokens"])),
        calls=tuple(_call(call) for call in fields.get("calls", ())),
        origin=text(fields.get("origin", "")),
    )


def _call(fields: dict[str, Any]) -> CallFacts:
    """How a result came about. Its files stay with the one who exported it."""
    seconds, error = float(number(fields["seconds"])), bool(fields["error"])
    return CallFacts(seconds, error, text(fields["allowed"]), text(fields["outcome"]))
