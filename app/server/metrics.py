"""What the server has done so far, in the text format of Prometheus. No prompt and no answer is in it."""

from collections import Counter
from collections.abc import Iterator, Sequence

from mlx_model.events import Stats

ROUTES = ("/v1/responses", "/v1/chat/completions", "/v1/models", "/health", "/metrics")
"""Paths that are counted by their names: others would be as many as anyone likes."""
_TTFT_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOK_S = (1, 2, 5, 10, 20, 40, 80, 160)


class Histogram:
    """Counts values by their size."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name, self._text, self._bounds = name, text, bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Counts a value."""
        self._counts[sum(value > bound for bound in self._bounds)] += 1
        self._sum += value

    def lines(self) -> Iterator[str]:
        """Its text."""
        yield f"# HELP {self._name} {self._text}"
        yield f"# TYPE {self._name} histogram"
        for index, bound in enumerate(self._bounds):
            yield f'{self._name}_bucket{{le="{bound:g}"}} {sum(self._counts[: index + 1])}'
        yield f'{self._name}_bucket{{le="+Inf"}} {sum(self._counts)}'
        yield f"{self._name}_sum {self._sum:g}"
        yield f"{self._name}_count {sum(self._counts)}"


class Metrics:
    """Counts requests and tokens."""

    def __init__(self) -> None:
        self._requests = Counter[tuple[str, int]]()
        self._tokens = Counter[str]()
        self._peak = 0
        self._ttft = Histogram("gptoss_time_to_first_token_seconds", "From the request to its first token.", _TTFT_S)
        self._speed = Histogram("gptoss_decode_tokens_per_second", "Tokens decoded a second.", _TOK_S)

    def count(self, path: str, status: int) -> None:
        """A request was answered."""
        known = next((route for route in ROUTES if path == route or path.startswith(f"{route}/")), "other")
        self._requests[known, status] += 1

    def add(self, stats: Stats) -> None:
        """An answer has ended."""
        self._tokens["prompt"] += stats.prefill_tokens + stats.reused_tokens
        self._tokens["cached"] += stats.reused_tokens
        self._tokens["decoded"] += stats.decode_tokens
        self._peak = max(self._peak, stats.peak_memory_bytes)
        if stats.decode_tokens:
            self._ttft.add(stats.ttft_s)
        if stats.decode_tok_s:
            self._speed.add(stats.decode_tok_s)

    def text(self, running: int, waiting: int) -> str:
        """All of it; `running` and `waiting` are the requests of now."""
        lines = ["# HELP gptoss_requests_total Requests by route and status.", "# TYPE gptoss_requests_total counter"]
        lines += [
            f'gptoss_requests_total{{route="{route}",code="{status}"}} {count}'
            for (route, status), count in sorted(self._requests.items())
        ]
        for name in ("prompt", "cached", "decoded"):
            lines += [f"# TYPE gptoss_{name}_tokens_total counter", f"gptoss_{name}_tokens_total {self._tokens[name]}"]
        gauges = {"requests_running": running, "requests_waiting": waiting, "peak_memory_bytes": self._peak}
        for name, value in gauges.items():
            lines += [f"# TYPE gptoss_{name} gauge", f"gptoss_{name} {value}"]
        return "\n".join([*lines, *self._ttft.lines(), *self._speed.lines(), ""])
