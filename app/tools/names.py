"""Which tools a person can switch on."""

from mlx_model.errors import RequestError

TOOLS = {
    "python": "runs the model's Python code, in a sandbox without network where there is one",
    "browser": "searches the web and opens pages",
}
"""What can be switched on, and what it does."""


def read_names(text: str) -> tuple[str, ...]:
    """Names with commas or spaces between. Raises RequestError for one that no tool has, or without any."""
    names = tuple(dict.fromkeys(text.replace(",", " ").lower().split()))
    if unknown := [name for name in names if name not in TOOLS]:
        raise RequestError(f"there is no tool {unknown[0][:40]!r}; there is: {', '.join(TOOLS)}")
    if not names:
        raise RequestError(f"name the tools to switch on; there is: {', '.join(TOOLS)}")
    return names
