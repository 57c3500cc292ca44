"""What can go wrong with the store, for those who only need to catch it: SQLite is loaded with the store."""

from mlx_model.errors import GptossError


class StoreError(GptossError):
    """The conversations can't be read or written; the text says why and what was kept."""


class UnwritableError(StoreError):
    """They can't be written, for lack of space or permission; what is there may still be readable."""
