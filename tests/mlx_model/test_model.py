"""A loaded model: what ends an answer, and what it accepts."""

import json
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import pytest

from mlx_model.errors import TokenizerError
from mlx_model.generate import main
from mlx_model.generation.session import Session
from mlx_model.model import Model, load
from tests.fixtures.checkpoints import tiny_config, write_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny"), tiny_config())


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load(folder)


@pytest.mark.parametrize(
    ("listed", "more"), [([200002, 199999], set()), ([200002, 200007, 200012], set()), (200002, set()), ([7], {7})]
)
def test_what_ends_an_answer_without_a_tokenizer(folder: Path, tmp_path: Path, listed: object, more: set[int]) -> None:
    """The release-day generation_config.json lacks <|call|>, and some list <|end|>, which ends only a message."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": listed}))
    assert load(tmp_path).stop_ids == {200002, 200012, 199999} | more


def test_what_ends_an_answer_with_a_tokenizer() -> None:
    demo = load("demo")
    assert demo.tokenizer is not None
    names = {name for name, token in demo.tokenizer.special.items() if token in demo.stop_ids}
    assert names == {"<|return|>", "<|call|>", "<|endoftext|>"}


def test_forward_takes_lists_rows_and_batches(model: Model) -> None:
    alone = model.forward([1, 2, 3])
    batch = model.forward(mx.array([[4, 5, 6], [1, 2, 3]]))
    assert alone.shape == (1, 3, 512)
    assert batch.shape == (2, 3, 512)
    assert mx.allclose(alone[0], batch[1], atol=1e-5).item()


def test_a_checkpoint_without_tokenizer_has_no_conversations(model: Model) -> None:
    assert model.tokenizer is None
    with pytest.raises(TokenizerError, match="works on token ids only"):
        Session(model)


def generate_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m mlx_model.generate`, as a person runs it."""
    command = [sys.executable, "-m", "mlx_model.generate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_ids_from_the_command_line(folder: Path) -> None:
    ids = ["--raw-tokens", "1, 2,3", "--max-tokens", "4", "--temperature", "0", "--json"]
    shown = generate_command("--model", str(folder), *ids)
    result = json.loads(shown.stdout)
    assert len(result["tokens"]) == 4
    assert result["finish_reason"] == "length"
    assert result["stats"]["prefill_tokens"] == 3
    for figure in ("load_s", "ttft_s", "prefill_tok_s", "decode_tok_s", "peak_memory_bytes", "resident_bytes"):
        assert result["stats"][figure] > 0
    assert result["stats"]["reused_tokens"] == 0
    assert shown.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--raw-tokens", "1,x"], "--raw-tokens takes ids"),
        (["--raw-tokens", ""], "the prompt is empty"),
        (["--raw-tokens", "512"], "vocabulary ends at 511"),
        (["--prompt", "hi"], "works on token ids only"),
        (["--raw-tokens", "1", "--temperature", "-1"], "temperature is -1.0"),
    ],
)
def test_one_line_for_bad_input(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown = main(["--model", str(folder), *arguments]), capsys.readouterr()
    assert (code, shown.out) == (1, "")
    assert shown.err.startswith("error: ")
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_the_package_offers_functions_whatever_was_imported_before() -> None:
    code = "import mlx_model.generate, mlx_model.generation.session;"
    code += "from mlx_model import generate, load, stream_generate as s;"
    code += "import mlx_model as m; print(callable(generate), callable(load), callable(s), m.generate is generate)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert shown.stdout.split() == ["True"] * 4
