"""gpt-oss on MLX: from weights on disk to a stream of Harmony messages.

    from mlx_model import load, generate
    model = load("gpt-oss-20b")
    print(generate(model, "How many r's are in strawberry?", effort="high").text)

Names are imported on first use, so that a process that only needs messages and events never loads MLX.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlx_model.errors import GptossError as GptossError
    from mlx_model.generation.answer import generate as generate
    from mlx_model.generation.answer import stream_generate as stream_generate
    from mlx_model.generation.result import Result as Result
    from mlx_model.generation.session import Session as Session
    from mlx_model.harmony.message import Message as Message
    from mlx_model.harmony.message import assistant as assistant
    from mlx_model.harmony.message import system as system
    from mlx_model.harmony.message import user as user
    from mlx_model.harmony.tools import FunctionTool as FunctionTool
    from mlx_model.harmony.tools import ResponseFormat as ResponseFormat
    from mlx_model.model import Model as Model
    from mlx_model.model import load as load
    from mlx_model.options import Options as Options
    from mlx_model.request import Form as Form
    from mlx_model.request import Request as Request
    from mlx_model.transformer.config import ModelConfig as ModelConfig

    __version__: str

_HOME = {
    "Form": "request",
    "FunctionTool": "harmony.tools",
    "GptossError": "errors",
    "Message": "harmony.message",
    "Model": "model",
    "ModelConfig": "transformer.config",
    "Options": "options",
    "Request": "request",
    "ResponseFormat": "harmony.tools",
    "Result": "generation.result",
    "Session": "generation.session",
    "assistant": "harmony.message",
    "generate": "generation.answer",
    "load": "model",
    "stream_generate": "generation.answer",
    "system": "harmony.message",
    "user": "harmony.message",
}
__all__ = [*_HOME, "__version__"]  # noqa: PLE0604  # the keys are strings


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """The version of the installed program; of sources that are not installed, "0+source"."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("gptoss-chat")
    except PackageNotFoundError:
        return "0+source"


class _Package(ModuleType):
    """This package: a name it exports stays what it is when a submodule of that name (`generate`) is imported.

    The import system sets each submodule as an attribute of its package, where it would hide the function.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
