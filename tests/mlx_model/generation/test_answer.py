"""`generate` as people call it: prompts in several forms, keywords, and answers without a final message."""

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mlx_model
from mlx_model import Model, Options, Request, Result, Session, generate, load, stream_generate
from mlx_model.errors import RequestError
from mlx_model.events import Finished
from mlx_model.generation.answer import Keywords, Prompt, make_turn
from mlx_model.generation.runner import Runner
from mlx_model.harmony.message import Message, Role, assistant, system, user
from mlx_model.harmony.tools import FunctionTool, ResponseFormat


@pytest.fixture(scope="module")
def demo() -> Model:
    return load("demo")


def ids_of(model: Model, text: str) -> list[int]:
    """Ids of a text in which special tokens are written out."""
    assert model.tokenizer is not None
    special = model.tokenizer.special
    ids: list[int] = []
    for part in re.split(r"(<\|[a-z]+\|>)", text):
        ids += [special[part]] if part in special else model.tokenizer.encode(part)
    return ids


def scripted(model: Model, monkeypatch: pytest.MonkeyPatch, text: str, **keywords: Any) -> Result:
    """The result where the model samples this."""

    def run(self: Runner, *_: object, **__: object) -> Iterator[int]:
        self.finish_reason = "length"
        for token in ids_of(model, text):
            yield token
            if token in model.stop_ids:
                self.finish_reason = "stop"
                return

    monkeypatch.setattr(Runner, "steps", run)
    return generate(model, "question", **keywords)


THOUGHT = "<|channel|>analysis<|message|>The answer is 3."
FINAL = "<|start|>assistant<|channel|>final<|message|>"


@pytest.mark.parametrize(
    ("sampled", "text", "commentary", "reason"),
    [
        (f"{THOUGHT}<|end|>{FINAL}It is 3.<|return|>", "It is 3.", "", "stop"),
        (f"{THOUGHT}<|return|>", "", "", "no_answer"),
        (f"{THOUGHT}<|end|><|return|>", "", "", "no_answer"),
        (f"{THOUGHT}<|end|>{FINAL}<|return|>", "", "", "no_answer"),
        (f"{THOUGHT}<|end|>{FINAL} \n<|return|>", " \n", "", "no_answer"),
        ("<|return|>", "", "", "no_answer"),
        ("<|channel|>commentary<|message|>Here it is: 3<|return|>", "", "Here it is: 3", "no_answer"),
        ("<|channel|>Final<|message|>It is 3<|return|>", "It is 3", "", "stop"),
        ("<|channel|>FINAL<|message|>It is 3<|return|>", "It is 3", "", "stop"),
        (f"{THOUGHT}<|end|><|start|>user<|message|>And now?<|end|>", "", "", "no_answer"),
        ("<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>", "", "", "tool_call"),
        ("<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|return|>", "", "", "tool_call"),
        (THOUGHT, "", "", "length"),
        (
            f"<|channel|>commentary<|message|>First I look.<|end|>{FINAL}3<|return|>",
            "3",
            "First I look.",
            "stop",
        ),
    ],
)
def test_an_answer_without_a_final_message_is_no_success(
    demo: Model, monkeypatch: pytest.MonkeyPatch, sampled: str, text: str, commentary: str, reason: str
) -> None:
    result = scripted(demo, monkeypatch, sampled)
    assert (result.text, result.commentary, result.finish_reason) == (text, commentary, reason)
    # What there was is kept.
    assert bool(result.messages) == (sampled != "<|return|>")


