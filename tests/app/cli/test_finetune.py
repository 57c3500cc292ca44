"""`gptoss-chat finetune`: what it refuses and shows before it trains, and an adapter from the data to an answer."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.adapters import find_adapter
from app.cli import finetune
from app.cli.loading import load_model
from app.cli.main import main
from app.engine.local import LocalEngine, drive
from app.engine.protocol import Load
from mlx_model.errors import BudgetError, RequestError
from mlx_model.hub import names
from mlx_model.lora.behaviour import Behaviour
from mlx_model.lora.recipe import Recipe
from mlx_model.memory import device
from mlx_model.memory.wishes import Budget
from mlx_model.transformer.config import ModelConfig
from mlx_model.weights.adapter_files import BASE_WEIGHTS, write_adapter
from mlx_model.weights.fingerprint import fingerprint

ANSWER = {"role": "assistant", "thinking": "Greet.", "content": "Hello."}
GOOD = {"messages": [{"role": "user", "content": "hi"}, ANSWER]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(GOOD) + "\n" for _ in range(3)))
    return path


def run(data: Path, *arguments: str) -> int:
    return main(["finetune", "--model", "demo", "--data", str(data), *arguments])


def test_a_dry_run_shows_what_is_learnt_and_trains_nothing(
    data: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, "--dry-run") == 0
    out, err = capsys.readouterr()
    assert out.count("⟦<|channel|>analysis<|message|>Greet.<|end|>") == 2
    assert out.startswith("--- data.jsonl:")
    assert "2 answers to learn from, 1 to test with" in err and "of memory" in err
    assert not home.exists()


def test_an_adapter_from_the_data_to_an_answer(data: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("--steps", "2", "--batch", "1", "--layers", "5", "--evaluate", "0", "--out", "greets")
    assert run(data, *settings) == 0
    out, err = capsys.readouterr()
    folder = home / "adapters" / "greets"
    assert out == f"{folder}\n"
    assert (folder / "training" / "loss.png").is_file()
    assert "step 2 of 2" in err and "loss by step, 0 to 2; o held out" in err
    assert "try it with: gptoss-chat --adapter greets" in err
    ready = drive(load_model(LocalEngine(), Load("demo", adapter=find_adapter("greets"))))
    assert (ready.label, ready.note) == ("demo + greets", "")
    assert main(["doctor", "demo"]) == 0
    assert "greets  for demo, 0 MB; with it MLX's operations compute all of the model" in capsys.readouterr().out
    assert run(data, *settings, "--seed", "7") == 1
    assert "holds a run with another model, other data or other settings" in capsys.readouterr().err


def test_held_out_prompts_are_those_that_could_be_learnt_and_have_room_for_an_answer(
    data: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of these conversations the last turn is longer than a row."""
    longer = [*GOOD["messages"], {"role": "user", "content": "and now? " * 60}, ANSWER]
    data.write_text("".join(json.dumps({"messages": longer}) + "\n" for _ in range(3)))
    assert run(data, "--steps", "1", "--batch", "1", "--layers", "5", "--length", "96", "--out", "cut") == 0
    said = capsys.readouterr().err
    assert "left out: 3 of 6 answers" in said
    assert "without the adapter: 1 of 1 prompt answered" in said and "with the adapter: 1 of 1 prompt answered" in said


