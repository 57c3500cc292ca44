"""The kernels' text as CUDA C++: every one is translated, some are right on the CPU, and a wrong shim is noticed."""

import re
from collections.abc import Callable, Iterable

import mlx.core as mx
import pytest

from tests.msl.cuda import nvrtc
from tests.msl.cuda.cases import SMALL, attention_case, dense_cases, expert_cases
from tests.msl.cuda.judge import Judge
from tests.msl.cuda.manifest import Case
from tests.msl.cuda.on_cpu import OnCpu, whole_shim
from tests.msl.cuda.recorded import Texts
from tests.msl.cuda.translate import translated
from tests.msl.texts import kernel_texts

BODY = """
    constant float TABLE[2] = {1.0, .5e1};
    constant constexpr int COUNT = 2;
    [[kernel]] void work(device const float* x [[buffer(0)]], constant int& n [[buffer(1)]],
                         device float* y [[buffer(3)]], uint lane [[thread_index_in_simdgroup]]) {
      threadgroup float shared[32];  // of all threads
      shared[lane] = x[lane] * 2.0 + TABLE[n] - 1e-3;
      y[lane] = shared[lane] + COUNT;
    }"""


def experts(texts: Texts) -> Iterable[Case]:
    return expert_cases(SMALL, texts, mx.bfloat16, 8, every=False)


def several_rows(texts: Texts) -> Iterable[Case]:
    return expert_cases(SMALL, texts, mx.bfloat16, 16, every=False, rows=4)


def dense(texts: Texts) -> Iterable[Case]:
    return dense_cases(SMALL, texts, mx.float16, 6, 16, every=False)


def attention(texts: Texts) -> Iterable[Case]:
    return [attention_case(SMALL, texts, mx.bfloat16, 1024, 40)]


def test_what_no_header_can_define_is_rewritten() -> None:
    found = translated(BODY, 64)
    assert found.buffers == ("x", "n", "y")
    assert [line.strip() for line in found.text.splitlines()][3:10] == [
        "__constant__ float TABLE[2] = {1.0f, .5e1f};",
        "constexpr int COUNT = 2;",
        "METAL_FUNC void work( const float* x ,  int& n ,",
        "float* y , uint lane ) {",
        "__shared__ float shared[32];",
        "shared[lane] = x[lane] * 2.0f + TABLE[n] - 1e-3f;",
        "y[lane] = shared[lane] + COUNT;",
    ]
    assert found.text.splitlines()[-1] == (
        'extern "C" __global__ void __launch_bounds__(64) msl_entry(void* x, void* n, void* y) '
        "{ work(msl_argument{x}, msl_argument{n}, msl_argument{y}, msl_attribute<uint>((msl_index() % 32))); }"
    )


def test_an_attribute_that_is_not_known_is_refused() -> None:
    with pytest.raises(KeyError, match="threads_per_grid"):
        translated(BODY.replace("thread_index_in_simdgroup", "threads_per_grid"), 64)


def test_every_text_of_the_program_is_translated() -> None:
    for each in kernel_texts():
        found = translated(each.text, each.threadgroup[0]).text
        left = re.search(r"\[\[|\b(?:device|constant|threadgroup|thread)\b(?!\s*[.(])", found)
        assert left is None, f"{each.name}: {left}"


@pytest.mark.parametrize("cases", [experts, several_rows, dense, attention])
def test_the_cuda_text_is_right_on_the_cpu(cases: Callable[[Texts], Iterable[Case]]) -> None:
    texts, judge = Texts(), Judge()
    for case in cases(texts):
        worst, _ = judge.judged(OnCpu(texts), case)
        assert worst <= 1, case.title


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("mask = 16; mask > 0; mask /= 2) value = value +", "mask = 8; mask > 0; mask /= 2) value = value +"),
        ("unsigned(bits) << 16", "unsigned(bits) << 15"),
    ],
)
def test_a_wrong_shim_is_noticed(right: str, wrong: str) -> None:
    shim = whole_shim()
    assert right in shim
    texts = Texts()
    case = next(iter(dense_cases(SMALL, texts, mx.bfloat16, 0, 16, every=False)))
    worst, _ = Judge().judged(OnCpu(texts, shim.replace(right, wrong)), case)
    assert worst > 10


def test_nvrtc_compiles_it_and_says_what_it_made() -> None:
    texts = Texts()
    case = next(iter(expert_cases(SMALL, texts, mx.bfloat16, 8, every=False)))
    try:
        built = nvrtc.build(texts[case.launches[0].text].cuda, "sm_90")
    except nvrtc.NoNvrtcError as error:
        pytest.skip(str(error))
    assert built.cubin.startswith(b"\x7fELF")
    assert (built.stack, built.spills, built.generic_loads) == (0, 0, 0)
    assert 16 < built.registers < 128
    assert built.loads[8] == 8  # the weights, at what they are aligned to
    with pytest.raises(nvrtc.CompileError, match="no_such_function"):
        nvrtc.build('#include "msl_cuda.h"\nvoid f() { no_such_function(); }', "sm_90")
