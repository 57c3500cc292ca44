"""Files in one folder that a person opened: read, listed, searched, and changed by patches that can be undone."""

from mlx_model.tools.files.tool import Files

__all__ = ["Files"]
