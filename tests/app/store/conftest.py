"""The store that most tests of this folder write to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.paths import conversations_file
from app.store.store import Store
from tests.fixtures.unhurried import unhurried

__all__ = ["unhurried"]


@pytest.fixture
def path(home: Path) -> Path:
    return conversations_file()


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path)
    yield store
    store.close()
