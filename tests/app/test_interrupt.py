"""Ctrl-C while modules are imported: the process ends, and afterwards its handler is what it was."""

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from app.interrupt import INTERRUPTED, Importing


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], list[object]]:
    """Have a handler in place; returns those that are set from then on."""

    def give(handler: object) -> list[object]:
        handlers = [handler]
        monkeypatch.setattr(signal, "getsignal", lambda number: handlers[-1])
        monkeypatch.setattr(signal, "signal", lambda number, handler: handlers.append(handler))
        return handlers

    return give


@pytest.mark.parametrize("handler", [None, signal.SIG_IGN, signal.SIG_DFL, print], ids=repr)
def test_only_pythons_own_handler_is_replaced(given: Callable[[object], list[object]], handler: object) -> None:
    """None is one that was not set from Python; it can't be set again."""
    handlers = given(handler)
    with Importing():
        pass
    assert handlers == [handler]


def test_pythons_own_handler_comes_back(given: Callable[[object], list[object]]) -> None:
    handlers = given(signal.default_int_handler)
    with Importing():
        assert handlers[-1] is not signal.default_int_handler
    assert len(handlers) == 3 and handlers[-1] is signal.default_int_handler


def test_ctrl_c_within_it_ends_the_process_in_silence() -> None:
    code = (
        "import os, signal\nfrom app.interrupt import Importing\nwith Importing(): os.kill(os.getpid(), signal.SIGINT)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, b"", b"")
