"""What the first screen says: this computer, what answers here, how to get gpt-oss-20b, what one could ask."""

from dataclasses import dataclass, replace

from app.tui.text.computer import ComputerFacts, ModelFacts
from mlx_model.hub.published import DEFAULT, DEMO, SIZES
from mlx_model.memory.sizes import disk_size, memory_size

PROMISE = "What you write stays on this computer."
THE_DEMO = "A tiny demo model answers here. It is not gpt-oss."
# What the demo can do, and what shows in a minute that the other one thinks.
OF_DEMO = ("How many r's are in strawberry?", "What is 48 * 7?", "What can you do?")
OF_OTHERS = (
    "Explain how a hash table works, with an example in Python.",
    "Which is larger, 9.11 or 9.9? Show why.",
    "Plan three rainy days in Lisbon with two children.",
)


@dataclass(frozen=True, slots=True)
class FirstScreen:
    """The texts of the first screen. `computer` is one line from its longest form to its shortest; "" is not known yet.

    None for `computer`, `note` and `action` is what this screen doesn't have, nor space for it.
    """

    computer: tuple[str, ...] | None = ("",)
    note: str | None = ""
    action: str | None = ""
    suggestions: tuple[str, ...] = ("", "", "")
    promise: str = PROMISE


def first_screen(
    model: str, computer: ComputerFacts | None, *, examined: bool, downloading: bool = False
) -> FirstScreen:
    """For the model that answers, "" before that is known. `computer`: None if not `examined` yet, or in vain.

    `downloading`: a download has been started, and its panel says the rest.
    """
    if not model:
        return FirstScreen()
    if model != DEMO:
        return FirstScreen(None, None, None, OF_OTHERS)
    action = _action(computer.default if computer else ModelFacts(DEFAULT)) if examined and not downloading else ""
    return FirstScreen(_about(computer) if computer else ("",), THE_DEMO, action, OF_DEMO)


def screen_of_server(model: str, server: str) -> FirstScreen:
    """For a model, "" before it is known, on another computer. What this one could hold doesn't matter then."""
    suggestions = OF_DEMO if model == DEMO else OF_OTHERS if model else ("", "", "")
    return FirstScreen(None, None, None, suggestions, f"What you write goes to {server}; tools run here.")


def shared(screen: FirstScreen, url: str) -> FirstScreen:
    """The same where other programs find the model at a URL; "" where they don't."""
    return replace(screen, promise=f"{finds_it(url)}\n{screen.promise}") if url else screen


def finds_it(url: str) -> str:
    """Where other programs find the model."""
    return f"Other programs find the model at {url}"


def _about(computer: ComputerFacts) -> tuple[str, ...]:
    memory = memory_size(computer.memory)
    memory = memory if computer.has_gpu else f"{memory}, no Metal GPU"
    model = computer.default
    slow = "" if computer.has_gpu or not model.dense_bits else ", slowly"
    full, brief = f"{DEFAULT} {model.fit}{slow}", f"{DEFAULT} {'fits' if model.dense_bits else 'does not fit'}{slow}"
    forms = (f"{computer.chip}, {memory}: {full}", f"{memory}: {full}", f"{computer.chip}, {memory}: {brief}")
    return tuple(sorted((*forms, f"{memory}: {brief}", brief), key=len, reverse=True))


def _action(model: ModelFacts) -> str:
    """The next step to gpt-oss-20b, "" where there is none to recommend."""
    if model.verified:
        return f"Use {DEFAULT}"
    if model.complete:
        return f"Verify {DEFAULT}, {disk_size(model.size)} that are here"
    if model.needs and not model.dense_bits:
        return ""
    size = disk_size(SIZES[DEFAULT])
    return f"Resume {DEFAULT}, {disk_size(model.present)} of {size} here" if model.present else f"Get {DEFAULT}, {size}"
