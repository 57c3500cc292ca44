"""What the person types in the plain chat: a line, or several of them."""


def readline_edits() -> bool:
    """Let `input` edit lines from now on; false where Python has no readline."""
    try:
        import readline
    except ImportError:
        return False
    # Else every line of a paste is sent at once. GNU readline 8.1 and newer know it, libedit ignores it.
    readline.parse_and_bind("set enable-bracketed-paste on")
    return True


def read_message(edits_lines: bool) -> str:
    """What the person writes: a line, and those after it for as long as they end in a backslash. Raises EOFError."""
    lines = [_line("> ", edits_lines)]
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        lines.append(_line(". ", edits_lines))
    return "\n".join(lines)


def _line(prompt: str, edits_lines: bool) -> str:
    if edits_lines:
        return input(prompt)  # readline has to know the prompt, to draw the line anew
    print(prompt, end="", flush=True)  # `input` alone would write it to standard error
    return input()