def test_an_adapter_is_told_of_where_nothing_can_be_answered_with_it(
    data: Path, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> Iterator[Behaviour]:
        raise BudgetError("memory ran out")

    monkeypatch.setattr("mlx_model.lora.behaviour.behaviours", fail)
    assert run(data, "--steps", "1", "--batch", "1", "--layers", "5", "--out", "kept") == 0
    out, err = capsys.readouterr()
    assert out == f"{home / 'adapters' / 'kept'}\n"
    assert "held-out prompts are not answered: memory ran out" in err and "try it with" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--targets", "head"), "targets is head; it must be some of attention, router, experts"),
        (("--targets", ","), "targets is none; it must be some of attention, router, experts"),
        (("--layers", "3,9"), "there is no layer 9; this model has the layers 0 to 5"),
        (("--layers", "5-2"), "'5-2' has no layer in it"),
        (("--evaluate", "-1"), "'-1' is no number of prompts"),
        (("--out", ""), '"" is no name for an adapter'),
        (("--out", ".."), '".." is no name for an adapter'),
        (("--out", "none/mine"), "none is no folder; the adapter's own is made in one that is there"),
        (("--out", "/dev/null"), "/dev/null is no folder"),
        (("--rank", "0"), "rank is 0; it must be from 1 to 256"),
        (("--length", "64"), "can be learnt from"),
        (("--analysis-weight", "0", "--final-weight", "0"), "are both 0, so nothing is learnt"),
        (("--adapter", "x"), "unrecognized arguments: --adapter x"),
        (("--experts", "4"), "unrecognized arguments: --experts 4"),
    ],
)
def test_what_it_refuses(
    data: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        assert run(data, *arguments) == 1
    except SystemExit as error:
        assert error.code == 2
    assert message in capsys.readouterr().err


def test_where_nothing_can_be_written_is_said_before_anything_is_loaded(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.cli.finetune.os.access", lambda path, mode: False)
    assert run(data, "--out", f"{data.parent}/mine") == 1
    said = capsys.readouterr().err
    assert said == f"gptoss-chat: {data.parent} can't be written to; give the adapter another folder with --out\n"


def test_that_the_demo_is_trained_is_said_where_nobody_asked_for_it(
    data: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["finetune", "--data", str(data), "--dry-run"]) == 0
    assert "the small demo model is trained, because gpt-oss-20b is not downloaded yet" in capsys.readouterr().err
    assert run(data, "--dry-run") == 0
    assert "demo" not in capsys.readouterr().err


def test_every_bad_line_is_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data.write_text("5\n" + json.dumps(GOOD) + "\n{\n")
    assert run(data) == 1
    first, second, end = capsys.readouterr().err.splitlines()
    assert first == "gptoss-chat: data.jsonl:1: it is no JSON object"
    assert second.startswith("gptoss-chat: data.jsonl:3: it is no JSON")
    assert end == "gptoss-chat: nothing was learnt, for 2 conversations can't be used"
    data.write_text("{}\n" * 21)
    assert run(data) == 1
    assert "data.jsonl:20: it has nothing" in (said := capsys.readouterr().err) and "jsonl:21" not in said
    assert said.endswith("for 21 conversations can't be used; the first 20 are named above\n")
    data.write_text(json.dumps(GOOD) + "\n5\n")
    assert run(data) == 1
    assert capsys.readouterr().err.endswith("gptoss-chat: data.jsonl:2: it is no JSON object: nothing was learnt\n")


def test_what_doesnt_fit_is_refused_with_what_would(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device, "budget", lambda explicit: Budget(190_000_000, 190_000_000, ""))
    assert run(data, "--length", "8192") == 1
    assert "; --length 512 would fit" in capsys.readouterr().err


def test_an_adapter_of_other_weights_is_put_on_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = names.resolve("demo")
    adapters = Recipe(layers=(5,)).adapters(ModelConfig.load(folder))
    for name, base in (("ours", fingerprint(folder)), ("others", "0" * 64)):
        write_adapter(tmp_path / name, adapters, "demo", 6, {BASE_WEIGHTS: base})
        ready = drive(load_model(LocalEngine(), Load("demo", adapter=str(tmp_path / name))))
        assert ready.adapter == name
        assert ("was trained beside other weights than those of demo" in ready.note) is (name == "others")
    assert caplog.messages == [ready.note]


def test_an_adapter_that_is_not_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = home / "adapters" / "french"
    other.mkdir(parents=True)
    (other / "adapter_config.json").write_text("{}")
    assert main(["ask", "--model", "demo", "--adapter", "frensh", "hi"]) == 1
    assert 'there is no adapter "frensh" (did you mean french?)' in capsys.readouterr().err


@pytest.mark.parametrize(("text", "layers"), [("0-2,5", (0, 1, 2, 5)), ("7,7", (7,)), ("3", (3,))])
def test_layers(text: str, layers: tuple[int, ...]) -> None:
    assert finetune._layers(text) == layers


def test_the_recipe_is_what_is_asked_for(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlx_model.lora import recipe as module

    made = list[object]()

    def read(path: Path, model: str, recipe: module.Recipe) -> None:
        made.append(recipe)
        raise RequestError("enough")

    monkeypatch.setattr(finetune, "_read", read)
    run(data, "--targets", "attention, experts", "--epochs", "2", "--expert-layers", "1-2", "--batch", "4")
    expected = module.Recipe(targets=("attention", "experts"), epochs=2.0, expert_layers=(1, 2), batch=4)
    assert made == [expected]
