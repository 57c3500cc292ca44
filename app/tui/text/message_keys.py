"""What can be done with a message that is selected: its keys, and the line that names them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.style import Style

from app.lines import one_line

GAP = "  "
OFFER = "offer"
"""Marks in the line what a click does."""
_STYLE = "bold $accent"
MAX_NUMBERED = 9
"""Code blocks, or files, that have a key of their own, a digit."""
_LONGEST_NAME = 24

COPY, CODE, EDIT, BRANCH, AGAIN, GO_ON, QUOTE = "copy", "code", "edit", "branch", "again", "continue", "quote"
FILE = "file"
WEB_PAGE, SAVE, RUN, ASK = "web_page", "save", "run", "ask"
DETAILS, PAGE_BACK, PAGE_ON, VERSION_BACK, VERSION_ON = "details", "page_back", "page_on", "version_back", "version_on"
SOURCES = "sources"
PREVIOUS, NEXT, FIRST, LAST, LEAVE = "previous", "next", "first", "last", "leave"

_KEYS = {
    "c": COPY,
    "x": CODE,
    "f": FILE,
    "e": EDIT,
    "b": BRANCH,
    "r": AGAIN,
    "g": GO_ON,
    "q": QUOTE,
    "o enter space": DETAILS,
    "left_square_bracket": PAGE_BACK,
    "right_square_bracket": PAGE_ON,
    "left less_than_sign": VERSION_BACK,
    "right greater_than_sign": VERSION_ON,
    "up k": PREVIOUS,
    "down j": NEXT,
    "home": FIRST,
    "end": LAST,
    "escape": LEAVE,
}
ACTIONS = {key: action for keys, action in _KEYS.items() for key in keys.split()}
"""The keys of a selected message, as Textual names them, and what they do; besides digits (code blocks, files)."""


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """What there is in a message for its keys to act on. `details` is what its details are called, "" for none;
    `files` are the names of those that its calls have written, `runs` the numbers of the code blocks that can be run,
    `outputs` of those that were, and wrote something. The person is `choosing` one of them for this action. While code
    `is_running`, Esc stops that, in whichever message it is."""

    is_prompt: bool
    code_blocks: int = 0
    details: str = ""
    pages: int = 1
    versions: int = 1
    can_go_on: bool = False
    files: tuple[str, ...] = ()
    choosing: str = ""
    runs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    sources: bool = False
    web_page: bool = False
    is_running: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that can be done: what it is called, and its keys, each with its action."""

    word: str
    keys: tuple[tuple[str, str], ...]


MOVE = Offer("move", (("Up", PREVIOUS), ("Down", NEXT)))
BACK = Offer("back", (("Esc", LEAVE),))
"""Goes back to the input."""
STOP = Offer("stop", (("Esc", LEAVE),))
"""The same key stops code that is running, and does no more."""


def code_keys(blocks: int) -> tuple[str, ...]:
    """The keys that copy so many code blocks, one each; the last of many have none."""
    return ("x",) if blocks == 1 else tuple(map(str, range(1, min(blocks, MAX_NUMBERED) + 1)))


def own_keys(facts: MessageFacts) -> Mapping[str, str]:
    """Keys that a message has for what is in it, and what they do; elsewhere they are typed."""
    has = {
        ("s", SOURCES): facts.sources,
        ("p", WEB_PAGE): facts.web_page,
        ("w", SAVE): facts.code_blocks > 0,
        ("exclamation_mark", RUN): bool(facts.runs),
        ("a", ASK): bool(facts.outputs),
    }
    return {key: action for (key, action), there in has.items() if there}


