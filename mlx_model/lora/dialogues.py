"""Conversations to learn from, read of a file in any of several formats; what is wrong with it is said by line."""

import itertools
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metal.files import parse_json, read_small
from mlx_model.errors import GptossError, RequestError
from mlx_model.harmony.history import is_answer, is_thought
from mlx_model.harmony.message import Effort, Message, Role, assistant, user
from mlx_model.harmony.openai_messages import read_messages
from mlx_model.harmony.tools import FunctionTool

MOST_BYTES = 1 << 30
"""Of a file."""
LANGUAGE = "reasoning language: "
"""How the line begins that asks for the language of the thoughts, as in HuggingFaceH4/Multilingual-Thinking."""

FORMATS = (
    '"messages" (OpenAI\'s chat, with "thinking" or "reasoning_content"), "user" and "final" with "analysis" and '
    '"developer" (Multilingual-Thinking), "conversations" (ShareGPT), "prompt" and "completion"'
)

_EXPORT = "gptoss-chat"
_MOST_NAMES, _MOST_NAME = 6, 30
"""Fields of an unknown record that are named, and characters of each."""
_THINK = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)
_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "system": "system",
}
"""Who speaks in ShareGPT's files."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One conversation. `where` it stands in its file: "data.jsonl:12".

    `messages` are the person's, the model's with their channels, and tools' results; `instructions` the developer's.
    `efforts` are those of its answers, in their order; of the others, and where there are none, it is `effort`.
    """

    where: str
    messages: tuple[Message, ...]
    instructions: str | None = None
    effort: Effort = Effort.MEDIUM
    functions: tuple[FunctionTool, ...] = ()
    efforts: tuple[Effort, ...] = ()

    def effort_of(self, answer: int) -> Effort:
        """That of an answer, the first of which is 0."""
        return self.efforts[answer] if answer < len(self.efforts) else self.effort

    @property
    def language(self) -> str:
        """The language that is asked for its thoughts, "" where none is."""
        lines = (self.instructions or "").splitlines()
        found = next((line for line in lines if line.lower().startswith(LANGUAGE)), "")
        return found[len(LANGUAGE) :].strip()


class DataError(GptossError):
    """A file that can't be learnt from. `problems` has a line for each, with its place."""

    def __init__(self, text: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.problems = problems


class _LeftOut(Exception):
    """Why a conversation is passed over, though nothing is wrong with it."""


def read_dialogues(path: Path) -> tuple[list[Dialogue], list[str]]:
    """Every conversation of a file: JSON Lines, a JSON list, or the chat's own export (`gptoss-chat export --format
    json`), of whose conversations the path on the screen counts, up to the first answer that was stopped. Also what
    was left out for that reason, a line each.

    Raises DataError, which names every line that can't be used and why; then nothing is returned.
    """
    try:
        content = read_small(path, MOST_BYTES).removeprefix(BOM_UTF8)
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from None
    _check_text(path, content)
    dialogues, problems, left_out = list[Dialogue](), list[str](), list[str]()
    for where, record in _records(path.name, content):
        try:
            dialogue = _dialogue(where, record() if callable(record) else record)
            _check(dialogue)
            dialogues.append(dialogue)
        except _LeftOut as reason:
            left_out.append(f"{where}: {reason}")
        except (ValueError, GptossError) as error:
            problems.append(f"{where}: {error}")
    if problems:
        more = "" if len(problems) == 1 else f", and {len(problems) - 1:,} more"
        raise DataError(f"{problems[0]}{more}: nothing was learnt", tuple(problems))
    if not dialogues:
        raise DataError(f"{path} holds no conversation")
    return dialogues, left_out


def _check_text(path: Path, content: bytes) -> None:
    """Raises DataError for a file that can't have a line of JSON: one line is better than one for each of its lines."""
    if content.startswith(b"PAR1"):
        raise DataError(
            f"{path} is a Parquet file; make JSON Lines of it first, with pandas for example: "
            "read_parquet(FILE).to_json(FILE, orient='records', lines=True)"
        )
    if b"\0" in content:
        raise DataError(f"{path} is a binary file, or text in UTF-16; make JSON Lines in UTF-8 of it")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path} is no text in UTF-8 (line {line:,}); save it as UTF-8, as JSON Lines") from None
    if content.strip() and b"{" not in content:
        raise DataError(f"{path} has no JSON object in it; each line must be one conversation")


def _records(name: str, content: bytes) -> Iterator[tuple[str, Any]]:
    """Each record with its place; one that may not be JSON as a function that reads it, and raises ValueError."""
    first = content.lstrip()[:1]
    if first == b"[" or (first == b"{" and not _is_object(content.lstrip().partition(b"\n")[0])):
        try:
            whole = parse_json(content)
        except ValueError as error:
            raise DataError(f"{name} is neither JSON Lines nor JSON: {error}") from None
        if isinstance(whole, dict) and whole.get("format") == _EXPORT and isinstance(whole.get("conversations"), list):
            for number, item in enumerate(whole["conversations"], 1):
                yield f"{name}: conversation {number}", {_EXPORT: item}
        else:
            for number, item in enumerate(whole if isinstance(whole, list) else [whole], 1):
                yield f"{name}: record {number}", item
        return
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            yield f"{name}:{number}", _reader(line)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except ValueError:
        return False


def _reader(line: bytes) -> Callable[[], Any]:
    def read() -> Any:
        try:
            return parse_json(line)
        except ValueError as error:
            raise ValueError(f"it is no JSON: {error}") from None

    return read


