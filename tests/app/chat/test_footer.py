"""What is said of an answer in its line."""

import pytest

from app.chat.footer import explained, figures, footer
from mlx_model.events import Stats
from mlx_model.harmony.message import Effort

SOME = Stats(decode_tokens=1234, decode_s=61.7, ttft_s=0.5)


@pytest.mark.parametrize(
    ("reason", "stats", "said"),
    [
        ("stop", SOME, "low   20.0 tok/s   1,234 tokens   first token 0.5 s"),
        ("cancelled", SOME, "low   20.0 tok/s   1,234 tokens   first token 0.5 s   stopped"),
        ("cancelled", Stats(), "low   stopped before it began"),
        ("cancelled", None, "low   stopped"),
        ("died", None, "low   cut off: the engine stopped"),
        ("length", Stats(), "low   cut off: token limit"),
        ("stop", Stats(reused_tokens=2500, decode_tokens=1), "low   1 token   2,500 reused"),
        ("", None, "low   not finished: the program ended"),
        ("of a newer version", None, "low"),
    ],
)
def test_the_line(reason: str, stats: Stats | None, said: str) -> None:
    assert footer(Effort.LOW, reason, stats) == said
    assert footer(None, reason, stats) == said.removeprefix("low").lstrip()


def test_each_figure_is_explained_once() -> None:
    read = {"experts_asked": 1000, "experts_read": 210, "experts_bytes": 2_776_032_000, "experts_wait_s": 2.14}
    stats = Stats(decode_tokens=1234, decode_s=61.7, ttft_s=0.5, reused_tokens=2500, **read)  # type: ignore[arg-type]
    said = explained(Effort.LOW, stats).split("\n")
    assert len(said) == len(figures(Effort.LOW, stats)) == 6
    words = ("low", "20.0", "1,234", "0.5 s", "2,500", "79% of the experts", "2.8 GB", "2.1 s")
    assert all(any(word in line for line in said) for word in words)
    assert figures(Effort.LOW, stats)[3] == "79% of experts in memory"
    assert explained(None, None) == explained(None, Stats()) == ""


def test_where_the_time_of_a_token_went_with_layers_elsewhere() -> None:
    stats = Stats(decode_tokens=11, decode_s=0.5, there_s=0.2, wire_s=0.05)
    line = "A token took 25.0 ms here, 20.0 ms on the other computers and 5.0 ms on the way."
    assert line in explained(None, stats).splitlines()
