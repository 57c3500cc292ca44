"""What a load says on standard error while the GPU is prepared: a count, in a terminal alone, gone at the end."""

import io
import sys
from collections.abc import Callable

import pytest

from app.cli import main as cli
from app.cli import speed
from mlx_model.transformer.kernels import KernelFindings

SHOWN = "".join(f"\r{text:<60}\r" for text in ("preparing the GPU: 1 of 2", "preparing the GPU: 2 of 2", ""))


@pytest.mark.parametrize("command", ["ask", "chat", "bench"])
@pytest.mark.parametrize("in_terminal", [True, False])
def test_the_gpu_is_prepared_before_the_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, in_terminal: bool
) -> None:
    def attach(transformer: object, preparing: Callable[[int, int], None]) -> KernelFindings:
        preparing(0, 2)
        preparing(1, 2)
        return KernelFindings()

    monkeypatch.setattr("mlx_model.model.attach_kernels", attach)
    monkeypatch.setattr(speed, "speeds", lambda *_: [])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: in_terminal)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    if command == "chat":
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    more = {"ask": ["Hi.", "--max-tokens", "1"], "chat": ["--plain"], "bench": []}[command]
    cli.main([command, "--model", "demo", *more])
    said = capsys.readouterr().err
    assert (SHOWN in said) is in_terminal and said.count("preparing") == (2 if in_terminal else 0)
