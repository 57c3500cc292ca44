"""What `finetune` shows: examples, progress, the losses as a plot and as a picture."""

import io
from pathlib import Path
from typing import Any

import pytest

from app.cli.finetune_shown import Progress, behaviour_line, example_lines, loss_plot, write_picture
from app.cli.printing import BOLD, DIM, PLAIN
from mlx_model.harmony.tokenizer import Tokenizer
from mlx_model.hub.names import resolve
from mlx_model.lora.behaviour import Behaviour
from mlx_model.lora.examples import Example
from mlx_model.lora.run import Done, Event, HeldOut, Resumed, Stepped, Stopped

HISTORY: list[dict[str, Any]] = [
    {"step": 0, "held_out": 4.0},
    *({"step": step, "loss": 4.0 - step / 10, "rate": 1e-4} for step in range(1, 21)),
    {"step": 20, "held_out": 2.5},
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(resolve("demo"))


def test_what_is_learnt_is_marked(tokenizer: Tokenizer) -> None:
    before, learnt, after = map(tokenizer.encode, ("How many? ", "Three.", " \x1b[2J"))
    weights = [0.0] * len(before) + [1.0] * len(learnt) + [0.0] * len(after)
    example = Example("a.jsonl:3", 2, (*before, *learnt, *after), tuple(weights), "", True)
    title, plain, _ = example_lines(example, tokenizer, styled=False)
    assert title == f"--- a.jsonl:3: {len(weights)} tokens, {len(learnt)} of them learnt"
    assert plain.startswith("How many? ⟦Three.⟧ ") and "\x1b" not in plain
    styled = example_lines(example, tokenizer, styled=True)[1]
    assert styled.startswith(f"{DIM}How many? {PLAIN}{BOLD}Three.{PLAIN}{DIM} ") and styled.endswith(PLAIN)


def test_the_plot() -> None:
    lines = loss_plot(HISTORY)
    assert lines[0].startswith("4.000 | o") and lines[9].startswith("2.000 |")
    assert sum(line.count("o") for line in lines[:10]) == 2
    assert lines[-1].endswith("loss by step, 0 to 20; o held out")
    assert all(len(line) < 80 for line in lines)


@pytest.mark.parametrize(
    "history", [HISTORY[:2], [{"step": 1, "loss": 3.0}], [{"step": 5000, "loss": 1.0}, HISTORY[0]]]
)
def test_a_plot_of_little(history: list[dict[str, Any]], tmp_path: Path) -> None:
    assert len(loss_plot(history)) == 12
    write_picture(tmp_path / "loss.png", history, "mine")


def test_the_picture(tmp_path: Path) -> None:
    from PIL import Image

    write_picture(tmp_path / "loss.png", HISTORY, "mine")
    with Image.open(tmp_path / "loss.png") as image:
        assert image.size == (900, 420)
        colours = {colour for _, colour in image.getcolors(1 << 20) or ()}
    assert {(0x7A, 0x9C, 0xC6), (0xB3, 0x54, 0x1E)} <= colours, "both curves are there"


def stepped(step: int) -> Stepped:
    return Stepped(step, 100, 2.5, 1.0, 1e-4, 4000, 1000, 2.0, 3 * 2**30)


def test_progress_that_stays(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(io.StringIO())
    events: tuple[Event, ...] = (
        Resumed(40, 100),
        *map(stepped, (41, 42, 100)),
        HeldOut(100, 1.25, True),
        Stopped(50, 40),
        Done(90),
    )
    for event in events:
        progress.show(event)
    assert capsys.readouterr().err.splitlines() == [
        "gptoss-chat: going on after step 40 of 100",
        "gptoss-chat: step 41 of 100: loss 2.5000, 2,000 tok/s, 3 GB, 2 min left",
        "gptoss-chat: step 100 of 100: loss 2.5000, 2,000 tok/s, 3 GB, 0 s left",
        "gptoss-chat: step 100: held-out loss 1.2500, the best so far",
        "gptoss-chat: stopped after step 50: the same command goes on from there, and the adapter of step 40 can be "
        "used",
        "gptoss-chat: done: the adapter of step 90 is kept",
    ]


def test_progress_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    progress = Progress(terminal)
    progress.show(stepped(1))
    progress.show(stepped(100))
    progress.end()
    lines = terminal.getvalue().split("\r")
    assert lines[1].startswith("step 1 of 100") and lines[2].startswith("step 100 of 100")
    assert lines[3].isspace() and lines[4] == "" and len(lines[2]) == len(lines[3])
    assert not capsys.readouterr().err


def test_behaviour_in_words() -> None:
    found = Behaviour(1, True, 1, True) + Behaviour(1, True, unasked=1, unasked_right=False)
    assert behaviour_line("with", found) == (
        "with the adapter: 2 of 2 prompts answered; thoughts in the language that was asked for: 1 of 1; "
        "as before where none was: 0 of 1"
    )
