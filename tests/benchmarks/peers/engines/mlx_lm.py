"""mlx-lm. The setting "float32" turns every tensor of floats into float32, "stored" leaves them."""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
from mlx_lm.generate import BatchGenerator, generate_step
from mlx_lm.utils import load_model


class Loaded:
    """See Engine."""

    def __init__(self, path: Path, setting: str) -> None:
        # Lazily, so that each tensor can be converted as it is read: mlx-lm's smallest load peak.
        self._model, _ = load_model(path, lazy=True)
        if setting == "float32":
            self._model.set_dtype(mx.float32)
        mx.eval(self._model.parameters())
        self.about = f"mlx {version('mlx')}"

    def answer(self, prompt: list[int], tokens: int) -> Iterator[int]:
        """See Engine."""
        for token, _ in generate_step(mx.array(prompt), self._model, max_tokens=tokens):
            yield int(token)

    def answers(self, prompts: list[list[int]], tokens: int) -> Iterator[list[int]]:
        """See Engine. By what mlx-lm's batch_generate is made of."""
        generator = BatchGenerator(self._model, max_tokens=tokens)
        rows = {uid: row for row, uid in enumerate(generator.insert(prompts))}
        done = 0
        while done < len(rows):
            _, responses = generator.next()
            done += sum(response.finish_reason is not None for response in responses)
            yield [rows[response.uid] for response in responses]
