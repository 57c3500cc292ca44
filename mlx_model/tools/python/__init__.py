"""The python tool: code of the model's in a kernel of its own, confined where that is possible."""

from mlx_model.tools.python.sandbox import Confinement
from mlx_model.tools.python.tool import Python

__all__ = ["Confinement", "Python"]
