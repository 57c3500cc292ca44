"""A tool call in words: the line that names it, and the Markdown that has all of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from app.chat.block_runs import LEFT_OUT, state_of
from app.chat.conversation import BlockRun, CallFacts
from app.lines import one_line, took
from app.tui.text.answer_parts import LIVE_TAIL, Part, Running, State
from app.tui.text.pages import MAX_TEXT, left_out
from mlx_model.harmony.calls import read_call
from mlx_model.harmony.message import Message
from mlx_model.harmony.tools import FUNCTIONS
from mlx_model.text import clean, fenced

MAX_LINE = 400
"""Characters of a line: more than a terminal shows, few enough to lay out at once."""
MAX_OUTCOME = 32
MAX_HIGHLIGHTED = 10_000
"""Characters up to which code is highlighted; ten times as many take two seconds of a core."""
ARGUMENTS, RESULT = "arguments", "result"
"""Labels above a code block in place of a language; no language has these names."""
NO_TOOLS = "The tool was not run. /tools says which tools the model may call; ^R answers again."
_WITHOUT_RESULT = {
    State.WAITING: NO_TOOLS,
    State.NOT_RUN: "The answer was cut off before the tool was run.",
    State.CUT_OFF: "The chat ended while the tool ran: it may have done what was asked. It is not run again by itself.",
}
LIVE_LINES = 3
"""Of what a running tool has written, the last so many are shown."""
LONG_LINES, LONG_LINE, PREVIEW_LINES = 16, 80, 4
"""Lines, and their characters, up to which an output stands whole below its code; of a longer one so many of its first
and of its last lines do."""
RUN_CUT_OFF = "The chat ended while this ran. It is not run again by itself."
ENDED, FAILED = "\u2192", "\u2717"
"""Signs before what came of something."""


@dataclass(frozen=True, slots=True)
class CallText:
    """`line` names the tool and its arguments, `outcome` sums up the result, both clean and one line; `reason` is the
    same in full, of a call that has failed.

    `details` is Markdown, clean too: the arguments and the result, each a code block, and what has allowed the call.
    `live` is the end of what the tool has written so far. It has `failed` where its last result says so.
    """

    line: str
    outcome: str
    details: str
    live: str = ""
    failed: bool = False
    reason: str = ""


def describe(part: Part) -> CallText:
    """What to show of a call. Reads its arguments only when they are complete: until then they are no JSON yet."""
    call, result = part.call, "\n".join(message.text for message in part.results)
    blocks = []
    if call is None:
        line = _name(part.messages[0].name)
    elif part.state is State.GROWING:
        line = f"{_name(call.recipient)}  {_in_short(call.text, MAX_LINE)}"
        cut = len(call.text) > LIVE_TAIL
        blocks.append(_block(ARGUMENTS, f"\u2026{call.text[-LIVE_TAIL:]}" if cut else call.text))
    else:
        line, block = _asked(call)
        blocks.append(block)
    live, failed, reason = "", False, ""
    if part.results:
        facts = part.facts[-1] if part.facts else CallFacts()
        outcome, failed = _outcome(result, facts, MAX_OUTCOME), facts.error
        reason = _outcome(result, facts, MAX_LINE) if failed else ""
        blocks += [_block(RESULT, result), *filter(None, [_how(facts)])]
    elif part.running is not None:
        outcome, live = _so_far(part.running), _live(part.running)
    elif part.state in _WITHOUT_RESULT:
        blocks.append(_WITHOUT_RESULT[part.state])
        outcome = "cut off" if part.state is State.CUT_OFF else "not run"
    else:
        outcome = ""
    return CallText(line.rstrip(), outcome, "\n\n".join(blocks), live, failed, reason)


def describe_run(run: BlockRun, running: Running | None, *, opened: bool) -> CallText:
    """What to show of a code block that the person has run: the code itself stands above it.

    An output that is long begins closed, with its first and last lines in sight.
    """
    output = clean(run.output)
    lines = output.count("\n") + 1 if output else 0
    shortened = ", shortened" if LEFT_OUT.search(output) else ""
    line = "output" + (f"  {lines:,} lines{shortened}" if lines > 1 and running is None else "")
    if running is not None:
        return CallText(line, _so_far(running), "", _live(running))
    failed = run.facts is None or run.facts.error
    outcome = f"{FAILED if failed else ENDED} {state_of(run.facts, MAX_OUTCOME)}"
    reason = f"{FAILED} {state_of(run.facts, MAX_LINE)}" if failed else ""
    details = fenced(output[:MAX_TEXT], "text") if output else ""
    if run.facts is None:
        details = f"{details}\n\n{RUN_CUT_OFF}".lstrip()
    preview = "" if opened or not is_long(run) else _preview(output.split("\n"))
    return CallText(line, outcome, details, preview, failed, reason)


def is_long(run: BlockRun) -> bool:
    """Whether an output is too long to stand whole in an answer unasked."""
    return run.output.count("\n") + 1 > LONG_LINES or len(run.output) > LONG_LINES * LONG_LINE


def _preview(lines: Sequence[str]) -> str:
    left_out = len(lines) - 2 * PREVIEW_LINES
    if left_out <= 0:  # a few lines that are long, which the screen cuts
        return "\n".join(line[:MAX_LINE] for line in lines)
    shown = [*lines[:PREVIEW_LINES], f"\u22ee {left_out:,} more lines", *lines[-PREVIEW_LINES:]]
    return "\n".join(line[:MAX_LINE] for line in shown)


def _so_far(running: Running) -> str:
    return "waits for you" if running.is_asked else f"{running.seconds} s \u00b7 Esc stops"


def _live(running: Running) -> str:
    return "\n".join(clean(running.output[-LIVE_TAIL:]).rstrip("\n").split("\n")[-LIVE_LINES:])


def _outcome(result: str, facts: CallFacts, longest: int) -> str:
    """What came of a call, in short: in the tool's own words, else its result."""
    said = _cut(facts.outcome, longest) or _in_short(result, longest) or "nothing"
    return f"{FAILED if facts.error else ENDED} {said}" + (f" \u00b7 {took(facts.seconds)}" if facts.seconds else "")


