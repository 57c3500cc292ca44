"""The unified diff of an edited file, from what its lines know of where they come from: nothing is compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlx_model.tools.files.lines import Line, Lines

_CONTEXT = 3
_Op = tuple[str, Line]


def unified(old: Lines, new: Lines, old_name: str, new_name: str) -> str:
    """The diff from a file's lines to what they became by edits, which kept the `origin` of each line that stayed."""
    hunks = _hunks(list(_ops(old.lines, new.lines)))
    return "\n".join([f"--- {old_name}", f"+++ {new_name}", *hunks])


def _ops(old: Sequence[Line], new: Sequence[Line]) -> Iterator[_Op]:
    """Every line with its sign; where lines were replaced, first those that go."""
    added: list[_Op] = []
    at = 0
    for line in [*new, None]:
        if line is not None and line.origin is None:
            added.append(("+", line))
            continue
        origin = len(old) if line is None or line.origin is None else line.origin
        yield from (("-", each) for each in old[at:origin])
        yield from added
        added = []
        if line is not None:
            if line.ending == old[origin].ending:
                yield " ", line
            else:
                yield "-", old[origin]
                yield "+", line
        at = origin + 1


def _ranges(ops: Sequence[_Op]) -> Iterator[tuple[int, int]]:
    """Changes that are near each other, with the lines around them."""
    start = stop = -1
    for i, (sign, _) in enumerate(ops):
        if sign == " ":
            continue
        if start >= 0 and i - _CONTEXT <= stop:
            stop = i + 1 + _CONTEXT
            continue
        if start >= 0:
            yield start, min(stop, len(ops))
        start, stop = max(0, i - _CONTEXT), i + 1 + _CONTEXT
    if start >= 0:
        yield start, min(stop, len(ops))


def _hunks(ops: Sequence[_Op]) -> Iterator[str]:
    """Each range with its numbers; outside of them lines are the same."""
    old = new = at = 0
    for start, stop in _ranges(ops):
        lines = ops[start:stop]
        old, new = old + start - at, new + start - at
        gone, come = (sum(sign != other for sign, _ in lines) for other in "+-")
        yield f"@@ -{old + (gone > 0)},{gone} +{new + (come > 0)},{come} @@"
        for sign, line in lines:
            yield sign + line.text
            if not line.ending:
                yield "\\ No newline at end of file"
        old, new, at = old + gone, new + come, stop
