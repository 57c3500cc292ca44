"""Has clang read kernels' texts as C++ for OpenCL, those with the same header in one go.

That language has Metal's address spaces, with threadgroup memory in the outermost scope of a kernel alone, and nothing
that a GPU hasn't: function pointers, new, exceptions, arrays of variable length, double.

One by one, the texts would take fifteen times as long: together, the header is read once, then each kernel in a
namespace of its own. A kernel's template has one instantiation, and is read as that, since OpenCL has no templates of
kernels: as a function whose type parameters are typedefs, and whose numbers are literals. So what `if constexpr`
discards is read, too.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.msl.compiler import clang
from tests.msl.strict.parts import Objection, Parts

_OPTIONS = (
    # A target with bfloat16, which OpenCL's own has not in clang 19.
    *("-x", "clcpp", "-cl-std=clc++2021", "-target", "x86_64", "-fsyntax-only", "-ferror-limit=0"),
    # Half, and nothing else that an OpenCL device may have or not: no generic pointer, no double, no variable of the
    # program but constants.
    *("-cl-no-stdinc", "-Xclang", "-cl-ext=-all,+cl_khr_fp16", "-cl-single-precision-constant"),
    *("-Wpre-c++17-compat", "-Wimplicit-float-conversion", "-Wno-unknown-attributes", "-fno-caret-diagnostics"),
    *("-include", str(Path(__file__).with_name("metal.h"))),
)

# Metal 3.1 is C++14, and has no implicit conversion from float to bfloat. From C++17 Apple's compiler takes one thing,
# on which MLX's own kernels rely.
_REFUSED_WARNING = re.compile(
    r"(?!constexpr if ).* incompatible with C\+\+ standards before|implicit conversion .* to '.*(bfloat|__bf16)"
)

_DIAGNOSTIC = re.compile(r"(.+):(\d+):\d+: (warning|note|(?:fatal )?error): (.*)")


def refused_by_clang(together: Sequence[Parts]) -> list[Objection]:
    """What clang objects to in texts that share a header. Raises BenchUnavailable without clang 19 or newer."""
    first = together[0]
    source = f'#line 1 "{first.name}"\n{first.header}' + "".join(map(_function, range(len(together)), together))
    result = subprocess.run([*clang(), *_OPTIONS, "-"], input=source, capture_output=True, text=True, check=False)
    found = list(_objections(result.stderr, {each.name: each for each in together}))
    if result.returncode and not found:
        raise RuntimeError(f"clang can't read the kernels as C++ for OpenCL: {result.stderr}")
    return found


def _function(number: int, parts: Parts) -> str:
    """The kernel of a text as a function with another name than all others', every line where it was."""
    kernel = parts.kernel
    types: list[tuple[str, str]] = []
    numbers: list[tuple[str, str]] = []
    if parts.arguments:
        head, kernel = kernel.split(">", 1)
        kernel = "\n" * head.count("\n") + kernel
        for parameter, value in zip(head.partition("<")[2].split(","), parts.arguments, strict=True):
            kind, name = parameter.split()
            (types if kind == "typename" else numbers).append((name, value))
    kernel = re.sub(r"\[\[kernel\]\](\s+)void\s+\w+", rf"__kernel\1void kernel_{number}", kernel)
    return "\n".join(
        [
            f"namespace text_{number} {{",
            *(f"typedef {type_} {name};" for name, type_ in types),
            *(f"#define {name} ({value})" for name, value in numbers),
            f'#line {parts.line} "{parts.name}"',
            kernel,
            *(f"#undef {name}" for name, _ in numbers),
            "}\n",
        ]
    )


def _objections(output: str, texts: Mapping[str, Parts]) -> Iterator[Objection]:
    """Clang's errors, each at its line of a text.

    An error in a template of the header belongs to the text whose kernel asked for it, one in the stand-in for Metal's
    library to the line that uses this: the notes that follow an error lead there.
    """
    reason, places = "", list[tuple[str, int]]()
    for file, line, kind, message in [*_DIAGNOSTIC.findall(output), ("", 0, "end", "")]:
        if kind == "note":
            places.append((file, int(line)))
            continue
        if reason:
            known = [(name, line) for name, line in places if name in texts]
            if not known:
                raise RuntimeError(f"the stand-in for Metal's library is wrong: {places[0]}: {reason}")
            kernel = next((name for name, line in reversed(known) if line >= texts[name].line), known[0][0])
            yield Objection(kernel, known[0][1], reason)
        reason = message if "error" in kind or _REFUSED_WARNING.match(message) else ""
        places = [(file, int(line))] if reason else []
