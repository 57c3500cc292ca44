"""Rewrites of MSL that clang can't be taught by a header. Each keeps every line where it is."""

import re

KERNEL = r"\[\[kernel(?:,[^\]]*)?\]\]|\bkernel"
"""What stands before the result of a kernel function."""


def rewritten(text: str) -> str:
    """A text without comments and includes as clang takes it, after <metal_stdlib> of the shim has been included."""
    return _with_vector_constructors(_with_threadgroup_variables(text))


def closing(text: str, start: int, brackets: str) -> int:
    """The index of the bracket that closes the one at `start`; `brackets` are the two, as "()"."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == brackets[0]) - (text[i] == brackets[1])
        if depth == 0:
            return i
    raise ValueError(f"unbalanced {brackets} in the kernel's text")


def without_comments(text: str) -> str:
    """Comments out first: one that reads "... threadgroup\\n short x;" would look like a declaration."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", lambda match: re.sub(r"[^\n]", " ", match[0]), text, flags=re.S)


def without_includes(text: str) -> str:
    """All of Metal's headers are in the shim's one."""
    return re.sub(r"^\s*#\s*include\s*<(metal_\w+|simd/\w+)>", "", text, flags=re.M)


_TYPE = r"(?:typename\s+)?[A-Za-z_][\w:]*(?:\s*<[^;<>]*>)?"
_NAMES = r"\w+(?:\s*\[[^;\]]*\])*(?:\s*,\s*\w+(?:\s*\[[^;\]]*\])*)*"
THREADGROUP_VARIABLES = re.compile(rf"(?<=[;{{}}\s])(?:alignas\([^)]*\)\s*)?threadgroup\s+({_TYPE})\s+({_NAMES})\s*;")


def _with_threadgroup_variables(text: str) -> str:
    """`threadgroup T x[N];` in a function becomes a reference into the threadgroup's memory.

    Clang refuses variables of a function in an address space. All of them are aligned to 16 bytes at least.
    """
    count = 0

    def references(match: re.Match[str]) -> str:
        nonlocal count
        type_, names = match.groups()
        result = []
        for name, bounds in re.findall(r"(\w+)((?:\s*\[[^\]]*\])*)\s*(?:,|$)", names):
            result.append(f"auto& {name} = msl_variable<{type_}{bounds}>({count});")
            count += 1
        return " ".join(result) + "\n" * match[0].count("\n")

    return THREADGROUP_VARIABLES.sub(references, text)


def _with_vector_constructors(text: str) -> str:
    """`vec<T, N>(a, b)` becomes a call of the shim's msl_make, as clang has no such constructor."""
    for match in reversed(list(re.finditer(r"\b(?:metal::)?vec\s*<", text))):
        end = closing(text, match.end() - 1, "<>") + 1
        if re.match(r"\s*\(", text[end:]):
            text = f"{text[: match.start()]}msl_make<{text[match.start() : end]}>{text[end:]}"
    return text
