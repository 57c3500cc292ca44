"""What can be done with a code block, by the language that it names: the suffix of its file, and what runs it."""

import re

PYTHON, SHELL = "python", "shell"
_RUN_BY = {
    **dict.fromkeys(("python", "python3", "py"), PYTHON),
    **dict.fromkeys(("sh", "bash", "zsh", "shell"), SHELL),
}


def run_by(language: str) -> str:
    """PYTHON, SHELL, or "" for what isn't run: a language that is neither, or none that is named."""
    return _RUN_BY.get(language.lower(), "")


def suffix_of(language: str) -> str:
    """What the name of a file in this language ends with, without the dot; "txt" for one that nobody knows."""
    from pygments.lexers import find_lexer_class_by_name
    from pygments.util import ClassNotFound

    try:
        patterns = find_lexer_class_by_name(language or "text").filenames
    except ClassNotFound:
        return "txt"
    return next((found[1] for pattern in patterns if (found := re.fullmatch(r"\*\.(\w+)", pattern))), "txt")
