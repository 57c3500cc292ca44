"""Elementwise functions in one launch."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar, cast

import mlx.core as mx

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def fused(function: Callable[Arguments, Result], *, shapeless: bool = True) -> Callable[Arguments, Result]:
    """The function of arrays, compiled by MLX where it computes on a GPU: what is elementwise in it is one launch.

    One that makes arrays of its own is not `shapeless`. On a CPU it runs as it is: MLX would call a C++ compiler.
    """
    compiled = cast(Callable[Arguments, Result], mx.compile(function, shapeless=shapeless))

    @wraps(function)
    def run(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        on_gpu = mx.default_device().type == mx.DeviceType.gpu
        return (compiled if on_gpu else function)(*arguments, **options)

    return run
