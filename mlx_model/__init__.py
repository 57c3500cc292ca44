"""gpt-oss on MLX: from weights on disk to a stream of Harmony messages.

    from mlx_model import load, generate
    model = load("gpt-oss-20b")
    print(generate(model, "How many r's are in strawberry?", effort="high").text)

Names are imported on first use, so that a process that only needs messages and events never loads MLX.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# numpy's OpenBLAS lets its threads spin for a tenth of a second after each product, on the cores that MLX's streams
# are to use next (see transformer/compute.py): decoding took 1.4 times as long. Read when numpy is first imported.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

if TYPE_CHECKING:
    from mlx_model.errors import GptossError as GptossError
    from mlx_model.generation.answer import Result as Result
    from mlx_model.generation.answer import generate as generate
    from mlx_model.generation.answer import stream_generate as stream_generate
    from mlx_model.generation.session import Session as Session
    from mlx_model.harmony.message import Message as Message
    from mlx_model.model import Model as Model
    from mlx_model.model import load as load
    from mlx_model.options import Options as Options
    from mlx_model.transformer.config import ModelConfig as ModelConfig

_HOME = {
    "GptossError": "errors",
    "Message": "harmony.message",
    "Model": "model",
    "ModelConfig": "transformer.config",
    "Options": "options",
    "Result": "generation.answer",
    "Session": "generation.session",
    "generate": "generation.answer",
    "load": "model",
    "stream_generate": "generation.answer",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
