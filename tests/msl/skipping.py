"""Tests that run kernels on the CPU are skipped where that can't be, and fail in continuous integration on Linux."""

import os
from collections.abc import Generator
from typing import Any

import pytest

from tests.msl import BenchUnavailable, NoCompilerError


def skip_unless_required(error: BenchUnavailable) -> None:
    if isinstance(error, NoCompilerError) and os.environ.get("CI") == "true":
        raise error
    pytest.skip(str(error))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, Any, Any]:
    try:
        return (yield)
    except BenchUnavailable as error:
        skip_unless_required(error)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup() -> Generator[None, Any, Any]:
    try:
        return (yield)
    except BenchUnavailable as error:
        skip_unless_required(error)