def _dialogue(where: str, record: Any) -> Dialogue:
    """Raises ValueError or RequestError, which say what is wrong with it."""
    if not isinstance(record, dict):
        raise ValueError("it is no JSON object")
    if _EXPORT in record:
        return _exported(where, record[_EXPORT])
    dialogue = _known(where, record)
    if (effort := record.get("reasoning_effort", record.get("effort"))) is not None:
        if effort not in [*Effort]:
            raise ValueError(f'reasoning_effort is {str(effort)[:40]!r}; it can be "low", "medium" or "high"')
        dialogue = replace(dialogue, effort=Effort(effort))
    tools = record.get("tools") or []
    if not isinstance(tools, list):
        raise ValueError("tools is no list")
    return replace(dialogue, functions=tuple(map(FunctionTool.from_json, tools)))


def _known(where: str, record: Mapping[str, Any]) -> Dialogue:
    if isinstance(record.get("messages"), list):
        return _of_messages(where, [_renamed(item) for item in record["messages"]])
    if isinstance(record.get("conversations"), list):
        return _of_messages(where, [_of_sharegpt(item, at) for at, item in enumerate(record["conversations"])])
    if "user" in record and "final" in record:
        developer, language = _text(record, "developer"), _text(record, "reasoning_language")
        lines = [f"{LANGUAGE}{language}" if language else "", developer]
        return _of_pair(where, _text(record, "user"), _text(record, "analysis"), _text(record, "final"), lines)
    if "prompt" in record and "completion" in record:
        return _of_pair(where, _text(record, "prompt"), "", _text(record, "completion"), [])
    fields = ", ".join(f'"{name[:_MOST_NAME]}"' for name in list(record)[:_MOST_NAMES]) or "nothing"
    raise ValueError(f"it has {fields}, which is none of the known formats: {FORMATS}")


def _of_messages(where: str, items: list[Any]) -> Dialogue:
    messages = read_messages(items)
    opening = [message.text for message in messages if message.role is Role.SYSTEM]
    rest = tuple(message for message in messages if message.role is not Role.SYSTEM)
    return Dialogue(where, rest, "\n\n".join(opening) if opening else None)


def _of_pair(where: str, prompt: str, analysis: str, final: str, instructions: list[str]) -> Dialogue:
    thought = [assistant(analysis, "analysis")] if analysis.strip() else []
    return Dialogue(where, (user(prompt), *thought, assistant(final)), "\n\n".join(filter(None, instructions)) or None)


def _renamed(item: Any) -> Any:
    """A message whose thoughts have the name that the chat template of Hugging Face gives them."""
    if not isinstance(item, dict) or "thinking" not in item:
        return item
    fields = dict(item)
    thinking = fields.pop("thinking")
    return fields | {"reasoning": thinking} if thinking else fields


def _of_sharegpt(item: Any, at: int) -> Any:
    if not isinstance(item, dict) or "from" not in item:
        return _renamed(item)
    role, value = _ROLES.get(str(item["from"])), item.get("value")
    if role is None:
        raise ValueError(f"conversations[{at}].from is {str(item['from'])[:40]!r}; it can be {', '.join(_ROLES)}")
    if not isinstance(value, str):
        raise ValueError(f"conversations[{at}].value is no text")
    if role == "assistant" and (thought := _THINK.match(value)) is not None:
        return {"role": role, "reasoning": thought[1].strip(), "content": value[thought.end() :]}
    return {"role": role, "content": value}


def _exported(where: str, item: Any) -> Dialogue:
    """The path on the screen of a conversation of the chat's own export."""
    try:
        nodes = {node["id"]: node for node in item["nodes"]}
        path, at = list[Any](), item["leaf"]
        while at is not None and len(path) < len(nodes):
            path.insert(0, nodes[at])
            at = nodes[at]["parent"]
        whole = list(itertools.takewhile(_is_whole, path))
        messages = [Message.from_json(fields) for node in whole for fields in node["messages"]]
        efforts = [Effort(node["turn"]["effort"] or Effort.MEDIUM) for node in whole if node.get("turn")]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"it is no conversation of gptoss-chat's export ({error})") from None
    if not all(isinstance(message.text, str) for message in messages):
        raise ValueError("a message's text is no text")
    while messages and messages[-1].role is not Role.ASSISTANT:
        messages.pop()  # a prompt whose answer was stopped
    if not messages:
        raise _LeftOut("it has no whole answer")
    texts = [message.text for message in messages if message.role is Role.SYSTEM]
    rest = tuple(message for message in messages if message.role is not Role.SYSTEM)
    return Dialogue(where, rest, "\n\n".join(texts) or None, efforts=tuple(efforts))


def _is_whole(node: Mapping[str, Any]) -> bool:
    """Whether this is a prompt, or an answer that the model itself has ended."""
    return not node.get("turn") or node["turn"]["reason"] == "stop"


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{key} is no text")
    return value


def _check(dialogue: Dialogue) -> None:
    """Raises ValueError unless there is something to learn."""
    messages = dialogue.messages
    if not messages or messages[0].role is Role.ASSISTANT:
        raise ValueError("it doesn't begin with a message of the user")
    if not is_answer(messages[-1]):
        what = "its last thought has no answer" if is_thought(messages[-1]) else "it doesn't end with an answer"
        raise ValueError(f"{what} of the model")
    for before, message in itertools.pairwise(each for each in messages if each.role is not Role.DEVELOPER):
        if message.role is Role.USER and before.role is not Role.USER and not is_answer(before):
            raise ValueError("a message of the user follows one that is no answer")
    if any(message.role is Role.USER and not message.text.strip() for message in messages):
        raise ValueError("a message of the user is empty")
    try:
        for tool in dialogue.functions:
            tool.text()
    except RequestError as error:
        raise ValueError(str(error)) from None
