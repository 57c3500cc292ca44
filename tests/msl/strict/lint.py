"""What clang takes as C++ for OpenCL and Metal refuses, found in the tokens of the kernels' texts.

By the Metal Shading Language Specification: no goto, lambda, recursion or derived class; no constant in a function; a
pointer or reference names its address space. Two more things are refused since none of the judges sees what they are in
Metal: `?:` between address spaces, and C's cast to a vector.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from tests.msl.strict.parts import Objection, Parts

_BANNED = re.compile(r"asm|goto|noexcept|fragment|kernel|vertex|__\w+")
_SPACES = {"constant", "device", "thread", "threadgroup"}
_QUALIFIERS = _SPACES | {"const", "volatile"}
_SPECIFIERS = _QUALIFIERS | {"constexpr", "static", "signed", "unsigned", "typename"}
_VECTOR = re.compile(r"(u?(char|short|int|long)|half|float|bool|bfloat)[234]")
_TYPE = re.compile(
    r"(u?(char|short|int|long)|half|float|bool|bfloat)[234]?|packed_\w+|u?int(8|16|32|64)_t|b?float16_t|auto|size_t|vec|void"
)
_DECLARED_TYPE = re.compile(r"\b(?:struct|class|union|enum(?:\s+class)?|using)\s+(\w+)|\btypedef\b[^;]*?(\w+)\s*;")
_TEMPLATE_TYPE = re.compile(r"\btypename\s+(\w+)")

_STRINGS = re.compile(r'"[^"\n]*"')
_DIRECTIVES = re.compile(r"^[ \t]*#.*", re.M)
_ATTRIBUTES = re.compile(r"\[\[[^\[\]]*\]\]")
_TOKENS = re.compile(r"\n|[A-Za-z_]\w*|\.?\d(?:[eEpP][+-]|[\w.])*|::|->|&&|[^\s\w]")


@dataclass(frozen=True, slots=True)
class _Token:
    """A word or sign. `inside` are the brackets that are open before it: "" outside functions."""

    text: str
    line: int
    inside: str

    @property
    def is_name(self) -> bool:
        return self.text.isidentifier()


_Complaints = Iterator[tuple[int, str]]
"""Lines, counted from 1, and what is wrong in them."""


def refused_by_words(together: Sequence[Parts]) -> list[Objection]:
    """What is found in the tokens of texts that share a header."""
    first = together[0]
    types = _declared_types(first.header)
    found = [Objection(first.name, line, reason) for line, reason in _complaints(first.header, types)]
    for each in together:
        # By their names alone many kernels are others.
        kernel = re.sub(r"\bvoid\s+\w+", "void kernel_function", each.kernel, count=1)
        found += [Objection(each.name, each.line + line - 1, reason) for line, reason in _complaints(kernel, types)]
    return found


def _declared_types(text: str) -> frozenset[str]:
    return frozenset(name for names in _DECLARED_TYPE.findall(text) for name in names if name)


@cache
def _complaints(text: str, types: frozenset[str]) -> tuple[tuple[int, str], ...]:
    names = types | _declared_types(text) | {*_TEMPLATE_TYPE.findall(text)}

    def is_type(token: _Token) -> bool:
        return token.text in names or _TYPE.fullmatch(token.text) is not None

    text = _STRINGS.sub("", text)
    tokens = _tokens(_DIRECTIVES.sub("", text))
    return (
        *_banned(_tokens(text)),
        *_lambdas(tokens),
        *_derived_classes(tokens),
        *_constants(tokens, is_type),
        *_pointers(tokens, is_type),
        *_further_pointers(tokens, is_type),
        *_recursion(tokens),
        *_choices(tokens),
        *_vector_casts(tokens),
    )


def _tokens(text: str) -> list[_Token]:
    """With a sentinel at both ends."""
    tokens, line, inside = [_Token("", 0, "")], 1, ""
    for found in _TOKENS.findall(_ATTRIBUTES.sub("", text)):
        if found == "\n":
            line += 1
            continue
        if found in (")", "]", "}"):
            inside = inside[:-1]
        tokens.append(_Token(found, line, inside))
        if found in ("(", "[", "{"):
            inside += found
    return [*tokens, _Token("", line, "")]


def _banned(tokens: Sequence[_Token]) -> _Complaints:
    for before, token in pairwise(tokens):
        if _BANNED.fullmatch(token.text) or before.text == token.text == "long":
            yield token.line, f"`{token.text}` is not for use in Metal"


def _lambdas(tokens: Sequence[_Token]) -> _Complaints:
    for before, token in pairwise(tokens):
        is_index = before.text in (")", "]") or (before.is_name and before.text != "return")
        if token.text == "[" and not is_index:
            yield token.line, "Metal has no lambdas"


def _derived_classes(tokens: Sequence[_Token]) -> _Complaints:
    for word, name, colon in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if word.text in ("struct", "class") and name.is_name and colon.text == ":":
            yield word.line, "Metal has no derived classes"


def _constants(tokens: Sequence[_Token], is_type: Callable[[_Token], bool]) -> _Complaints:
    """Variables of a function, not pointers, in the constant space."""
    for i, token in enumerate(tokens):
        if not is_type(token) or not token.inside.endswith("{") or not tokens[i + 1].is_name:
            continue
        start = i
        while tokens[start - 1].text in _SPECIFIERS:
            start -= 1
        specifiers = {each.text for each in tokens[start:i]}
        if "constant" in specifiers and "static" not in specifiers:
            yield token.line, "a variable of a function is not `constant`"


def _pointers(tokens: Sequence[_Token], is_type: Callable[[_Token], bool]) -> _Complaints:
    for i, token in enumerate(tokens):
        if not is_type(token):
            continue
        start, end = i, i + 1
        while tokens[start - 1].text in _SPECIFIERS:
            start -= 1
        while tokens[end].text in _QUALIFIERS:
            end += 1
        if _is_array_parameter(tokens, start, end):
            yield from _without_space(tokens[start : end + 2])
        while tokens[end].text in ("*", "&", "&&"):
            yield from _without_space(tokens[start : end + 1])
            start = end = end + 1  # of a pointer to a pointer, what the outer one points to
            while tokens[end].text in _QUALIFIERS:
                end += 1


def _without_space(declaration: Sequence[_Token]) -> _Complaints:
    words = [token.text for token in declaration]
    if not _SPACES & {*words}:
        yield declaration[0].line, f"`{' '.join(words)}` has no address space"


def _is_array_parameter(tokens: Sequence[_Token], start: int, end: int) -> bool:
    """Whether a type is that of `T name[n]` in a function's brackets, which is a pointer, or of `T (&name)[n]`."""
    after = "".join("n" if token.is_name else token.text for token in tokens[end : end + 5])
    is_parameter = tokens[start - 1].text in ("(", ",") and tokens[start].inside == "("
    return (is_parameter and after.startswith("n[")) or after in ("(&n)[", "(*n)[")


