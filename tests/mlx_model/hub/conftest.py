"""An empty Hub cache and a local Hub that has gpt-oss-20b."""

from tests.fixtures.hub import cache, server

__all__ = ["cache", "server"]
