"""Files of conversations: every format to the same messages, and what is wrong with a line said by its number."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlx_model.harmony.message import Effort, Message, Role, assistant, user
from mlx_model.harmony.render import Renderer
from mlx_model.harmony.tokenizer import Tokenizer
from mlx_model.hub.names import resolve
from mlx_model.lora.dialogues import DataError, Dialogue, read_dialogues
from mlx_model.lora.examples import Weights, examples_of

SAID = (user("How many r's?"), assistant("Count.", "analysis"), assistant("Three."))
FRENCH = "reasoning language: French\n\nBe brief."


def written(tmp_path: Path, *records: Any) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(each if isinstance(each, str) else json.dumps(each) + "\n" for each in records))
    return path


def only(tmp_path: Path, *records: Any) -> Dialogue:
    (dialogue,), left_out = read_dialogues(written(tmp_path, *records))
    assert not left_out
    return dialogue


def exported(*nodes: dict[str, Any], leaf: str) -> str:
    conversation = {"id": "c", "title": "", "created": 0, "updated": 0, "leaf": leaf, "nodes": nodes}
    return json.dumps({"format": "gptoss-chat", "version": 1, "conversations": [conversation]}, indent=1)


def node(name: str, parent: str | None, *messages: Message, reason: str | None = None) -> dict[str, Any]:
    fields = {"id": name, "parent": parent, "created": 0, "messages": [each.to_json() for each in messages]}
    return fields if reason is None else fields | {"turn": {"reason": reason, "effort": "high"}}


@pytest.mark.parametrize(
    "record",
    [
        {
            "messages": [
                {"role": "system", "content": FRENCH},
                {"role": "user", "content": "How many r's?", "thinking": None},
                {"role": "assistant", "thinking": "Count.", "content": "Three."},
            ]
        },
        {
            "user": "How many r's?",
            "analysis": "Count.",
            "final": "Three.",
            "developer": "Be brief.",
            "reasoning_language": "French",
        },
        {
            "conversations": [
                {"from": "system", "value": FRENCH},
                {"from": "human", "value": "How many r's?"},
                {"from": "gpt", "value": "<think>\nCount.\n</think>\n\nThree."},
            ]
        },
    ],
    ids=["messages", "columns", "sharegpt"],
)
def test_formats_say_the_same(tmp_path: Path, record: dict[str, Any]) -> None:
    dialogue = only(tmp_path, record | {"reasoning_effort": "low"})
    assert dialogue == Dialogue("data.jsonl:1", SAID, FRENCH, Effort.LOW)
    assert dialogue.language == "French"


def test_a_prompt_and_its_completion(tmp_path: Path) -> None:
    assert only(tmp_path, {"prompt": "a", "completion": "b"}).messages == (user("a"), assistant("b"))


def test_a_list_of_records_is_named_by_number(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps([{"prompt": "a", "completion": "b"}] * 2, indent=1))
    assert [dialogue.where for dialogue in read_dialogues(path)[0]] == ["data.jsonl: record 1", "data.jsonl: record 2"]


def test_calls_of_functions(tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    dialogue = only(
        tmp_path,
        {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "reasoning_content": "Call.", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "1", "content": "5"},
                {"role": "assistant", "content": "Five."},
            ],
            "tools": [tool],
        },
    )
    assert [message.role for message in dialogue.messages] == ["user", "assistant", "assistant", "tool", "assistant"]
    assert [function.name for function in dialogue.functions] == ["f"]


def test_the_path_on_the_screen_of_an_export(tmp_path: Path) -> None:
    text = exported(
        node("1", None, SAID[0]),
        node("2", "1", *SAID[1:], reason="stop"),
        node("other", "1", assistant("Two."), reason="stop"),
        node("3", "2", user("And l?")),
        node("4", "3", assistant("There", "final"), reason="cancelled"),
        leaf="4",
    )
    assert only(tmp_path, text).messages == SAID
    assert only(tmp_path, text).efforts == (Effort.HIGH,)


def test_each_answer_of_an_export_has_the_effort_it_was_asked_with(tmp_path: Path) -> None:
    nodes = [
        node("1", None, SAID[0]),
        node("2", "1", *SAID[1:], reason="stop"),
        node("3", "2", user("And l?")),
        node("4", "3", assistant("One."), reason="stop"),
        node("5", "4", user("And i?")),
        node("6", "5", assistant("None."), reason="stop"),
    ]
    nodes[1]["turn"]["effort"], nodes[5]["turn"]["effort"] = "low", None
    dialogue = only(tmp_path, exported(*nodes, leaf="6"))
    tokenizer = Tokenizer.load(resolve("demo"))
    texts = [tokenizer.decode(each.ids) for each in examples_of(dialogue, Renderer(tokenizer), Weights())]
    stated = [text.partition("Reasoning: ")[2].partition("\n")[0] for text in texts]
    assert stated == ["low", "high", "medium"]


def test_a_conversation_without_a_whole_answer_is_left_out(tmp_path: Path) -> None:
    text = exported(node("1", None, SAID[0]), node("2", "1", assistant("T"), reason="cancelled"), leaf="2")
    with pytest.raises(DataError, match="holds no conversation"):
        read_dialogues(written(tmp_path, text))


GOOD = {"prompt": "a", "completion": "b"}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "it is no JSON"),
        ("[1]", "it is no JSON object"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1, "b": 2}', 'it has "a", "b", which is none of the known formats'),
        ("{}", "it has nothing, which is none of the known formats"),
        ('{"prompt": 1, "completion": "b"}', "prompt is no text"),
        ('{"prompt": "", "completion": "b"}', "a message of the user is empty"),
        ('{"messages": []}', "doesn't begin with a message of the user"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "doesn't end with an answer"),
        ('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "thinking": "t"}]}', "has no answer"),
        ('{"messages": [{"role": "user", "content": 5}]}', r"messages\[0\].content is of the type int"),
        ('{"messages": [{"role": "bot", "content": "a"}]}', r"messages\[0\].role is 'bot'"),
        ('{"messages": [{"role": "user", "content": "a", "thoughts": "x"}]}', r"messages\[0\].thoughts is not known"),
        ('{"conversations": [{"from": "it", "value": "a"}]}', r"conversations\[0\].from is 'it'"),
        ('{"prompt": "a", "completion": "b", "reasoning_effort": "max"}', "reasoning_effort is 'max'"),
        ('{"prompt": "a", "completion": "b", "tools": [{"name": "f", "parameters": {"type": 5}}]}', "the function 'f'"),
        (
            json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 2})
            .replace('"b"', '""', 1)
            .replace('"content": ""', '"thinking": "t"', 1),
            "follows one that is no answer",
        ),
    ],
)
def test_what_is_wrong_is_said_by_line(tmp_path: Path, bad: str, reason: str) -> None:
    with pytest.raises(DataError, match=rf"data\.jsonl:3: .*{reason}") as error:
        read_dialogues(written(tmp_path, GOOD, "\n", bad + "\n", GOOD))
    assert len(error.value.problems) == 1


@pytest.mark.parametrize("lines", [json.dumps(GOOD), json.dumps([GOOD], indent=1)])
def test_a_mark_of_utf_8_at_the_beginning_is_passed_over(tmp_path: Path, lines: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(lines, encoding="utf-8-sig")
    (found,), _ = read_dialogues(path)
    assert [message.text for message in found.messages] == ["a", "b"]


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.jsonl:1: .*, and 1 more: nothing was learnt") as error:
        read_dialogues(written(tmp_path, "5\n", GOOD, "6\n"))
    assert [problem.partition(": ")[0] for problem in error.value.problems] == ["data.jsonl:1", "data.jsonl:3"]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"[\n", b"\xff\xfe\n", b"[]"])
def test_files_that_hold_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_dialogues(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PAR1\x15\x04\x00\xff", "is a Parquet file; make JSON Lines of it first"),
        ('{"prompt": "a",\n"Grüße"'.encode("latin-1"), r"is no text in UTF-8 \(line 2\)"),
        (b'{"prompt": "\0"}\n{"prompt": "\1"}\n', "is a binary file, or text in UTF-16"),
        (b"question,answer\nhi,hello\n", "has no JSON object in it"),
    ],
)
def test_files_of_another_kind_are_told_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_dialogues(path)
    assert not error.value.problems


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read: No such file"):
        read_dialogues(tmp_path / "none.jsonl")


def test_a_system_message_in_the_middle_stays_there(tmp_path: Path) -> None:
    items = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "system", "content": "c"},
        {"role": "user", "content": "d"},
        {"role": "assistant", "content": "e"},
    ]
    dialogue = only(tmp_path, {"messages": items})
    assert dialogue.instructions is None
    assert dialogue.messages[2].role is Role.DEVELOPER
