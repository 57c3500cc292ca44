"""The token that clients need: made once, kept in a file that its owner alone can read."""

import os
import secrets
from pathlib import Path

from metal.files import read_small
from mlx_model.errors import RequestError

_LONGEST = 4096


def kept_token(path: Path) -> tuple[str, bool]:
    """The token of a file, and whether it was made just now. Raises RequestError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            return _read(path), False
        token = secrets.token_urlsafe(32)
        try:
            with os.fdopen(file, "w") as opened:
                opened.write(f"{token}\n")
        except BaseException:
            path.unlink()  # without a token it would be refused from now on
            raise
    except OSError as error:
        raise RequestError(f"{path} can't be used for the server's token: {error.strerror or error}") from None
    return token, True


def _read(path: Path) -> str:
    if path.stat().st_mode & 0o077:
        raise RequestError(f"others may read the server's token; make it yours alone: chmod 600 {path}")
    token = read_small(path, _LONGEST).decode("ascii", "replace").strip()
    if len(token) < 16 or not token.isprintable() or " " in token:
        raise RequestError(f"{path} has no token of 16 characters or more; remove it, and another is made")
    return token