def _further_pointers(tokens: Sequence[_Token], is_type: Callable[[_Token], bool]) -> _Complaints:
    """`float a, *b`: the second of two that are declared at once is in no space."""
    for i, (comma, sign, name, after) in enumerate(zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False)):
        is_pointer = comma.text == "," and sign.text in ("*", "&") and name.is_name and after.text in ("=", ";")
        if is_pointer and not comma.inside.endswith(("(", "[")):
            start = i
            while tokens[start - 1].text not in ("", ";", "{", "}") or len(tokens[start - 1].inside) > len(
                comma.inside
            ):
                start -= 1
            while tokens[start].text in _SPECIFIERS:
                start += 1
            if is_type(tokens[start]):
                yield comma.line, f"`{sign.text} {name.text}` has no address space"


def _recursion(tokens: Sequence[_Token]) -> _Complaints:
    """Functions that call themselves, also by way of others, by their names alone."""
    calls: dict[str, set[str]] = {}
    lines: dict[str, int] = {}
    name = caller = ""
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if token.inside:
            if caller and token.is_name and after.text in ("(", "<"):
                calls[caller].add(token.text)
        elif token.is_name and after.text in ("(", "<") and token.text != "template":
            name = token.text
        elif token.text == "{" and before.text == ")":
            caller = name
            calls.setdefault(caller, set())
            lines[caller] = token.line
        elif token.text == "}":
            caller = ""
    try:
        TopologicalSorter(calls).prepare()
    except CycleError as error:
        circle = error.args[1]
        yield lines[circle[0]], f"Metal has no recursion: {' calls '.join(reversed(circle))}"


def _choices(tokens: Sequence[_Token]) -> _Complaints:
    """`?:` with a number of the constant space, and perhaps a variable of another."""
    constants = {
        name.text
        for i, (sign, name) in enumerate(pairwise(tokens))
        if sign.text == "&" and name.is_name and "constant" in {each.text for each in tokens[max(i - 3, 0) : i]}
    }
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if token.text in constants and before.text in ("?", ":") and after.text in (";", ":", ")", ","):
            yield token.line, f"`?:` may be between address spaces: copy `{token.text}` out of the constant one first"


def _vector_casts(tokens: Sequence[_Token]) -> _Complaints:
    """`(int4)v` converts in Metal, and means the same bits to clang: so on the bench."""
    for i, token in enumerate(tokens[:-2]):
        is_cast = (tokens[i - 1].text, tokens[i + 1].text) == ("(", ")") and not tokens[i - 2].is_name
        if _VECTOR.fullmatch(token.text) and is_cast and (tokens[i + 2].is_name or tokens[i + 2].text == "("):
            yield token.line, f"a cast to a vector means two things: write `{token.text}(...)`"
