"""An empty Hub cache and a local Hub, as the tests of the download have them."""

from tests.fixtures.hub import cache, server

__all__ = ["cache", "server"]
