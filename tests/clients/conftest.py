"""A server for each file of tests."""

import os
from collections.abc import Iterator

import pytest

from tests.fixtures.running_server import RunningServer, running


@pytest.fixture(scope="module")
def running_server() -> Iterator[RunningServer]:
    with running(parallel=4) as server:
        yield server


@pytest.fixture
def server(running_server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> RunningServer:
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        monkeypatch.delenv(name)
    running_server.engine.asked.clear()
    return running_server
