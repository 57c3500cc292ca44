"""The system and developer messages that conversations begin with."""

import datetime
import random

from mlx_model.harmony import message, prompt

from .examples import Effort
from .words import Words

INSTRUCTIONS = (
    "You are a helpful assistant.", "Be brief.", "Answer in English.", "Answer briefly.",
    "You are a friendly assistant.", "Keep answers short.", "Answer in German.",
    "Be polite and explain your answers step by step.", "Use Markdown.", "You are a pirate. Talk like one.",
    "Never apologise.", "My name is Sam. I live in Berlin and write Rust.",
)  # fmt: skip


def system_text(effort: Effort, date: str | None, python: bool, browser: bool = False, functions: bool = False) -> str:
    """The system message as the program itself writes it."""
    tools = [name for name, declared in (("browser", browser), ("python", python)) if declared]
    return prompt.system_message(message.Effort(effort), date=date, tools=tools, functions=functions).text


def draw_date(rng: random.Random) -> str | None:
    """A day of 2024 to 2036; sometimes none."""
    if rng.random() < 0.15:
        return None
    return (datetime.date(2024, 1, 1) + datetime.timedelta(days=rng.randrange(4749))).isoformat()


def functions_text(rng: random.Random, words: Words) -> str:
    """A developer's tools section with one or two made-up functions."""
    types = []
    for _ in range(rng.randint(1, 2)):
        verb, noun, field = (words.english(rng) for _ in range(3))
        body = f"(_: {{\n// The {field}.\n{field}: string,\n}})" if rng.random() < 0.7 else "()"
        types.append(f"// Gets the {noun}.\ntype {verb}_{noun} = {body} => any;\n")
    return "# Tools\n\n## functions\n\nnamespace functions {\n\n" + "\n".join(types) + "\n} // namespace functions"


def developer_text(rng: random.Random, words: Words, functions: bool) -> str:
    """A developer message: instructions, which the model need not follow, and functions, which it need not call."""
    if rng.random() < 0.6:
        instructions = rng.choice(INSTRUCTIONS)
    else:
        instructions = " ".join(words.english(rng) for _ in range(rng.randint(3, 40))).capitalize() + "."
    parts = ["# Instructions", instructions] if not functions or rng.random() < 0.5 else []
    return "\n\n".join([*parts, *([functions_text(rng, words)] if functions else [])])