def offers(facts: MessageFacts) -> list[Offer]:
    """What can be done with a message, what matters most first."""
    if facts.choosing in (SAVE, RUN, ASK):
        return _code_choice(facts)
    if facts.choosing:
        names = [one_line(name) for name in facts.files[:MAX_NUMBERED]]
        return [Offer(_shortened(name), ((str(number), f"{FILE} {number}"),)) for number, name in enumerate(names, 1)]
    found = [Offer("copy", (("c", COPY),))]
    found += _code_offers(facts)
    if facts.web_page:
        found.append(Offer("open page", (("p", WEB_PAGE),)))
    if facts.files:
        found.append(Offer("open file", (("f", FILE),)))
    found.append(Offer("edit", (("e", EDIT),)) if facts.is_prompt else Offer("branch", (("b", BRANCH),)))
    if facts.can_go_on:
        found.append(Offer("continue", (("g", GO_ON),)))
    found += [Offer("again", (("r", AGAIN),)), Offer("quote", (("q", QUOTE),))]
    if facts.details:
        found.append(Offer(facts.details, (("o", DETAILS),)))
    if facts.sources:
        found.append(Offer("sources", (("s", SOURCES),)))
    if facts.pages > 1:
        found.append(Offer("page", (("[", PAGE_BACK), ("]", PAGE_ON))))
    if facts.versions > 1:
        found.append(Offer("version", (("<", VERSION_BACK), (">", VERSION_ON))))
    return found


def _code_offers(facts: MessageFacts) -> list[Offer]:
    """What can be done with the code blocks."""
    if not facts.code_blocks:
        return []
    copied = tuple((key, CODE if key == "x" else f"{CODE} {key}") for key in code_keys(facts.code_blocks))
    found = [Offer("code", copied), Offer("save", (("w", SAVE),))]
    found += [Offer("run", (("!", RUN),))] if facts.runs else []
    return [*found, Offer("ask about output", (("a", ASK),))] if facts.outputs else found


def _code_choice(facts: MessageFacts) -> list[Offer]:
    """The code blocks, by their numbers, and the last of them by the key that has asked for one."""
    action = facts.choosing
    key, what = {SAVE: ("w", "save code block"), RUN: ("!", "run code block"), ASK: ("a", "ask about output")}[action]
    blocks = {SAVE: range(1, facts.code_blocks + 1), RUN: facts.runs, ASK: facts.outputs}[action]
    numbered = tuple((str(number), f"{action} {number}") for number in blocks if number <= MAX_NUMBERED)
    return [Offer(what, numbered), Offer("the last", ((key, action),))]


def esc_offer(facts: MessageFacts) -> Offer:
    """What Esc does."""
    return STOP if facts.is_running and not facts.choosing else BACK


def offers_line(found: Sequence[Offer], width: int, *, with_keys: bool, esc: Offer = BACK) -> Content:
    """The offers that fit in `width` columns: what matters least is left out, what `esc` does never is.

    Without keys where those go to the input; either way each has its action as the meta OFFER, for a click.
    """
    texts = [_offer(offer, with_keys=with_keys) for offer in (*found, *([MOVE] if with_keys else []))]
    texts += [Content("other letters type")] if with_keys else []
    last = _offer(esc, with_keys=with_keys)
    shown, room = list[Content](), width - last.cell_length
    for text in texts:
        room -= text.cell_length + len(GAP)
        if room < 0:
            break
        shown.append(text)
    return Content(GAP).join([*shown, last])


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 12]}\u2026{name[-11:]}"


def _offer(offer: Offer, *, with_keys: bool) -> Content:
    """`c copy` or `1 2 3 code`; without keys `copy` or `code 1 2 3`."""
    word = Content(offer.word)
    keys = Content(" ").join([_clicked(key, action) for key, action in offer.keys])
    if len(offer.keys) == 1:
        [(key, action)] = offer.keys
        text = Content(f"{key} {offer.word}").stylize(_STYLE, 0, len(key)) if with_keys else word.stylize(_STYLE)
        return text.stylize(Style.from_meta({OFFER: action}))
    return Content(" ").join([keys, word] if with_keys else [word, keys])


def _clicked(key: str, action: str) -> Content:
    return Content(key).stylize(_STYLE).stylize(Style.from_meta({OFFER: action}))
