"""The cache folder, for what can be made again."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """Where caches go: $GPTOSS_CACHE_DIR, or the platform's folder for them."""
    return Path(os.environ.get("GPTOSS_CACHE_DIR") or user_cache_path("gptoss-chat"))
