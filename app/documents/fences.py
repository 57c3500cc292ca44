"""Text in a Markdown code block that nothing in the text can end."""

import re


def fenced(text: str, label: str = "") -> str:
    """`text` between fences that are longer than any run of backticks in it; `label` is the language, if any."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{label}\n{text}\n{fence}"
