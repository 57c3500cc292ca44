"""The parameters of a kernel function, and the C function that calls it for one thread."""

import re
from dataclasses import dataclass

from tests.msl.compiler import SOURCE_NAME
from tests.msl.prepass import KERNEL, closing, rewritten, without_comments, without_includes

_SIMDGROUP_WIDTH = "32u"
_THREADS = " * ".join(f"msl_current_threadgroup->threads.{axis}" for axis in "xyz")

# Where each thread attribute of Metal is found.
_ATTRIBUTES = {
    "thread_position_in_grid": "msl_current->position_in_grid",
    "thread_position_in_threadgroup": "msl_current->position_in_threadgroup",
    "thread_index_in_threadgroup": "msl_current->index_in_threadgroup",
    "thread_index_in_simdgroup": "msl_current->lane",
    "thread_index_in_quadgroup": "(msl_current->lane % 4)",
    "simdgroup_index_in_threadgroup": "msl_current->simdgroup_index",
    "quadgroup_index_in_threadgroup": "(msl_current->index_in_threadgroup / 4)",
    "threadgroup_position_in_grid": "msl_current_threadgroup->position_in_grid",
    "threads_per_threadgroup": "msl_current_threadgroup->threads",
    "dispatch_threads_per_threadgroup": "msl_current_threadgroup->dispatched_threads",
    "threads_per_grid": "msl_current_threadgroup->threads_per_grid",
    "grid_size": "msl_current_threadgroup->threads_per_grid",
    "grid_origin": "msl_uint3{0, 0, 0}",
    "threadgroups_per_grid": "msl_current_threadgroup->threadgroups_per_grid",
    "simdgroups_per_threadgroup": "msl_current_threadgroup->simdgroups",
    "dispatch_simdgroups_per_threadgroup": "msl_current_threadgroup->dispatched_simdgroups",
    "quadgroups_per_threadgroup": f"(({_THREADS} + 3) / 4)",
    "dispatch_quadgroups_per_threadgroup": "(msl_current_threadgroup->dispatched_simdgroups * 8)",
    "threads_per_simdgroup": _SIMDGROUP_WIDTH,
    "thread_execution_width": _SIMDGROUP_WIDTH,
}

INSTANTIATION = re.compile(
    r'template\s*\[\[host_name\("[^"]*"\)\]\]\s*\[\[kernel\]\]\s*decltype\((\w+)(<.*?>)\)[^;]*;', re.S
)
"""Of a template of a kernel: its function, and the arguments in their brackets."""

_FUNCTION = re.compile(rf"(?:{KERNEL})\s+void\s+(\w+)\s*\(")


@dataclass(frozen=True, slots=True)
class Program:
    """A kernel as C++: `text` defines msl_entry(void** buffers), with the buffers in the order of `buffers`.

    `lines` are those of the kernel's own text, which findings refer to by number.
    """

    text: str
    buffers: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Of a kernel function: its type, its name, and Metal's attribute, which a buffer may lack."""

    type: str
    name: str
    attribute: str | None


@dataclass(frozen=True, slots=True)
class Function:
    """The kernel function of a text. `arguments` are those of its template, as "<float, 4>", or nothing.

    `body` is the text without the instantiation of the template, every line where it was.
    """

    name: str
    arguments: str
    parameters: tuple[Parameter, ...]
    body: str


def kernel_function(text: str) -> Function:
    """The function of a text with one kernel: a plain one, or a template with its one instantiation (as MLX does)."""
    wanted, arguments = "", ""
    if instantiation := INSTANTIATION.search(text):
        wanted, arguments = instantiation.groups()
        text = text.replace(instantiation[0], "\n" * instantiation[0].count("\n"))
    body = without_includes(without_comments(text))
    found = next((match for match in _FUNCTION.finditer(body) if wanted in ("", match[1])), None)
    if found is None:
        raise ValueError("the text has no kernel function")
    parameters = _split(body[found.end() : closing(body, found.end() - 1, "()")])
    return Function(found[1], arguments, tuple(map(_parameter, parameters)), body)


def program(text: str) -> Program:
    """The C++ for a text with one kernel."""
    function = kernel_function(text)
    numbers: dict[str, int] = {}
    for parameter in function.parameters:
        # A parameter without an attribute is the next buffer.
        if index := re.match(r"buffer\((\d+)\)", parameter.attribute or f"buffer({len(numbers)})"):
            numbers[parameter.name] = int(index[1])
    buffers = tuple(sorted(numbers, key=lambda name: numbers[name]))
    arguments = [
        f"msl_argument{{buffers[{buffers.index(each.name)}]}}"
        if each.name in numbers
        else f"msl_attribute<{each.type}>({_ATTRIBUTES[each.attribute or '']})"
        for each in function.parameters
    ]
    call = f"{function.name}{function.arguments}({', '.join(arguments)});"
    entry = f'extern "C" void msl_entry(void** buffers) {{ {call} }}'
    return Program(
        f'#include <metal_stdlib>\n#line 1 "{SOURCE_NAME}"\n{rewritten(function.body)}\n{entry}\n',
        buffers,
        tuple(text.splitlines()),
    )


def _parameter(text: str) -> Parameter:
    attributes = re.findall(r"\[\[(.*?)\]\]", text, re.S)
    declaration = re.sub(r"\[\[.*?\]\]", "", text, flags=re.S).strip()
    name = re.findall(r"\w+", declaration)[-1]
    return Parameter(declaration[: -len(name)].strip(), name, attributes[-1].strip() if attributes else None)


def _split(parameters: str) -> list[str]:
    """A list split at the commas that stand in no brackets."""
    parts, depth = [""], 0
    for character in parameters:
        depth += (character in "([{<") - (character in ")]}>")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
