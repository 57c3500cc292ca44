"""What `metal.trust.select` is given to try: kernels that agree with their definition, on weights that take turns."""

import mlx.core as mx
import pytest

from metal.operation import Operation
from metal.trust.candidates import attend_operation, dense_operations
from tests.fixtures.dense_models import Random, aligned
from tests.fixtures.recorder import recorded

LAYERS, HIDDEN, HEADS, KV_HEADS, VOCABULARY = 2, 128, 4, 2, 64
NAMES = ["qkv", "o_proj", "lm_head", "attend"]


def all_operations(form: mx.Dtype | int = 8, cores: int = 0) -> list[Operation]:
    random = Random()
    layers = [random.projections(HIDDEN, HEADS, KV_HEADS, form) for _ in range(LAYERS)]
    head = random.head(HIDDEN, VOCABULARY, form)
    return [
        *dense_operations(layers, head, mx.float32, gpu_cores=cores),
        attend_operation(heads=HEADS, kv_heads=KV_HEADS, window=128, dtype=mx.float32, gpu_cores=cores),
    ]


@pytest.mark.parametrize("index", range(4), ids=NAMES)
def test_kernels_agree_with_the_definition(index: int) -> None:
    operation = all_operations()[index]
    arguments = operation.arguments(3)
    with recorded():
        by_kernel = [operation.run(*arguments, variant) for variant in operation.variants]
    by_mlx = operation.run(*arguments, None)
    for results in by_kernel:
        for got, first, expected in zip(results, by_kernel[0], by_mlx, strict=True):
            assert got.shape == expected.shape
            assert mx.array_equal(got, first)
            assert mx.abs(got - expected).max() < operation.tolerance * mx.abs(expected).max()


@pytest.mark.parametrize("index", range(4), ids=NAMES)
def test_arguments_repeat_with_the_seed_and_layers_take_turns(index: int) -> None:
    operation = all_operations()[index]
    once, again, other = (operation.run(*operation.arguments(seed), None) for seed in (1, 1, 2))
    assert all(mx.array_equal(*pair) for pair in zip(once, again, strict=True))
    assert not any(mx.array_equal(*pair) for pair in zip(once, other, strict=True))
    assert isinstance(operation.arguments(0)[0], mx.array)  # what select makes wait for the run before
    if operation.name in ("qkv", "o_proj"):
        layers = [next(value for value in operation.arguments(seed) if isinstance(value, int)) for seed in range(4)]
        assert layers == [0, 1, 0, 1]


def test_packed_loads_are_tried_where_weights_are_not_at_a_multiple_of_16() -> None:
    random = Random()
    layer, head = aligned(random.projections(HIDDEN, HEADS, KV_HEADS, 8), 4), random.head(HIDDEN, VOCABULARY, 8)
    for operation in dense_operations([layer], head, mx.float32):
        packed = [variant for variant in operation.variants if ("PACKED", 1) in variant]
        assert len(packed) * 2 == (0 if operation.name == "lm_head" else len(operation.variants))


def test_what_a_run_reads() -> None:
    bytes_read = {operation.name: operation.weight_bytes for operation in all_operations(mx.bfloat16)}
    assert bytes_read == {
        "qkv": 2 * 64 * (HEADS + 2 * KV_HEADS) * (HIDDEN + 1),
        "o_proj": 2 * HIDDEN * (64 * HEADS + 1),
        "lm_head": 2 * VOCABULARY * HIDDEN,
        "attend": 4 * 2 * KV_HEADS * 64 * (128 + 4096),
    }


def test_defaults_follow_the_number_of_cores() -> None:
    def rows(cores: int) -> list[int]:
        return [dict(operation.variants[0])["ROWS"] for operation in all_operations(cores=cores)[:3]]

    assert [rows(cores) for cores in (0, 10, 40, 80)] == [[4, 2, 4], [4, 2, 4], [2, 2, 4], [2, 1, 4]]
