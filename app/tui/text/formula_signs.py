"""The signs of formulas: what a macro of LaTeX stands for, and which letters there are as scripts and in alphabets."""

import re
import unicodedata
from functools import cache


def _pairs(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SUPERSCRIPTS = dict(
    zip(
        "0123456789+-=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVWβγδθφχ∘*′⊤",
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂᵝᵞᵟᶿᵠᵡ°*′ᵀ",
        strict=True,
    )
)
SUBSCRIPTS = dict(zip("0123456789+-=()aehijklmnoprstuvxβγρφχ", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ", strict=True))

ACCENTS = {
    name: chr(int(code, 16))
    for name, code in _pairs(
        """hat 302 widehat 302 bar 304 overline 305 tilde 303 widetilde 303 dot 307 ddot 308 vec 20d7 underline 332"""
    ).items()
}
"""Accents as combining characters."""

PRIME = "′"
OPENING = "([{⟨⌊⌈∂∇¬√"
"""Signs that stand close to what follows."""
CLOSING = ")]}⟩⌋⌉"
FACTORS = "(√∑∫∏!∂∇"
"""Signs that multiply what stands before them."""
ROOTS = {"": "√", "2": "√", "3": "∛", "4": "∜"}
SPACES = {",": " ", ":": " ", ";": " ", " ": " ", "quad": "  ", "qquad": "    ", "!": "", "thinspace": " "}

FRACTIONS = _names("frac dfrac tfrac cfrac")
TEXTS = _names("text textrm textup textnormal textit textbf mbox hbox")
UPRIGHT = _names("mathrm operatorname operatorname* mathsf mathtt mathit boxed fbox")
IGNORED = _names(
    """left right middle limits nolimits displaystyle textstyle scriptstyle nonumber notag allowbreak
    big bigl bigr bigm Big Bigl Bigr Bigm bigg biggl biggr biggm Bigg Biggl Biggr Biggm"""
)
"""Macros that change nothing which a terminal could show."""

_ALPHABETS = {
    "mathbb": ("DOUBLE-STRUCK", "MATHEMATICAL DOUBLE-STRUCK"),
    "mathcal": ("SCRIPT", "MATHEMATICAL SCRIPT"),
    "mathscr": ("SCRIPT", "MATHEMATICAL SCRIPT"),
    "mathfrak": ("BLACK-LETTER", "MATHEMATICAL FRAKTUR"),
    "mathbf": ("MATHEMATICAL BOLD",),
    "boldsymbol": ("MATHEMATICAL BOLD",),
    "bm": ("MATHEMATICAL BOLD",),
}
ALPHABETS = frozenset(_ALPHABETS)

_MORE_SIGNS = _pairs(
    r"""iff ⇔ implies ⇒ impliedby ⇐ gets ← degree ° Re ℜ Im ℑ land ∧ lor ∨ lnot ¬ neg ¬ ne ≠ lt < gt > colon :
    dots … dotsc … dotsb ⋯ lbrace { rbrace } backslash \ % % $ $ & & # # _ _ | ‖ vert | Vert ‖ prime ′ intercal ⊺
    triangleq ≜ coloneqq ≔ square □ Box □ blacksquare ■ triangle △ models ⊨ top ⊤ bot ⊥ checkmark ✓ bmod mod"""
) | {name: name for name in _names("cot sec csc lg det dim ker gcd Pr deg arg argmax argmin mod")}


@cache
def signs() -> dict[str, str]:
    """Signs and names of functions by macro: those that pylatexenc knows, and some more."""
    from pylatexenc.latex2text import get_default_latex_context_db

    found: dict[str, str] = {}
    for category in get_default_latex_context_db().d.values():
        for name, spec in category["macros"].items():
            sign = getattr(spec, "simplify_repl", None)
            if isinstance(sign, str) and sign.strip() and "%" not in sign:
                found.setdefault(name, sign)
    return {**found, **_MORE_SIGNS}


def letter(char: str, alphabet: str) -> str | None:
    """A letter or digit in one of the ALPHABETS, None where it has none; what is neither stays as it is."""
    kind = re.match(r"(?:LATIN|GREEK) (?:(CAPITAL|SMALL) )LETTER (\w+)$|(DIGIT) (\w+)$", unicodedata.name(char, ""))
    if kind is None:
        return char
    for name in _ALPHABETS[alphabet]:
        try:
            return unicodedata.lookup(" ".join([name, *filter(None, kind.groups())]))
        except KeyError:
            continue
    return None
