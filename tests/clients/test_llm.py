"""The program llm with the configuration that `gptoss-chat serve` prints: a prompt, a form, a loop of three calls."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.scripts import ANSWER, PERSON, check_loop, configuration, person, three_calls
from tests.fixtures.running_server import RunningServer
from tests.fixtures.scripted_engine import says

llm = pytest.importorskip("llm", reason="llm is in the extra [clients]")


def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"weather of {city}"


@pytest.fixture
def model(server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    (tmp_path / "extra-openai-models.yaml").write_text(configuration(server, "llm"))
    return llm.get_model("gptoss")


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt(server: RunningServer, model: Any, stream: bool) -> None:
    server.engine.script = lambda request: says("Hello, you.", analysis="They greet.")
    response = model.prompt("Hi", system="Be brief.", stream=stream, reasoning_effort="high")
    assert response.text() == "Hello, you."
    (asked,) = server.engine.asked
    assert asked.instructions == "Be brief." and asked.options.effort == "high"


def test_a_form(server: RunningServer, model: Any) -> None:
    server.engine.script = person
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
    assert json.loads(model.prompt("Who?", schema=schema).text()) == json.loads(PERSON)
    (asked,) = server.engine.asked
    assert asked.form is not None and asked.form.schema is not None


def test_a_loop(server: RunningServer, model: Any) -> None:
    server.engine.script = three_calls
    assert ANSWER in model.chain("The weather in Oslo, Rome and Lima?", tools=[get_weather]).text()
    check_loop(server)