def _how(facts: CallFacts) -> str:
    """What has allowed a call, as a line of Markdown; "" where it was not run here."""
    allowed = one_line(facts.allowed).replace("`", "'")
    return f"Allowed by `{allowed}`" if allowed else ""


def _asked(call: Message) -> tuple[str, str]:
    """A complete call as a line, `get_weather(city="Paris")` or `python  3 lines`, and as a code block."""
    read = read_call(call)
    assert read is not None
    name = _name(read.name)
    if read.name == "python":
        code = str(read.arguments["code"])
        return f"{name}  {_in_short(code, MAX_LINE)}", _block("python", code)
    if read.error is None:
        try:
            arguments = ", ".join(f"{key}={_json(value)}" for key, value in read.arguments.items())
            block = _block("json", json.dumps(read.arguments, indent=2, ensure_ascii=False))
        except RecursionError:  # JSON can be read deeper than it can be written
            pass
        else:
            return f"{name}({_cut(arguments, MAX_LINE)})", block
    return f"{name}  {_in_short(call.text, MAX_LINE)}", _block(ARGUMENTS, call.text)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _name(full: str | None) -> str:
    """A tool's name without the namespace that all functions have."""
    return _cut((full or "").removeprefix(f"{FUNCTIONS}."), MAX_LINE) or "a tool"


def _in_short(text: str, longest: int) -> str:
    """The text if it is one line, else how many lines it has."""
    text = text.strip()
    lines = text.count("\n") + 1
    return _cut(text, longest) if lines == 1 else f"{lines:,} lines"


def _cut(text: str, longest: int) -> str:
    """The beginning of the text as one clean line."""
    line = one_line(text[: 4 * longest])
    return f"{line[: longest - 1]}\u2026" if len(line) > longest or len(text) > 4 * longest else line


def _block(label: str, text: str) -> str:
    """A code block below a language or label; says how many characters are left out."""
    label = label if len(text) <= MAX_HIGHLIGHTED or label == RESULT else ARGUMENTS
    block, more = fenced(clean(text[:MAX_TEXT]), label), len(text) - MAX_TEXT
    return f"{block}\n\n{left_out(more)}" if more > 0 else block
