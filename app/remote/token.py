"""The tokens of servers: given by a file or a variable, or kept by address in a file that its owner alone can read."""

import json
import os
from pathlib import Path

from app.paths import tokens_file
from metal.files import parse_json, read_small, replace_file
from mlx_model.errors import RequestError

VARIABLE = "GPTOSS_CHAT_TOKEN"
_LONGEST = 4096


def token_in(path: Path) -> str:
    """The token that a file of the person's has. Raises RequestError."""
    try:
        return checked(read_small(path, _LONGEST).decode("utf-8", "replace"), str(path))
    except OSError as error:
        raise RequestError(f"{path} can't be read: {error.strerror or error}") from None


def token_in_environment() -> str | None:
    """The token of the variable, None if it isn't set. Raises RequestError."""
    value = os.environ.get(VARIABLE)
    return checked(value, VARIABLE) if value else None


def checked(text: str, where: str) -> str:
    """A token as it may stand in a header. Raises RequestError."""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token or len(token) > _LONGEST:
        raise RequestError(f"{where} has no token: one line of letters, digits and signs")
    return token


def kept_token(base: str) -> str | None:
    """The token that is kept for this address, None if there is none. Raises RequestError."""
    token = _read().get(base)
    return None if token is None else checked(str(token), str(tokens_file()))


def keep_token(base: str, token: str) -> Path:
    """Keeps the token for this address; returns the file. Raises RequestError."""
    path = tokens_file()
    content = json.dumps({**_read(), base: token}, indent=1).encode() + b"\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, content, private=True)
    except OSError as error:
        raise RequestError(f"{path} can't be written: {error.strerror or error}") from None
    return path


def _read() -> dict[str, object]:
    path = tokens_file()
    try:
        if path.stat().st_mode & 0o077:
            raise RequestError(f"others may read the tokens in {path}; make them yours alone: chmod 600 {path}")
        value = parse_json(read_small(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RequestError(f"{path} can't be read: {error.strerror or error}") from None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise RequestError(f"{path} has no tokens that could be read; remove it, and you are asked for them again")
    return value
