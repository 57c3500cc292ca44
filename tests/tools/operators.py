"""The small changes that `tests.tools.mutate` makes by itself: each is one plausible slip of a person's."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_COMPARISONS: dict[type[ast.AST], tuple[bytes, bytes]] = {
    ast.Lt: (b"<", b"<="),
    ast.LtE: (b"<=", b"<"),
    ast.Gt: (b">", b">="),
    ast.GtE: (b">=", b">"),
    ast.Eq: (b"==", b"!="),
    ast.NotEq: (b"!=", b"=="),
    ast.Is: (b"is", b"is not"),
    ast.IsNot: (b"is not", b"is"),
    ast.In: (b"in", b"not in"),
    ast.NotIn: (b"not in", b"in"),
}
_ARITHMETIC: dict[type[ast.AST], tuple[bytes, bytes]] = {
    ast.Add: (b"+", b"-"),
    ast.Sub: (b"-", b"+"),
    ast.Mult: (b"*", b"+"),
    ast.Div: (b"/", b"*"),
    ast.FloorDiv: (b"//", b"*"),
    ast.Mod: (b"%", b"//"),
}
_CALLS = {"min": b"max", "max": b"min", "any": b"all", "all": b"any"}


@dataclass(frozen=True, slots=True)
class Change:
    """The bytes from `start` to `end` of a source become `new`."""

    start: int
    end: int
    new: bytes

    def applied(self, source: bytes) -> bytes:
        """The source with the change."""
        return source[: self.start] + self.new + source[self.end :]


def changes(source: bytes, function: str | None = None) -> list[Change]:
    """All changes to a module, or to the functions and classes called `function` in it, that leave it valid Python.

    Annotations, decorators, docstrings, f-strings, what is logged and what is raised stay as they are: a change there
    is seldom a bug.
    """
    tree = ast.parse(source)
    roots: list[ast.AST] = [tree]
    if function is not None:
        named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        roots = [node for node in ast.walk(tree) if isinstance(node, named) and node.name == function]
    found = _Operators(source)
    for root in roots:
        found.visit(root)
    return [change for change in dict.fromkeys(found.changes) if _is_valid(change.applied(source))]


def _is_valid(source: bytes) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True


class _Operators(ast.NodeVisitor):
    def __init__(self, source: bytes) -> None:
        self.changes: list[Change] = []
        self._source = source
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def visit(self, node: ast.AST) -> None:
        """Notes the changes to a node and to what it consists of."""
        if isinstance(node, ast.JoinedStr) or _is_words(node):
            return
        for start, end, new in self._of(node):
            self.changes.append(Change(start, end, new))
        if isinstance(node, ast.Raise):
            return
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    self.visit(child)

    def _span(self, node: Any) -> tuple[int, int]:
        start = self._lines[node.lineno - 1] + node.col_offset
        return start, self._lines[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.AST) -> bytes:
        start, end = self._span(node)
        return self._source[start:end]

    def _of(self, node: ast.AST) -> Iterator[tuple[int, int, bytes]]:
        """What a node itself may become: start, end and new text."""
        yield from self._operators(node)
        yield from self._conditions(node)
        yield from self._values(node)
        yield from self._statements(node)

    def _operators(self, node: ast.AST) -> Iterator[tuple[int, int, bytes]]:
        match node:
            case ast.Compare(left=left, ops=ops, comparators=others):
                for op, (a, b) in zip(ops, pairwise([left, *others]), strict=True):
                    yield from self._between(a, b, *_COMPARISONS[type(op)])
            case ast.BoolOp(op=op, values=values):
                swap = (b"and", b"or") if isinstance(op, ast.And) else (b"or", b"and")
                for a, b in pairwise(values):
                    yield from self._between(a, b, *swap)
            case ast.BinOp(left=a, op=op, right=b) if type(op) in _ARITHMETIC:
                yield from self._between(a, b, *_ARITHMETIC[type(op)])
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                yield *self._span(node), b"(" + self._text(operand) + b")"

    def _conditions(self, node: ast.AST) -> Iterator[tuple[int, int, bytes]]:
        match node:
            case ast.If(test=test) | ast.IfExp(test=test):
                yield *self._span(test), b"True"
                yield *self._span(test), b"False"
            case ast.While(test=test):
                yield *self._span(test), b"False"
            case ast.comprehension(ifs=[*tests]):
                for test in tests:
                    yield *self._span(test), b"True"

    def _values(self, node: ast.AST) -> Iterator[tuple[int, int, bytes]]:
        match node:
            case ast.Constant(value=value):
                for new in _other_constants(value):
                    yield *self._span(node), new
            case ast.Call(func=ast.Name(id=name) as function) if name in _CALLS:
                yield *self._span(function), _CALLS[name]
            case ast.Slice(lower=lower, upper=upper):
                for bound in filter(None, (lower, upper)):
                    yield *self._span(bound), b""

    def _statements(self, node: ast.AST) -> Iterator[tuple[int, int, bytes]]:
        match node:
            case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
                yield *self._span(value), b"None"
            case ast.Continue():
                yield *self._span(node), b"break"
            case ast.Break():
                yield *self._span(node), b"continue"
            case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Delete() | ast.Raise():
                yield *self._span(node), b"pass"
            case ast.Assign(targets=targets) if not any(isinstance(target, ast.Name) for target in targets):
                yield *self._span(node), b"pass"

    def _between(self, a: ast.AST, b: ast.AST, old: bytes, new: bytes) -> Iterator[tuple[int, int, bytes]]:
        """The operator between two operands."""
        start, end = self._span(a)[1], self._span(b)[0]
        at = self._source.find(old, start, end)
        if at >= 0:
            yield at, at + len(old), new


def _other_constants(value: object) -> list[bytes]:
    match value:
        case bool():
            return [str(not value).encode()]
        case int():
            return [str(value + 1).encode(), *([str(value - 1).encode()] if value else [])]
        case float():
            return [repr(value * 2 or 1.0).encode()]
        case str() if value.isidentifier():  # a word that means something to the program, no sentence
            return [b'"other"']
    return []


def _is_words(node: ast.AST) -> bool:
    """Whether it is a docstring, a line of a log, or the name of a type variable."""
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "logging" | "warnings")) | ast.Name(id="TypeVar")):
            return True
    return False
