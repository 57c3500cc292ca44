"""What a load says on standard error while the GPU is prepared: a count, in a terminal alone, gone at the end."""

import io
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from app.cli import main as cli
from app.cli import speed
from app.engine import client as engine_client
from app.engine.engine import EngineDied
from app.engine.protocol import Load, Loading, LoadProgress, Ready
from app.server import serving
from mlx_model.transformer.kernels import KernelFindings

SHOWN = f"\rpreparing the kernels: 1 of 2\rpreparing the kernels: 2 of 2\r{' ' * 29}\r"


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.usefixtures("by_mlx")
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


@pytest.mark.parametrize("dies", [False, True])
def test_a_server_says_so_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dies: bool) -> None:
    """On standard error; what is printed for other programs' settings stays as it is."""

    class Engine:
        alive = True

        async def load(self, load: Load) -> AsyncIterator[Loading | LoadProgress | Ready]:
            yield Loading("demo", default=False)
            yield LoadProgress(1, 1)
            for done in range(2):
                yield LoadProgress(done, 2, kernels=True)
            if dies:
                raise EngineDied("the engine crashed")
            yield Ready("demo", 4096, 1, 1, 0.1, None, adapter="mine")

        async def close(self) -> None:
            pass

    async def serve(server: object, listener: socket.socket, load_and_show: Callable[[], Awaitable[None]]) -> None:
        with listener:
            await load_and_show()

    monkeypatch.setattr(engine_client, "EngineClient", Engine)
    monkeypatch.setattr(serving, "serve", serve)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.main(["serve", "--port", "0"]) == int(dies)
    said = capsys.readouterr()
    shown, _, after = said.err.partition(SHOWN)
    assert shown == "" and ("the engine crashed" if dies else "demo + mine answers at http") in after
    assert "preparing" not in after + said.out
