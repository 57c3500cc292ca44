"""Which computer holds which layers: a table of pairs of Macs, and what decides."""

import pytest

from mlx_model.distributed.machine import Machine
from mlx_model.distributed.split import split
from mlx_model.errors import BudgetError, RequestError
from mlx_model.memory.wishes import Wishes
from mlx_model.transformer.config import PUBLISHED

WORKING_SETS = {16: 12.7, 24: 19.1, 32: 25.8, 36: 30.2, 48: 40.2, 64: 55.7, 96: 84.0}
"""GB that the GPU of a Mac may hold, as reported on macOS 26 and 27, by its memory in GB."""

PAIRS = """\
48 M4 Pro + 48 M4 Pro: 17 + 19 layers, 16 bits, context 131072, 38 tok/s
48 M4 Pro + 36 M4 Pro: 20 + 16 layers, 16 bits, context 55808, 38 tok/s
64 M4 Max + 16 M4: 30 + 6 layers, 16 bits, context 24576, 44 tok/s
48 M4 Pro + 32 M4: 22 + 14 layers, 16 bits, context 8448, 28 tok/s
48 M4 Max + 48 M4 Pro: 17 + 19 layers, 16 bits, context 131072, 48 tok/s
24 M4 Pro + 64 M4 Max: 8 + 28 layers, 16 bits, context 131072, 48 tok/s
96 M3 Ultra + 48 M4 Pro: 33 + 3 layers, 16 bits, context 131072, 102 tok/s
48 M4 Pro + 24 M4 Pro: this model needs 58 GB of memory; the computers have 37.4 GB and 17.7 GB
36 M4 Pro + 36 M4 Pro: this model needs 58 GB of memory; the computers have 28.1 GB and 28.1 GB
24 M4 Pro + 36 M4 Pro + 36 M4 Pro: 7 + 14 + 15 layers, 16 bits, context 131072, 38 tok/s
"""
SPEEDS = {"M4": 120, "M4 Pro": 273, "M4 Max": 410, "M3 Ultra": 819}


def mac(memory: int, chip: str = "", **changes: object) -> Machine:
    nbytes = int(WORKING_SETS[memory] * 1e9)
    return Machine("1", "1", "macOS", chip, "gpu", memory << 30, nbytes, nbytes, "", SPEEDS.get(chip, 0))


@pytest.mark.parametrize("line", PAIRS.splitlines())
def test_gpt_oss_120b_over_macs(line: str) -> None:
    names = line.partition(":")[0]
    macs = [mac(int(memory), chip) for memory, _, chip in (each.partition(" ") for each in names.split(" + "))]
    try:
        found = split(PUBLISHED["gpt-oss-120b"], macs)
    except BudgetError as error:
        assert f"{names}: {error}" == line
        return
    layers = " + ".join(str(part.layers) for part in found.parts)
    speed = f"{1 / found.token_s:.0f} tok/s"
    assert f"{names}: {layers} layers, {found.dense_bits} bits, context {found.context}, {speed}" == line
    assert all(plan.total <= mac.budget for plan, mac in zip(found.plans, macs, strict=True))
    assert [part.start for part in found.parts[1:]] == [part.stop for part in found.parts[:-1]]


def test_only_layers_on_a_computers_disk_are_given_to_it() -> None:
    config, macs = PUBLISHED["gpt-oss-20b"], [mac(16), mac(16)]
    found = split(config, macs, layers=[frozenset(range(13)), frozenset(range(10, 24))])
    assert 10 <= found.parts[0].stop <= 13
    with pytest.raises(BudgetError):
        split(config, macs, layers=[frozenset(range(13)), frozenset(range(14, 24))])


def test_the_first_computer_has_a_layer_of_each_kind() -> None:
    """It says where a KV cache can go back to."""
    found = split(PUBLISHED["gpt-oss-20b"], [mac(24, "M4"), mac(96, "M3 Ultra")], layers=None)
    assert found.parts[0].stop == 2


def test_a_context_is_kept_to_or_refused() -> None:
    config, macs = PUBLISHED["gpt-oss-120b"], [mac(48), mac(32)]
    assert split(config, macs, Wishes(context=4096)).context == 4096
    with pytest.raises(BudgetError, match="100,000 tokens"):
        split(config, macs, Wishes(context=100_000))


def test_more_computers_than_layers_share_nothing() -> None:
    with pytest.raises((BudgetError, RequestError), match="share"):
        split(PUBLISHED["gpt-oss-20b"], [mac(16)] * 24)
