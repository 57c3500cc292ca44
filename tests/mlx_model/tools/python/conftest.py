"""What these tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mlx_model.tools.python import Python
from tests.mlx_model.tools.python.cells import a_tool


@pytest.fixture
async def python(tmp_path: Path) -> AsyncIterator[Python]:
    tool = a_tool(tmp_path / "work")
    yield tool
    await tool.close()
