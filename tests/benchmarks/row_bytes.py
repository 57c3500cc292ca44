"""Counts what a decode step of 1, 2, 4 and 8 rows reads at gpt-oss-20b's sizes: `python -m tests.benchmarks.row_bytes`.

Each kernel is traced on the CPU on some of its matrix's rows (all of their length), and counted for all of them. Each
row of activations draws its experts uniformly. Modelled is what such a step reads if each weight that any row needs
is read once: the dense part, and 32 (1 - (1 - 4/32)^rows) experts a layer. Counted are the weights that the kernels
touch, which DRAM must carry, beside what as many single rows touch; those that they ask for, which is more where a
weight is read twice or by a lane that idles; and the lines of 64 bytes that all buffers are asked for, activations
too, which the first-level caches must carry.
"""

import argparse

from tests.fixtures.parts_of_20b import Read, drawn, modelled, of_a_step, traced

ROWS = (1, 2, 4, 8)


def table(bits: int, draws: int) -> str:
    """As Markdown, in 10^9 bytes; the mean of several draws of experts."""
    lines = [
        "| rows | modelled | touched | one after the other | asked for | lines asked for |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    one = of_a_step(traced(bits, drawn(1, 0), slice(1)))
    for rows in ROWS:
        steps = [of_a_step(traced(bits, drawn(rows, seed), slice(rows))) for seed in range(draws)]
        step = sum((dense + experts for dense, experts in steps), Read()) * (1 / draws)
        alone = one[0] + one[1]
        figures = (modelled(rows, one), step.touched, rows * alone.touched, step.asked, step.lines)
        lines.append(f"| {rows} | {' | '.join(f'{number / 1e9:.2f}' for number in figures)} |")
    return "\n".join(lines)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bits", type=int, default=8, choices=(4, 6, 8), help="of the dense part (default: 8)")
    parser.add_argument("--draws", type=int, default=5, help="of experts (default: 5)")
    arguments = parser.parse_args()
    print(table(arguments.bits, arguments.draws))


if __name__ == "__main__":
    main()
