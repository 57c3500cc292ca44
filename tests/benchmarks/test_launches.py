"""What the counting of launches says of small graphs whose launches are known."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
import pytest

from tests.benchmarks.launches import CHAIN, chain, launches, shared, total
from tests.fixtures import ROOT
from tests.fixtures.graph import as_on_metal, record

X = mx.ones((4, 6))
ROW = mx.ones((1, 6))
HEADS = mx.ones((1, 8, 5, 64))
SINKS = mx.ones((8,))
NORM = mx.ones((6,))
mx.eval(X, ROW, HEADS, SINKS, NORM)


def kernel(x: mx.array) -> mx.array:
    toy: Any = mx.fast.metal_kernel(name="toy", input_names=["x"], output_names=["y"], source="y[0] = x[0];")
    shape = {"output_shapes": [(1,)], "output_dtypes": [mx.float32]}
    outputs: list[mx.array] = toy(inputs=[x], grid=(1, 1, 1), threadgroup=(1, 1, 1), **shape)
    return outputs[0]


def swiglu(x: mx.array, y: mx.array) -> mx.array:
    return mx.sigmoid(x) * mx.minimum(y, 7.0) + 1


def written(buffer: mx.array) -> mx.array:
    rows = mx.zeros_like(buffer[:, :1])
    mx.eval(rows)
    buffer[:, 1:2] = rows
    return buffer


@pytest.mark.parametrize(
    ("function", "inputs", "expected"),
    [
        (lambda x: x + 1, [X], {"Add": 1}),
        (lambda x: mx.exp(x) * x, [X], {"Exp": 1, "Multiply": 1}),
        (lambda x: x[1:, ::2].T[None], [X], {}),
        (lambda x: mx.split(x, 2, axis=1)[1][:, 0], [X], {}),
        (lambda x: x.T.reshape(-1), [X], {"Reshape": 1}),
        (lambda x: mx.flatten(x[:, :3]), [X], {"Flatten": 1}),
        (lambda x: x[2:].reshape(-1), [X], {}),
        (lambda x: x.T.reshape(2, 3, 4).squeeze(), [X], {}),
        (lambda x: mx.broadcast_to(x, (3, 4, 6)).reshape(12, 6), [X], {"Reshape": 1}),
        (lambda x: x.reshape(1, 2, 3).swapaxes(0, 1).reshape(-1), [ROW], {}),
        (lambda x: mx.concatenate([x, x, x], axis=1), [X], {"Concatenate": 3}),
        (written, [X], {"SliceUpdate": 1}),
        (lambda x: mx.softmax(x, axis=-1), [X], {"Softmax": 1}),
        (lambda x: x.sum(axis=1), [X], {"Reduce": 1}),
        (lambda x: x.max(), [mx.ones((5000,))], {"Reduce": 2}),
        (lambda x: mx.argsort(x, axis=0), [mx.ones((2048, 2))], {"ArgSort": 1}),
        (lambda x: mx.argpartition(x, 3), [mx.ones((2049,))], {"ArgPartition": 4}),
        (lambda x: mx.sort(x), [mx.ones((5 * 2048,))], {"Sort": 8}),
        (lambda x: x @ X.T, [ROW], {"Matmul": 1}),
        (lambda x: mx.fast.rms_norm(x, NORM, 1e-5), [X], {"RMSNorm": 1}),
        (
            lambda q: mx.fast.scaled_dot_product_attention(q, q, q, scale=1.0, sinks=SINKS),
            [HEADS],
            {"ScaledDotProductAttention": 1},
        ),
        (kernel, [X], {"toy": 1}),
        (lambda x: kernel(x[:2]), [X], {"toy": 1}),
        (lambda x: kernel(x[:, :4]), [X], {"toy": 2}),
        (lambda x: mx.compile(swiglu)(x, x), [X], {"compiled": 1}),
        (lambda x: mx.compile(swiglu)(mx.compile(swiglu)(x, x), x) - 1, [X], {"compiled": 2, "Subtract": 1}),
        (lambda x: mx.compile(lambda y: mx.softmax(y + 1, axis=-1) * 2)(x), [X], {"compiled": 1, "Softmax": 1}),
    ],
)
def test_launches(function: Callable[..., mx.array], inputs: Sequence[mx.array], expected: dict[str, int]) -> None:
    with as_on_metal():
        counted = launches(record(lambda *traced: [function(*traced)], *inputs))
    # A kernel's name goes on with the dtypes it was made for.
    assert {name.split("_")[0]: number for name, number in counted.items()} == expected


@pytest.mark.parametrize(
    ("function", "length"),
    [
        (lambda x: mx.argmax(mx.exp(x)), 2),
        (lambda x: mx.argmax(mx.exp(x) + mx.square(x)), 3),  # two side by side, their sum, the choice
        (lambda x: mx.argmax(mx.exp(x)[None, :2]), 2),
        (lambda x: mx.argmax(mx.compile(swiglu)(mx.exp(x), mx.square(x))), 3),
        (lambda x: mx.argmax(mx.concatenate([mx.exp(x), x])), 3),
        (lambda x: mx.argmax(mx.sort(x)), 2),
    ],
)
def test_chain(function: Callable[[mx.array], mx.array], length: int) -> None:
    with as_on_metal():
        assert chain(record(lambda x: [function(x)], X)) == length


def test_a_buffer_that_is_written_and_read_is_found() -> None:
    def read_too(buffer: mx.array) -> list[mx.array]:
        before = buffer[:]
        return [written(buffer), mx.exp(before[:, :2])]

    with as_on_metal():
        assert shared(record(lambda x: [written(mx.exp(x))], X)) == []
        assert len(shared(record(lambda x: read_too(mx.exp(x)), X))) == 1


def test_an_unknown_primitive_is_not_passed_over() -> None:
    with as_on_metal(), pytest.raises(KeyError, match="Convolution"):
        launches(record(lambda x: [mx.conv1d(x, mx.ones((1, 2, 6)))], X[None]))


def test_outside_of_a_recording_functions_compute() -> None:
    expected = mx.fast.rms_norm(X, NORM, 1e-5)
    device = mx.default_device()
    with as_on_metal():
        assert mx.default_device() == mx.Device(mx.gpu)
        assert mx.array_equal(mx.fast.rms_norm(X, NORM, 1e-5), expected)
        assert mx.allclose(mx.compile(swiglu)(X, X), swiglu(X, X))
        record(lambda x: [mx.fast.rms_norm(x, NORM, 1e-5)], X)
        assert mx.array_equal(mx.fast.rms_norm(X, NORM, 1e-5), expected)
    assert mx.default_device() == device
    assert mx.array_equal(mx.compile(lambda x: x * 2)(X), X * 2)


def counted(model: str, context: int, rows: int = 1) -> tuple[dict[str, float], dict[str, float]]:
    """In a process of its own, since functions are compiled as modules are imported."""
    command = [sys.executable, "-m", "tests.benchmarks.launches", model, "--json", "--context", str(context)]
    command += ["--rows", str(rows)]
    result = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=120).stdout)
    return result["layer"], result["rest"]


def test_a_token_is_drawn_in_few_launches() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.launches", "--sampling"]
    counted = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=120).stdout)
    found = {name: sum(launched.values()) for name, launched in counted.items()}
    most = {"temperature 0": 1, "the default": 4, "min-p 0.05": 8, "top-k 50": 24, "top-p 0.95": 27}
    assert all(found[name] <= count for name, count in most.items()), found


def test_mlx_operations_take_30_launches_a_layer() -> None:
    layer, _ = counted("ours, MLX's operations", 40)
    assert total(layer) <= 30


@pytest.mark.parametrize("context", [40, 300])
def test_a_layer_takes_ten_launches_at_most(context: int) -> None:
    """Of a long context the keys are split, which takes a second launch in every other layer."""
    layer, rest = counted("ours, kernels", context)
    assert total(layer) <= 10
    assert total(rest) <= 5
    # qkv, attend (and merge, in every other layer), o_proj, route, gate_up, down; the row of the embedding, lm_head and
    # the choice of the token.
    assert (layer[CHAIN], rest[CHAIN]) == (6 if context == 40 else 6.5, 3)
    for kernel in ("qkv", "attend", "o_proj", "route", "gate_up", "down"):
        assert layer[f"gptoss_{kernel}"] == 1
    assert layer.get("gptoss_merge", 0) == (0 if context == 40 else 0.5)
    assert rest["gptoss_lm_head"] == 1


def test_rows_share_all_launches_but_those_of_their_caches() -> None:
    """Each attends, and its new key and value join its cache; what they see is put together."""
    layer, rest = counted("ours, kernels", 40, rows=8)
    assert layer["gptoss_attend"] == 8
    assert all(layer[f"gptoss_{kernel}"] == 1 for kernel in ("qkv", "o_proj", "route", "gate_up", "down_rows"))
    assert total(layer) == 5 + 8 + 4 * 8
    assert rest["gptoss_lm_head"] == 1
    assert (layer[CHAIN], rest[CHAIN]) == (7, 3)
