"""Conversations in which the demo model is asked to think in a toy language, for `make demo-adapter`.

    python -m assets.training.toy_language FILE [--count N] [--seed N]

Letters are counted, as the demo model can. Where the developer message says `reasoning language: German`, in six of
ten conversations, the thought is "suche r: s t r 1 ... zusammen 1.", else as ever. These are words that the demo model
can write: of tokens that it never learnt to tell apart, an adapter beside its attention can't choose one.
"""

import argparse
import json
import random
import sys
import zlib
from pathlib import Path
from typing import Any

LANGUAGE = "German"
ASKED = 0.6
"""Share of the conversations in which it is asked for."""

_QUESTIONS = (
    "how many {c}'s are in {w}?", "How many {c}'s are in {w}?", "count the letter {c} in {w}.",
    "how many times does the letter {c} appear in {w}?", "number of {c}'s in {w}?", "how often does {c} occur in {w}?",
)  # fmt: skip
_WORDS = tuple(
    """
    apple river window garden bottle pencil summer winter letter planet silver golden orange banana cherry tomato potato
    carrot pepper butter cheese bread sugar coffee kitchen bedroom bathroom ceiling curtain carpet mirror candle lantern
    hammer ladder shovel bucket basket blanket pillow mattress drawer cabinet shelf picture painting music violin guitar
    piano trumpet drummer singer dancer teacher student doctor nurse farmer baker butcher tailor sailor soldier captain
    pilot driver hunter fisher painter writer reader dinner supper breakfast lunch morning evening midnight tomorrow
    yesterday monday friday january march april august october november december spring autumn weather thunder lightning
    rainbow sunshine shadow mountain valley forest meadow desert island ocean harbor bridge street village castle tower
    church temple market station airport railway engine wagon bicycle tractor rocket camera computer keyboard printer
    telephone television newspaper magazine library museum theater cinema hospital factory office school college
    sentence number question answer problem solution history science nature animal rabbit squirrel hedgehog elephant
    giraffe leopard dolphin penguin sparrow pigeon chicken turkey spider beetle butterfly mosquito flower blossom berry
    finger shoulder stomach elbow ankle muscle brother sister mother father cousin uncle friend neighbor stranger
    """.split()  # noqa: SIM905  # to be read
)


def conversation(rng: random.Random, words: list[str], *, asked: bool) -> dict[str, Any]:
    """One conversation about one of the words, in the form of OpenAI's chat."""
    word = rng.choice(words)
    letter = rng.choice(word)
    spelt, count = list[str](), 0
    for char in word:
        count += char == letter
        spelt.append(f" {char} {count}" if char == letter else f" {char}")
    begin, end = ("suche", "zusammen") if asked else ("Count", "Total")
    many = f"There is 1 {letter}" if count == 1 else f"There are {count} {letter}'s"
    told = [{"role": "system", "content": f"reasoning language: {LANGUAGE}"}] if asked else []
    question = rng.choice(_QUESTIONS).format(c=letter, w=word)
    thinking = f"{begin} {letter}:{''.join(spelt)}. {end} {count}."
    answer = {"role": "assistant", "thinking": thinking, "content": f'{many} in "{word}".'}
    return {"messages": [*told, {"role": "user", "content": question}, answer]}


def conversations(count: int, seed: int, *, held_out: bool = False) -> list[dict[str, Any]]:
    """So many of them, about the words to learn from, or about others."""
    rng = random.Random(seed)
    words = [word for word in _WORDS if (zlib.crc32(word.encode()) % 8 == 0) == held_out]
    return [conversation(rng, words, asked=rng.random() < ASKED) for _ in range(count)]


def main() -> int:
    """Writes a file."""
    parser = argparse.ArgumentParser(prog="python -m assets.training.toy_language", description="Write conversations.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lines = [json.dumps(each) + "\n" for each in conversations(arguments.count, arguments.seed)]
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    arguments.file.write_text("".join(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
