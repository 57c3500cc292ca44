"""The process of llama.cpp, whose file is mapped."""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.peers.engines.llama_cpp import Loaded
from tests.benchmarks.peers.machine import resident
from tests.benchmarks.streaming.task import Task, timed


def main() -> None:
    """Prints one JSON object."""
    task = Task(**json.loads(sys.argv[1]))
    start = time.perf_counter()
    engine = Loaded(Path(task.path), "mapped")
    load_s = time.perf_counter() - start
    times = timed(task, engine.logits)
    memory = resident(os.getpid())
    print(json.dumps(asdict(times) | {"load_s": load_s, "peak": memory[0] if memory else 0}), flush=True)


if __name__ == "__main__":
    main()
