"""The browser tool: pages as lines of text with numbered links, fetched behind a guard, searched by one service."""

from mlx_model.tools.browser.fetch import Fetcher
from mlx_model.tools.browser.search import Result
from mlx_model.tools.browser.session import Source
from mlx_model.tools.browser.tool import Browser

__all__ = ["Browser", "Fetcher", "Result", "Source"]
