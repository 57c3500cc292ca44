"""Takes out of free text what a person wouldn't publish: paths, and the names of the person and of the computer."""

import getpass
import os
import re
import socket
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlx_model.text import clean

_PART = r"[^\s/:;,\"'`<>()\[\]|]"
_PATH = re.compile(rf"(?<!\w)~[\w.-]*(?:/{_PART}+)+|(?<![\w.)\]])(?:/{_PART}+){{2,}}/?")
"""One from a home on, or of two parts or more, up to a space."""

_IN_PERSONAL = re.compile(r"(?:\[folder\]|/(?:Users|home|Volumes|private|var|tmp)/)[^\n:;\"'`<>()\[\]|]*")
"""A path below a folder where people have theirs: it may have spaces, so all is taken up to a sign that ends it."""

_OF_THE_SYSTEM = ("/System/", "/usr/include/", "/usr/lib/")
"""The same on every computer: where Apple's compiler finds Metal's headers."""

_SHORTEST = 2  # letters of a name; one letter is in every text


class Private:
    """What is taken out: paths, those below `folders` among them, and names of the person and of the computer."""

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        known = {*folders, Path.home(), Path.cwd(), Path(tempfile.gettempdir())}
        texts = {str(form) for folder in known for form in (folder, Path(os.path.realpath(folder)))}
        self._folders = sorted((text for text in texts if text.strip("/")), key=len, reverse=True)
        names = sorted({name for name in _names() if len(name) >= _SHORTEST}, key=len, reverse=True)
        words = "|".join(map(re.escape, names))
        self._names = re.compile(rf"(?<![^\W_])(?:{words})(?![^\W_])", re.IGNORECASE) if names else None

    def without(self, value: Any) -> Any:
        """A text without these; of lists and objects every text in them, with their keys as they are."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return {key: self.without(each) for key, each in value.items()}
        return [self.without(each) for each in value] if isinstance(value, list | tuple) else value

    def _text(self, text: str) -> str:
        for folder in self._folders:
            text = text.replace(folder, "[folder]")
        text = _PATH.sub(_kept_or_not, _IN_PERSONAL.sub("[path]", clean(text)))
        return text if self._names is None else self._names.sub("[name]", text)


def _kept_or_not(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith(_OF_THE_SYSTEM) else "[path]"


def _names() -> set[str]:
    """Of the person and of the computer."""
    host = socket.gethostname()
    names = {host, host.partition(".")[0], Path.home().name}
    with suppress(OSError, KeyError, ImportError):
        names.add(getpass.getuser())
    with suppress(OSError, KeyError, ImportError):
        import pwd

        entry = pwd.getpwuid(os.getuid())
        full = entry.pw_gecos.partition(",")[0]
        names |= {entry.pw_name, full, *full.split()}
    return {name for name in names if name.strip()}
