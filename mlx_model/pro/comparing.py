"""What of an answer can be compared with others: a number, a choice, a short fact, or data, however it is written."""

import json
import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

from metal.files import parse_json

LONGEST = 120
"""Characters of an answer that is compared as it stands; a longer one has to state what it comes to."""
_LONGEST_FACT, _MOST_WORDS = 60, 8
"""Characters and words of a short fact."""
_SHOWN = 40
"""Characters of an answer where votes are counted."""
_TOLERANCE = 1e-6
"""How far two numbers may lie apart, relative to the larger one, unless both are whole."""
_MOST_DIGITS = 300
"""A longer number is compared as text: Python would take its time."""


@dataclass(frozen=True, slots=True)
class Comparable:
    """What an answer comes to. `shown` is how it is written, in short; `unit` is that of a number, if it has a known
    one."""

    value: Fraction | str
    shown: str
    unit: str = ""

    def agrees(self, other: "Comparable") -> bool:
        """Whether both say the same. A number without a unit has that of the other one."""
        if isinstance(self.value, str) or isinstance(other.value, str):
            return self.value == other.value
        if self.unit and other.unit and self.unit != other.unit:
            return False
        if self.value == other.value:
            return True
        if self.value.denominator == other.value.denominator == 1:
            return False
        return abs(self.value - other.value) <= _TOLERANCE * max(abs(self.value), abs(other.value))


def comparable(text: str) -> Comparable | None:
    """What an answer comes to; None for one that can't be compared, such as prose.

    That is what it states at its end ("Answer: 42", a LaTeX box), else an answer of one short line as a whole.
    """
    text = unicodedata.normalize("NFKC", text).strip()
    if (data := _data(text)) is not None:
        return Comparable(data, _short(text))
    stated = _stated(text)
    if stated is None and (len(text) > LONGEST or "\n" in text):
        return None
    return _comparable_line(text if stated is None else stated)


def _data(text: str) -> str | None:
    """JSON in one way of writing, None for anything else. Only objects and lists are data; a number is one."""
    body = re.fullmatch(r"```(?:json)?\n(.*)\n```", text, re.DOTALL)
    try:
        value = parse_json((body[1] if body else text).encode("utf-8", "replace"))
    except ValueError:
        return None
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else None


_ANSWER = re.compile(
    r"(?:.*\W)?(?:answer|antwort|r\u00e9ponse|respuesta|risposta|resposta|\u7b54\u6848|\u7b54\u3048)"
    r"(?:\s+(?:is|ist|est|es|\u00e8|\u00e9)\b\s*:?|\s*[:=\uff1a])\s*(.+)",
    re.IGNORECASE,
)
"""A line that states the answer."""


def _stated(text: str) -> str | None:
    """What an answer says that it comes to, None if it doesn't."""
    if (box := _last_box(text)) is not None:
        return box
    lines = [line for line in text.splitlines() if line.strip(" *_#>-")]
    match = _ANSWER.fullmatch(_unmarked(lines[-1])) if lines else None
    return match[1] if match and len(match[1]) <= LONGEST else None


def _last_box(text: str) -> str | None:
    """What stands in the last \\boxed{...}."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for at in range(start + len("\\boxed"), len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start + len("\\boxed{") : at]
    return None


def _comparable_line(text: str) -> Comparable | None:
    """What a line comes to: the one part of it that is bold counts first."""
    bold = re.findall(r"\*\*(.+?)\*\*", text)
    lines = [_unmarked(part) for part in ([bold[0], text] if len(bold) == 1 else [text])]
    found = (read(line) for line in lines for read in (_choice, _number))
    return next(filter(None, found), None) or _fact(lines[0])


def _unmarked(text: str) -> str:
    """A line without what Markdown and LaTeX put around and into it."""
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf|operatorname)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"\1/\2", text)
    text = re.sub(r"\\[,;!: ]|\\(?:left|right|displaystyle)\b|\\[()\[\]]", "", text)
    text = text.replace("\\times", "\u00d7").replace("\\cdot", "\u00d7").replace("\\%", "%").replace("\\$", "\0")
    text = re.sub(r"\$([^$]+)\$", r"\1", text).replace("\0", "$")
    text = re.sub(r"(\*\*|__|`)", "", text)
    return text.lstrip("#> \t").strip(_AROUND).rstrip(".!:; ").strip(_AROUND)


_AROUND = " \t*_\"'\u201c\u201d"
"""What may stand around a line's words."""
_CHOICE = re.compile(
    r"(?:(?:the )?(?:option|choice|answer)\s+)?(?:\(?([A-Ja-j])\)(?:\s.*)?|([A-J])(?:[.:]\s.*)?)|"
    r"(?:option|choice)\s+([A-Ja-j])\b.*",
    re.IGNORECASE,
)
_YES = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}