def test_a_channel_in_capitals_is_marked_as_recovered(demo: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    (message,) = scripted(demo, monkeypatch, "<|channel|>Final<|message|>It is 3<|return|>").messages
    assert message == Message(Role.ASSISTANT, "It is 3", channel="final", recovered=True)


def test_a_message_that_was_begun_counts(demo: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model has nothing to add to a text that was put into its mouth."""

    def run(self: Runner, *_: object, **__: object) -> Iterator[int]:
        self.finish_reason = "stop"
        yield from ids_of(demo, "<|return|>")

    monkeypatch.setattr(Runner, "steps", run)
    *_, last = Session(demo).stream(Request([user("a"), assistant("It is 3.")]))
    assert isinstance(last, Finished)
    assert last.reason == "stop"


WEATHER = FunctionTool("get_weather", "The weather.")
FORM = ResponseFormat("answer", {"type": "object"})


@pytest.mark.parametrize(
    ("prompt", "keywords", "request_"),
    [
        ("hi", {}, Request([user("hi")])),
        (user("hi"), {}, Request([user("hi")])),
        ([user("hi"), assistant("ho"), user("hi")], {}, Request([user("hi"), assistant("ho"), user("hi")])),
        ([{"role": "user", "content": "hi"}], {}, Request([user("hi")])),
        ([system("Be brief."), user("hi")], {}, Request([user("hi")], instructions="Be brief.")),
        (
            [{"role": "system", "content": "A"}, {"role": "developer", "content": "B"}, user("hi")],
            {"temperature": 0.5, "effort": "low"},
            Request([user("hi")], Options(temperature=0.5, effort="low"), "A\n\nB"),  # type: ignore[arg-type]
        ),
        (
            "hi",
            {"stop": "x", "instructions": "C", "tools": ["python"], "functions": [WEATHER], "response_format": FORM},
            Request([user("hi")], Options(stop=("x",)), "C", ["python"], [WEATHER], FORM),
        ),
    ],
)
def test_prompts_and_keywords(prompt: Prompt, keywords: Keywords, request_: Request) -> None:
    assert make_turn(prompt, keywords).request == request_


@pytest.mark.parametrize(
    ("prompt", "keywords", "message"),
    [
        (7, {}, "the prompt is of the type int"),
        ({"role": "user", "content": "hi"}, {}, "the prompt is of the type dict; it must be a text or a list"),
        (b"hi", {}, "of the type bytes"),
        (["hi"], {}, r"messages\[0\] is of the type str"),
        ([system("A"), user("hi")], {"instructions": "B"}, "give one of them"),
        ("hi", {"effort": "off"}, "effort is"),
    ],
)
def test_prompts_that_can_not_be_used(prompt: Any, keywords: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make_turn(prompt, keywords)


def test_an_unknown_keyword_is_a_type_error(demo: Model) -> None:
    with pytest.raises(TypeError, match="temprature"):
        generate(demo, "hi", temprature=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="messages"):
        generate(demo, "hi", messages=[])  # type: ignore[call-arg]


def test_every_keyword_is_a_field_and_is_documented() -> None:
    fields = {*Options.__dataclass_fields__, *Request.__dataclass_fields__} | {
        "max_calls",
        "regex",
        "grammar",
        "strict",
    }
    fields -= {"messages", "options", "form"}
    fields.remove("namespaces")  # given among the tools
    assert Keywords.__annotations__.keys() == fields
    assert generate.__doc__ is not None
    for name in fields:
        assert re.search(rf"^ +(\w+, )*{name}[ ,]", generate.__doc__, re.MULTILINE), name


def test_a_conversation_of_openai_messages_is_answered(quick: Model) -> None:
    conversation: list[Message | dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "How many r's are in strawberry?"}]},
    ]
    result = generate(quick, conversation, temperature=0, max_tokens=12)
    plain = generate(quick, "How many r's are in strawberry?", temperature=0, max_tokens=12, instructions="Be brief.")
    assert result.tokens == plain.tokens
    *_, last = stream_generate(quick, conversation, temperature=0, max_tokens=12)
    assert isinstance(last, Finished)
    assert last.reason == plain.finish_reason


def test_everything_the_package_exports_is_there() -> None:
    for name in mlx_model.__all__:
        assert getattr(mlx_model, name) is not None
    assert set(mlx_model.__all__) <= set(dir(mlx_model))
    assert re.match(r"\d+[.+]", mlx_model.__version__)
    with pytest.raises(AttributeError):
        mlx_model.generates  # noqa: B018


@pytest.mark.parametrize(
    "before", ["import mlx_model.generate", "import mlx_model.generate, mlx_model.generation.answer", "pass"]
)
def test_generate_is_the_function_whatever_was_imported_before(before: str) -> None:
    code = f"""
from mlx_model import generate as first
{before}
import importlib, types, mlx_model
module = importlib.import_module("mlx_model.generate")
from mlx_model import generate
print(generate is first is mlx_model.generate, isinstance(generate, types.FunctionType), callable(module.main))
mlx_model.generate = 7  # a test may still replace it
print(mlx_model.generate)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["True", "True", "True", "7"], done.stderr


def test_the_package_carries_its_types() -> None:
    assert (Path(mlx_model.__file__).parent / "py.typed").is_file()


def test_the_command_fails_where_there_is_no_answer(
    demo: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = importlib.import_module("mlx_model.generate")
    monkeypatch.setattr(command, "load", lambda *_, **__: demo)
    scripted(demo, monkeypatch, f"{THOUGHT}<|return|>")
    assert command.main(["--model", "demo", "--prompt", "question"]) == 1
    assert capsys.readouterr().err == "error: the model ended its turn without an answer\n"
