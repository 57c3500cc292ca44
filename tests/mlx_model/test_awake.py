"""A Mac is kept awake for as long as this process runs; elsewhere nothing is started."""

import os
from pathlib import Path
from typing import Any

import pytest

from mlx_model import awake


def test_a_mac_is_kept_awake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = list[list[str]]()

    def start(command: list[str], **options: Any) -> None:
        assert options["start_new_session"], "Ctrl-C in the terminal is not for it"
        started.append(command)
        if len(started) > 1:
            raise PermissionError

    program = tmp_path / "caffeinate"
    monkeypatch.setattr(awake, "_CAFFEINATE", program)
    monkeypatch.setattr("mlx_model.awake.subprocess.Popen", start)
    awake.stay_awake()
    assert not started
    program.touch()
    awake.stay_awake()
    awake.stay_awake()  # what can't be started is no reason to fail
    assert started == [[str(program), "-i", "-w", str(os.getpid())]] * 2
