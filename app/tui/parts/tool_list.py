"""The list of tools: what there is to say of each in the conversation on the screen."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from app.chat.conversation import Conversation
from app.tools.kit import Kit
from app.tools.names import in_words, kit_of
from app.tools.permission import Rule
from app.tui.text.tool_rows import ToolRow, declared
from mlx_model.harmony.message import Message, Role
from mlx_model.harmony.tools import FUNCTIONS

Count = Callable[[Sequence[str]], Awaitable[tuple[list[int], bool]]]
"""How many tokens each of some texts has, and whether they were counted."""


def rows_off(there: Mapping[str, str], on: Sequence[str]) -> list[ToolRow]:
    """Each tool there is, by its name and what it does, and those that are on, whose kits are not ready yet."""
    names = {kit_of(name): name for name in on}
    known = [*there, *(name for name in names if name not in there)]
    return [ToolRow(name, _does(name, there, names), name in names, "") for name in known]


async def rows_on(
    rows: Sequence[ToolRow], kits: Sequence[Kit], rules: Sequence[Rule], conversation: Conversation, count: Count
) -> list[ToolRow]:
    """The same, with what is known of the kits that are ready."""
    texts = [declared((tool.declaration for tool in kit.tools), kit.instructions) for kit in kits]
    tokens, counted = await count(texts)
    found = {kit.name: (kit, number) for kit, number in zip(kits, tokens, strict=True)}
    return [
        _with(row, *found[row.name], counted=counted, rules=rules, conversation=conversation)
        if row.name in found
        else row
        for row in rows
    ]


def _does(name: str, there: Mapping[str, str], names: Mapping[str, str]) -> str:
    """What a tool does; of one that is open for a folder, which."""
    opened = in_words(names.get(name, name))
    return there.get(name, "no longer configured") if opened == name else opened


def _with(
    row: ToolRow, kit: Kit, tokens: int, *, counted: bool, rules: Sequence[Rule], conversation: Conversation
) -> ToolRow:
    about = [rule for rule in rules if any(_is_about(rule.subject, subject) for subject in kit.subjects)]
    said = ", ".join(f"{rule.decision} {rule.subject}" for rule in about)
    error = last_error(conversation, kit)
    return ToolRow(
        *(row.name, row.help, row.on, kit.trouble or kit.state, said, tokens, error),
        usable=not kit.trouble,
        counted=counted,
    )


def _is_about(rule: str, subject: str) -> bool:
    """Whether a rule names a tool, a part of it, or all that begins so."""
    return rule.startswith(subject) or (rule.endswith("*") and subject.startswith(rule[:-1]))


def last_error(conversation: Conversation, kit: Kit) -> str:
    """What went wrong in the last call of this kit, in one line; "" if that did not fail."""
    names = {name for tool in kit.tools for name in (tool.name, f"{FUNCTIONS}.{tool.name}")}
    for node in reversed(conversation.path):
        results = [message for message in node.messages if message.role is Role.TOOL]
        facts = node.facts.calls if node.facts else ()
        for message, fact in reversed([*zip(results, facts, strict=False)]):
            if _of(message, names):
                return (fact.outcome or message.text.strip().partition("\n")[0]) if fact.error else ""
    return ""


def _of(result: Message, names: set[str]) -> bool:
    name = result.name or ""
    return name in names or name.partition(".")[0] in names
