"""Where the text of a conversation comes from: some of it may mislead the model, some of it is the person's own."""

from collections.abc import Collection, Iterable

from app.documents.attachments import split
from mlx_model.harmony.message import Message, Role

FILES = "the attached files"


def origins_of(messages: Iterable[Message]) -> set[str]:
    """The tools whose results stand in these messages, by their full names, and FILES if the person has attached any.
    What the model's own code has printed comes from nowhere else."""
    tools = {message.name or "" for message in messages if message.role is Role.TOOL}
    attached = any(message.role is Role.USER and split(message.text)[1] for message in messages)
    return {name for name in tools if _brings_text(name)} | ({FILES} if attached else set())


def origin_of(tool: str) -> set[str]:
    """What a result of this tool brings in: the tool, or nothing."""
    return {tool} if _brings_text(tool) else set()


def may_be_private(origins: Collection[str]) -> bool:
    """Whether something there may be nobody else's business: files, and what servers gave. Pages are anybody's."""
    return any(not origin.startswith("browser") for origin in origins)


def _brings_text(tool: str) -> bool:
    return tool.partition(".")[0] != "python"