def _choice(line: str) -> Comparable | None:
    """A letter that is offered, or yes and no."""
    if match := _CHOICE.fullmatch(line):
        letter: str = next(filter(None, match.groups())).upper()
        return Comparable(f"choice {letter}", letter)
    if (match := re.match(r"([A-Za-z]+)(?=$|[,.;:!\u2014\u2013-])", line)) and match[1].lower() in _YES:
        return Comparable(_YES[match[1].lower()], match[1].capitalize())
    return None


_UNITS = {
    "%": "%", "percent": "%", "$": "$", "usd": "$", "dollar": "$", "dollars": "$", "\u20ac": "\u20ac", "eur": "\u20ac",
    "euro": "\u20ac", "euros": "\u20ac", "\u00a3": "\u00a3", "\u00b0": "\u00b0", "\u00b0c": "\u00b0c",
    "\u00b0f": "\u00b0f", "mm": "mm", "cm": "cm", "m": "m", "metre": "m", "metres": "m", "meter": "m", "meters": "m",
    "km": "km", "mi": "mi", "mile": "mi", "miles": "mi", "mg": "mg", "g": "g", "gram": "g", "grams": "g", "kg": "kg",
    "ms": "ms", "s": "s", "second": "s", "seconds": "s", "min": "min", "minute": "min", "minutes": "min", "h": "h",
    "hour": "h", "hours": "h", "day": "d", "days": "d", "week": "w", "weeks": "w", "year": "y", "years": "y",
    "kb": "kb", "mb": "mb", "gb": "gb", "tb": "tb", "w": "W", "kw": "kW", "kwh": "kWh", "k": "K", "l": "l", "ml": "ml",
}  # fmt: skip
"""Units that tell two numbers apart; other words behind a number are what is counted."""
_DIGITS = r"\d{1,3}(?:[,\u202f '\u2019]\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?"
_NUMBER = re.compile(
    rf"(?<![\w.,/:^-])([-+\u2212]?)\s?([$\u20ac\u00a3]?)\s?({_DIGITS}|\.\d+)"
    rf"(?:\s?(?:\u00d7|x|\*)\s?10\s?\^\s?\{{?([-+\u2212]?\d{{1,3}})\}}?|[eE]([-+]?\d{{1,3}}))?"
    rf"(?:\s?/\s?({_DIGITS}))?(?![\w:/^]*\d)\s?(\u00b0[CFcf]|[%\u20ac$\u00a3\u00b0]|[A-Za-z]+\b(?!['\u2019]))?"
)
_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)


def _number(line: str) -> Comparable | None:
    """The one number of a line, or what an equation comes to."""
    line = line.replace("\\", "")
    if "=" in line and not re.search(r"[,;]\s|\band\b", line):
        line = line.rpartition("=")[2].strip()
    if sum(char.isdigit() for char in line) > _MOST_DIGITS:
        return None
    found = [number for match in _NUMBER.finditer(line) if (number := _read(match)) is not None]
    if any(char.isdigit() for char in _NUMBER.sub("", line)):
        return None  # a date, a time, a version
    if not found:
        return _number_word(line)
    first, *others = found
    return first if all(first.agrees(other) and other.agrees(first) for other in others) else None


def _read(match: re.Match[str]) -> Comparable | None:
    sign, currency, digits, power, exponent, below, unit = match.groups()
    value = _decimal(digits)
    if below is not None:
        if not (divisor := _decimal(below)):
            return None
        value /= divisor
    value *= Fraction(10) ** int((power or exponent or "0").replace("\u2212", "-"))
    known = _UNITS.get((currency or unit or "").lower(), "")
    shown = match[0] if known or not unit else match[0].removesuffix(unit)
    return Comparable(-value if sign in ("-", "\u2212") else value, _short(shown), known)


def _decimal(digits: str) -> Fraction:
    """A number as people write it: "1,234.5", "1 234", "3,14"."""
    if re.fullmatch(r"\d{1,3}(?:[,\u202f '\u2019]\d{3})+(?:\.\d+)?", digits):
        return Fraction(re.sub(r"[,\u202f '\u2019]", "", digits))
    return Fraction(digits.replace(",", "."))


def _number_word(line: str) -> Comparable | None:
    words = [word for word in re.findall(r"[a-z]+", line.lower()) if word in _WORDS]
    said = {word for word in words if word != "one"} or {*words}
    if len(said) != 1 or (said == {"one"} and line.lower() != "one"):  # "the one that ..."
        return None
    word = said.pop()
    return Comparable(Fraction(_WORDS.index(word)), word)


def _fact(line: str) -> Comparable | None:
    """A few words, whatever their capitals, articles, accents and punctuation."""
    if len(line) > _LONGEST_FACT:
        return None
    plain = "".join(char for char in unicodedata.normalize("NFKD", line.casefold()) if not unicodedata.combining(char))
    words = re.sub(r"[^\w%+#]+", " ", plain.replace("'", "").replace("\u2019", "")).split()
    if not words or len(words) > _MOST_WORDS:
        return None
    articles = ("the", "a", "an")
    key = " ".join(word for word in words if word not in articles) or " ".join(words)
    return Comparable(key, _short(line))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}\u2026"
