"""`--map` on its way from the command line to the loader."""

import mlx.core as mx
import pytest

from app.cli.arguments import Start
from app.cli.ask import answer
from app.cli.main import main
from app.engine.backend import ModelBackend
from app.engine.protocol import Load
from mlx_model.options import Options

WITHOUT_METAL = "the weights are copied, not mapped: MLX adopts no memory here (pages of model.safetensors)"


@pytest.mark.usefixtures("by_mlx")
@pytest.mark.skipif(mx.metal.is_available(), reason="with Metal they may be mapped")
def test_who_asks_for_mapping_is_told_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer("hi", Start(Load("demo", map="on"), Options(max_tokens=1), None, False)) == 1
    assert f"gptoss-chat: {WITHOUT_METAL}" in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("way", ["auto", "off"])
def test_others_are_not(capsys: pytest.CaptureFixture[str], way: str) -> None:
    assert answer("hi", Start(Load("demo", map=way), Options(max_tokens=1), None, False)) == 1
    assert "mapped" not in capsys.readouterr().err


def test_the_engine_passes_it_on() -> None:
    backend = ModelBackend()
    backend.load(Load("demo", map="off"), lambda loading: None)
    assert backend._model is not None
    assert backend._model.residence.refusal == "mapping is switched off"


def test_another_way_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["ask", "--map", "maybe", "hi"])
    assert end.value.code == 2
    assert "choose from" in capsys.readouterr().err
