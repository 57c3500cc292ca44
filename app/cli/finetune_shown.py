"""What `gptoss-chat finetune` shows: examples with what is learnt marked, how far a run is, its losses as a plot."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from app.cli.printing import BOLD, DIM, PLAIN, ProgressLine
from app.lines import counted, duration
from mlx_model.memory.sizes import memory_size
from mlx_model.text import clean

if TYPE_CHECKING:
    from mlx_model.harmony.tokenizer import Tokenizer
    from mlx_model.lora.behaviour import Behaviour
    from mlx_model.lora.examples import Example
    from mlx_model.lora.run import Event

_COLUMNS, _ROWS = 60, 10
"""Of the plot in a terminal."""
_PICTURE = (900, 420)
"""Pixels of the picture."""

History = Sequence[Mapping[str, Any]]
"""The losses as Folder.history has them: "loss" of steps and "held_out" of those evaluations."""


def example_lines(example: "Example", tokenizer: "Tokenizer", *, styled: bool) -> list[str]:
    """An example as text, what is learnt in bold, or between ⟦ and ⟧ where nothing can be bold."""
    on, off = (f"{PLAIN}{BOLD}", f"{PLAIN}{DIM}") if styled else ("⟦", "⟧")
    pieces, start = [DIM if styled else ""], 0
    for at in range(1, len(example.ids) + 1):
        learnt = example.weights[start] > 0
        if at < len(example.ids) and (example.weights[at] > 0) == learnt:
            continue
        text = clean(tokenizer.decode(example.ids[start:at]))
        pieces.append(f"{on}{text}{off}" if learnt else text)
        start = at
    title = f"{clean(example.where)}: {len(example.ids):,} tokens, {example.learnt:,} of them learnt"
    return [f"--- {title}", "".join(pieces) + (PLAIN if styled else ""), ""]


class Progress:
    """How far a run is."""

    def __init__(self, stream: TextIO) -> None:
        self._line = ProgressLine(stream)
        self._seconds = self._steps = 0.0

    def show(self, event: "Event") -> None:
        """Bring it up to date."""
        from mlx_model.lora.run import Done, HeldOut, Resumed, Stepped, Stopped

        match event:
            case Stepped():
                self._step(event)
            case HeldOut(step, loss, best):
                self._line.say(f"step {step:,}: held-out loss {loss:.4f}{', the best so far' if best and step else ''}")
            case Resumed(step, steps):
                self._line.say(f"going on after step {step:,} of {steps:,}")
            case Stopped(step, adapter_step):
                self._line.say(
                    f"stopped after step {step:,}: the same command goes on from there, and the adapter of step "
                    f"{adapter_step:,} can be used"
                )
            case Done(adapter_step):
                self._line.say(f"done: the adapter of step {adapter_step:,} is kept")

    def end(self) -> None:
        """Take the line away, if there is one."""
        self._line.end()

    def _step(self, event: Any) -> None:
        self._seconds, self._steps = self._seconds + event.seconds, self._steps + 1
        left = (event.steps - event.step) * self._seconds / self._steps
        speed = event.tokens / event.seconds
        self._line.show(
            f"step {event.step:,} of {event.steps:,}: loss {event.loss:.4f}, {speed:,.0f} tok/s, "
            f"{memory_size(event.memory)}, {duration(left)} left",
            stays=event.step in (1, event.steps),
        )


def behaviour_line(words: str, found: "Behaviour") -> str:
    """How held-out prompts were answered `words` ("with", "without") the adapter."""
    line = f"{words} the adapter: {found.whole} of {counted(found.prompts, 'prompt')} answered"
    if found.asked:
        line += f"; thoughts in the language that was asked for: {found.asked_right} of {found.asked}"
    if found.unasked:
        line += f"; as before where none was: {found.unasked_right} of {found.unasked}"
    return line


def loss_plot(history: History) -> list[str]:
    """The losses as lines of a terminal: those of steps as dots, held-out ones as o."""
    steps, held_out = _points(history, "loss"), _points(history, "held_out")
    last = max(step for step, _ in steps + held_out)
    width = min(_COLUMNS, last + 1)
    columns: dict[int, list[float]] = {}
    for step, loss in steps:
        columns.setdefault(step * (width - 1) // max(1, last), []).append(loss)
    means = {column: sum(losses) / len(losses) for column, losses in columns.items()}
    low, high = _range([*means.values(), *(loss for _, loss in held_out)])
    grid = [[" "] * width for _ in range(_ROWS)]

    def row(loss: float) -> int:
        return round((high - loss) / (high - low) * (_ROWS - 1))

    for column, loss in means.items():
        grid[row(loss)][column] = "."
    for step, loss in held_out:
        grid[row(loss)][step * (width - 1) // max(1, last)] = "o"
    labels = {0: f"{high:.3f}", _ROWS - 1: f"{low:.3f}"}
    wide = max(map(len, labels.values()))
    lines = [f"{labels.get(at, ''):>{wide}} | {''.join(cells).rstrip()}" for at, cells in enumerate(grid)]
    return [*lines, f"{'':>{wide}} +{'-' * width}", f"{'':>{wide}}   loss by step, 0 to {last:,}; o held out"]


def write_picture(path: Path, history: History, title: str) -> None:
    """The same as a PNG. Raises ImportError without Pillow, OSError where it can't be written."""
    from PIL import Image, ImageDraw

    width, height = _PICTURE
    left, top, right, bottom = 70, 40, width - 20, height - 50
    image = Image.new("RGB", _PICTURE, "white")
    draw = ImageDraw.Draw(image)
    steps, held_out = _points(history, "loss"), _points(history, "held_out")
    last = max(step for step, _ in steps + held_out)
    low, high = _range([loss for _, loss in steps + held_out])

    def place(step: int, loss: float) -> tuple[float, float]:
        return left + (right - left) * step / max(1, last), top + (bottom - top) * (high - loss) / (high - low)

    for part in range(5):
        loss = low + (high - low) * part / 4
        y = place(0, loss)[1]
        draw.line([(left, y), (right, y)], "#dddddd")
        draw.text((left - 8, y), f"{loss:.3f}", "#444444", anchor="rm")
        step = last * part // 4
        draw.text((place(step, low)[0], bottom + 8), f"{step:,}", "#444444", anchor="mt")
    if len(steps) > 1:
        draw.line([place(*point) for point in steps], "#7a9cc6", width=2)
    if len(held_out) > 1:
        draw.line([place(*point) for point in held_out], "#b3541e", width=2)
    for point in held_out:
        x, y = place(*point)
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], "#b3541e")
    draw.text((left, 14), clean(title), "#000000")
    draw.text((right, 14), "loss: of each step (blue), held out (brown)", "#444444", anchor="ra")
    draw.text(((left + right) / 2, height - 16), "step", "#444444", anchor="mb")
    image.save(path, "PNG")


def _points(history: History, key: str) -> list[tuple[int, float]]:
    found = ((entry["step"], entry.get(key)) for entry in history)
    return [(step, loss) for step, loss in found if isinstance(loss, float) and math.isfinite(loss)]


def _range(losses: Sequence[float]) -> tuple[float, float]:
    low, high = min(losses), max(losses)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
