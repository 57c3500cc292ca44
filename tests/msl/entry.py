"""The parameters of a kernel function, and the C function that calls it for one thread."""

import re
from dataclasses import dataclass

from tests.msl.compiler import SOURCE_NAME
from tests.msl.prepass import closing, rewritten

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


@dataclass(frozen=True, slots=True)
class Program:
    """A kernel as C++: `text` defines msl_entry(void** buffers), with the buffers in the order of `buffers`.

    `lines` are those of the kernel's own text, which findings refer to by number.
    """

    text: str
    buffers: tuple[str, ...]
    lines: tuple[str, ...]


def program(text: str) -> Program:
    """The C++ for a text with one kernel: a plain function, or a template with its one instantiation (as MLX does)."""
    template_arguments = ""
    name = r"\w+"
    instantiation = INSTANTIATION.search(text)
    body = text
    if instantiation:
        name, template_arguments = instantiation.groups()
        body = text.replace(instantiation[0], "\n" * instantiation[0].count("\n"))
    body = rewritten(body)
    function = re.search(rf"(?:\[\[kernel\]\]|\bkernel)\s+void\s+({name})\s*\(", body)
    if function is None:
        raise ValueError("the text has no kernel function")
    parameters = _split(body[function.end() : closing(body, function.end() - 1, "()")])
    buffers: dict[int, str] = {}
    arguments = []
    for parameter in parameters:
        # A parameter without an attribute is the next buffer.
        attribute = (re.findall(r"\[\[(.*?)\]\]", parameter, re.S) or [f"buffer({len(buffers)})"])[-1].strip()
        declaration = re.sub(r"\[\[.*?\]\]", "", parameter, flags=re.S).strip()
        variable = re.findall(r"\w+", declaration)[-1]
        type_ = declaration[: -len(variable)].strip()
        if index := re.match(r"buffer\((\d+)\)", attribute):
            buffers[int(index[1])] = variable
            arguments.append(f"msl_argument{{buffers[{index[1]}]}}")
        else:
            arguments.append(f"msl_attribute<{type_}>({_ATTRIBUTES[attribute]})")
    call = f"{function[1]}{template_arguments}({', '.join(arguments)});"
    entry = f'extern "C" void msl_entry(void** buffers) {{ {call} }}'
    return Program(
        f'#include <metal_stdlib>\n#line 1 "{SOURCE_NAME}"\n{body}\n{entry}\n',
        tuple(buffers[i] for i in range(len(buffers))),
        tuple(text.splitlines()),
    )


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
