"""Tasks about the letters of a word: count one, count all, spell, reverse, sort."""

from .examples import Draw, Effort, Example, answer, vary_question

COUNT_QUESTIONS = (
    "how many {c}'s are in {w}?", "how many {c}'s are in {w}?", "how many {c}'s are there in {w}?",
    "how many {c} are in {w}?", "how many {c} in {w}?", "how many {c}s are in {w}?", "how many {c}s in {w}?",
    "how many {c}'s in {w}?", "how many times does the letter {c} appear in {w}?", "how many times is {c} in {w}?",
    "how many times does {c} occur in {w}?", "count the {c}'s in {w}.", "count the letter {c} in {w}.",
    "count the number of {c}'s in {w}.", "number of {c}'s in {w}?", "how many letter {c} are in {w}?",
    "how many {c}'s does {w} have?", "how many {c}'s does {w} contain?", "how often does {c} occur in {w}?",
    "{w}: how many {c}'s?", "what is the number of {c}'s in {w}?", "how many letters {c} are there in {w}?",
)  # fmt: skip
LENGTH_QUESTIONS = (
    "how many letters are in {w}?", "how many letters does {w} have?", "how long is the word {w}?",
    "count the letters in {w}.", "count the letters of {w}.", "how many letters are there in {w}?",
    "what is the length of {w}?", "how many characters are in {w}?",
)  # fmt: skip
REVERSE_QUESTIONS = (
    "reverse {w}.", "reverse the letters of {w}.", "spell {w} backwards.", "what is {w} backwards?",
    "write {w} in reverse.", "what is {w} reversed?", "write {w} backwards.", "say {w} backwards.",
)  # fmt: skip
SORT_QUESTIONS = (
    "sort the letters of {w}.", "sort the letters in {w}.", "put the letters of {w} in alphabetical order.",
    "arrange the letters of {w} alphabetically.", "sort {w}.", "sort {w} alphabetically.",
)  # fmt: skip
SPELL_QUESTIONS = (
    "spell {w}.", "how do you spell {w}?", "spell out {w}.", "how is {w} spelled?", "spell {w} letter by letter.",
)  # fmt: skip


def _ask(draw: Draw, questions: tuple[str, ...], word: str, letter: str = "") -> str:
    """A question about a word, which may stand in quotes, in capitals, or after a blank line as piped text does."""
    rng = draw.rng
    case = rng.random()
    written = word.capitalize() if case < 0.12 else word.upper() if case < 0.14 else word
    letter = letter.upper() if draw.chance(0.08) else letter
    if draw.chance(0.05):
        question = rng.choice(questions).format(w="this word", c=letter)
        return vary_question(draw, question).rstrip("\n") + "\n\n" + written + rng.choice(["", "\n"])
    named = rng.choice(["{}", "{}", "{}", '"{}"', "'{}'", "the word {}", 'the word "{}"', "“{}”"]).format(written)
    if named.startswith("the word") and draw.chance(0.1):
        named = named[4:]
    return vary_question(draw, rng.choice(questions).format(w=named, c=letter))


def _how_many(number: int, letter: str) -> str:
    if number == 1:
        return f"There is 1 {letter}"
    return f"There are {number or 'no'} {letter}'s"


def count(draw: Draw, effort: Effort) -> Example:
    """How often a letter occurs; the analysis spells the word, at high effort with a running count."""
    rng = draw.rng
    word = draw.words.draw(rng, draw.test, longest=14 if draw.chance(0.1) else 11)
    letter = rng.choice(word) if draw.chance(0.86) else rng.choice("abcdefghijklmnopqrstuvwxyz")
    if draw.chance(0.35):
        letter = max(sorted(set(word)), key=word.count)
    running, every, hits = 0, [], []
    for char in word:
        running += char == letter
        every.append(f" {char} {running}")
        hits.append(f" {char} {running}" if char == letter else f" {char}")
    if effort == "high":
        analysis = (
            f"Count the letter {letter} in {word}. Spell it and keep a running count:{','.join(every)}. "
            f"The end, total {running}."
        )
    elif effort == "medium":
        analysis = f"Count {letter}:{''.join(hits)}. Total {running}."
    else:
        analysis = " ".join(word) + "."
    return answer(
        "count", _ask(draw, COUNT_QUESTIONS, word, letter), analysis, f'{_how_many(running, letter)} in "{word}".'
    )


def length(draw: Draw, effort: Effort) -> Example:
    """How many letters a word has; the analysis numbers them."""
    word = draw.words.draw(draw.rng, draw.test, longest=12)
    total = len(word)
    if effort == "high":
        numbered = ", ".join(f"{char} {place}" for place, char in enumerate(word, 1))
        analysis = f"Count all the letters of {word}. Number them one by one: {numbered}. The end, total {total}."
    elif effort == "medium":
        analysis = "".join(f" {char} {place}" for place, char in enumerate(word, 1))[1:] + "."
    else:
        analysis = " ".join(word) + "."
    return answer("length", _ask(draw, LENGTH_QUESTIONS, word), analysis, f'"{word}" has {total} letters.')


def reverse(draw: Draw, effort: Effort) -> Example:
    """A word backwards. The answer has dashes, so that it takes one token a letter."""
    word = draw.words.draw(draw.rng, draw.test, longest=9)
    spelt, backwards = " ".join(word), " ".join(reversed(word))
    analysis = {
        "high": f"Reverse the word {word}. First spell it: {spelt}. Now from the last letter to the first: "
        f"{backwards}. Join them with dashes.",
        "medium": f"{spelt}. Reversed: {backwards}.",
        "low": f"{spelt}.",
    }[effort]
    return answer("reverse", _ask(draw, REVERSE_QUESTIONS, word), analysis, "-".join(reversed(word)))


def sort(draw: Draw, effort: Effort) -> Example:
    """The letters in alphabetical order; at high effort by taking the first one out of what is left each time."""
    word = draw.words.draw(draw.rng, draw.test, longest=6)
    spelt, ordered = " ".join(word), sorted(word)
    if effort == "high":
        left, rounds = list(word), []
        for char in ordered:
            rounds.append(f"{' '.join(left)}: {char}")
            left.remove(char)
        analysis = (
            f"Sort the letters of {word}. Take the first one out of what is left: {'; '.join(rounds)}. Join them."
        )
    else:
        analysis = f"{spelt}. Sorted: {' '.join(ordered)}." if effort == "medium" else f"{spelt}."
    return answer("sort", _ask(draw, SORT_QUESTIONS, word), analysis, "-".join(ordered))


def spell(draw: Draw, effort: Effort) -> Example:
    """A word letter by letter."""
    word = draw.words.draw(draw.rng, draw.test, longest=12)
    spelt = " ".join(word)
    analysis = {
        "high": f"Spell the word {word} letter by letter: {spelt}. That is all. Join them with dashes.",
        "medium": f"{spelt}.",
        "low": "Spell it.",
    }[effort]
    return answer("spell", _ask(draw, SPELL_QUESTIONS, word), analysis, "-".join(word))
