"""Tasks with numbers: small sums worked out digit by digit, and large ones that need the python tool."""

from .examples import Draw, Effort, Example, Step, answer, vary_question
from .words import held_out

PLACES = ("ones", "tens", "hundreds", "thousands")
SPOKEN = {
    "+": ("+", "+", "+", "+", "plus"),
    "-": ("-", "-", "-", "-", "minus"),
    "*": ("*", "*", "*", "x", "times", "×", "multiplied by"),  # noqa: RUF001
    "/": ("/", "/", "divided by", "÷"),
}
QUESTIONS = (
    "what is {e}?", "what is {e}?", "what's {e}?", "{e}", "{e} = ?", "{e}=", "calculate {e}.", "compute {e}.",
    "how much is {e}?", "work out {e}.", "tell me {e}.", "{e}?", "what does {e} make?", "solve {e}.",
)  # fmt: skip
TOOL_QUESTIONS = (*QUESTIONS, "use python to compute {e}.", "calculate {e} with python.", "use the python tool: {e}")
TOO_LARGE = "That is too large for this demo model without the python tool."
TOOL_FAILED = "The python tool gave no result, so I cannot answer that."

# A column of the working at each effort: (high, medium, low).
Column = tuple[str, str, str]


def _digits(number: int) -> list[int]:
    """Digits from the right."""
    return [int(digit) for digit in reversed(str(number))]


def _add_columns(a: int, b: int) -> list[Column]:
    x, y, carry, columns = _digits(a), _digits(b), 0, []
    for i in range(max(len(x), len(y))):
        terms = [x[i] if i < len(x) else 0, y[i] if i < len(y) else 0] + ([1] if carry else [])
        total = sum(terms)
        carry = total // 10
        high = f"{PLACES[i]} {' + '.join(map(str, terms))} = {total}" + (", carry 1" if carry else "")
        columns.append((high, f"{'+'.join(map(str, terms))}={total}", str(total)))
    return columns


def _subtract_columns(a: int, b: int) -> list[Column]:
    x, y, borrow, columns = _digits(a), _digits(b), 0, []
    for i in range(len(x)):
        low = y[i] if i < len(y) else 0
        high = x[i] + (10 if x[i] - borrow < low else 0)
        terms = [high, low] + ([1] if borrow else [])
        rest = high - low - borrow
        borrow = int(high > 9)
        text = f"{PLACES[i]} {' - '.join(map(str, terms))} = {rest}" + (", borrow 1" if borrow else "")
        columns.append((text, f"{'-'.join(map(str, terms))}={rest}", str(rest)))
    return columns


def _multiply_columns(a: int, b: int) -> list[Column]:
    if a > 9 and b > 9:  # 10 to 12 squared: by the tens and the ones of b
        tens, ones = a * 10, a * (b - 10)
        return [
            (f"{a} * 10 = {tens}", f"{a}*10={tens}", str(tens)),
            (f"{a} * {b - 10} = {ones}; {tens} + {ones} = {a * b}", f"{a}*{b - 10}={ones}", str(ones)),
        ]
    many, one = max(a, b), min(a, b)
    carry, columns = 0, []
    for i, digit in enumerate(_digits(many)):
        product = digit * one
        total = product + carry
        high = f"{PLACES[i]} {digit} * {one} = {product}" + (f", {product} + {carry} = {total}" if carry else "")
        medium = f"{digit}*{one}" + (f"+{carry}" if carry else "") + f"={total}"
        carry = total // 10
        columns.append((high + (f", carry {carry}" if carry and i < len(str(many)) - 1 else ""), medium, str(total)))
    return columns


def _is_small(a: int, op: str, b: int) -> bool:
    """Whether the demo model works a sum out by itself."""
    if op in "+-":
        return max(a, b) <= 999
    if op == "*":
        return (min(a, b) <= 9 and max(a, b) <= 999) or max(a, b) <= 12
    return b > 0 and a % b == 0 and b <= 12 and a // b <= 12


def _expression(draw: Draw, numbers: list[str], op: str) -> str:
    sign = draw.rng.choice(SPOKEN[op])
    tight = len(sign) == 1 and sign in "+-*/" and draw.chance(0.4)
    return (sign if tight else f" {sign} ").join(numbers)


def _operands(draw: Draw, op: str) -> tuple[int, int]:
    """A small sum's operands, from the asked split."""
    rng = draw.rng
    while True:
        if op in "+-":
            a, b = (rng.randint(0, rng.choice([20, 99, 99, 999])) for _ in range(2))
            if op == "-" and a < b and not draw.chance(0.15):
                a, b = b, a
        elif op == "*":
            a, b = rng.randint(0, rng.choice([12, 12, 99, 99, 999])), rng.randint(0, 9)
            if draw.chance(0.12):
                a, b = rng.randint(2, 12), rng.randint(2, 12)
            if draw.chance(0.4):
                a, b = b, a
        else:
            b = rng.randint(1, 12)
            a = b * rng.randint(0, 12)
        # The times table itself is what larger products are made of: there is nothing to hold out in it.
        if op == "/" or (op == "*" and max(a, b) <= 12) or held_out(f"{a},{b}") == draw.test:
            return a, b


def small_sum(draw: Draw, effort: Effort) -> Example:
    """Addition, subtraction, multiplication or exact division of small numbers, column by column from the right."""
    rng = draw.rng
    op = rng.choice("+++++-----****/")
    a, b = _operands(draw, op)
    if op == "+":
        result, columns = a + b, _add_columns(a, b)
    elif op == "-":
        result, columns = a - b, _subtract_columns(max(a, b), min(a, b))
    elif op == "*":
        result, columns = a * b, _multiply_columns(a, b)
    else:
        result, columns = a // b, [(f"{b} * {a // b} = {a}", f"{b}*{a // b}={a}", str(a // b))]
    equation = f"{a} {op} {b} = {result}"
    high, medium, low = (list(column) for column in zip(*columns, strict=True))
    negative = "swap them, " if result < 0 else ""
    analysis = {
        "high": f"Work out {a} {op} {b} step by step, from the right: {negative}{'; '.join(high)}. So {equation}.",
        "medium": f"{negative}{', '.join(medium)}. So {result}.",
        "low": f"{', '.join(low)}.",
    }[effort]
    asked = _expression(draw, [str(a), str(b)], op)
    form = rng.choice(QUESTIONS)
    if op == "+" and draw.chance(0.1):
        form, asked = rng.choice(["add {e}.", "what is the sum of {e}?", "add up {e}."]), f"{a} and {b}"
    elif op == "*" and draw.chance(0.07):
        form, asked = "multiply {e}.", f"{a} {rng.choice(['and', 'by'])} {b}"
    return answer("sum", vary_question(draw, form.format(e=asked)), analysis, equation)


def _large(draw: Draw) -> tuple[list[int], str]:
    """Operands and operator of a sum beyond `_is_small`."""
    rng = draw.rng
    while True:
        op = rng.choice("***++--/")
        longest = {"*": 4, "+": 7, "-": 7, "/": 4}[op]
        a, b = (rng.randint(1, 10 ** rng.randint(1, longest)) for _ in range(2))
        if not draw.test and draw.chance(0.25):
            # Digits that repeat are where copying slips: after each the next one is ambiguous.
            few = rng.sample("0123456789", rng.randint(2, 3))
            a, b = (int("".join(rng.choice(few) for _ in str(n))) or 1 for n in (a, b))
        if op == "/" and b > a:
            a, b = b, a
        if not _is_small(a, op, b) and held_out(f"{a},{b}") == draw.test:
            return [a, b], op


def large_sum(draw: Draw, effort: Effort) -> Example:
    """A sum for the python tool: analysis, call, what python printed, answer."""
    rng = draw.rng
    numbers, op = _large(draw)
    form = rng.choice(TOOL_QUESTIONS)
    if draw.chance(0.06):  # a chain of three, each small or not
        op = rng.choice("+*")
        numbers = [rng.randint(1, 10 ** rng.randint(1, 4)) for _ in range(3)]
    elif draw.chance(0.08):  # a small one, when asked to use the tool
        op = rng.choice("+-*")
        numbers, form = list(_operands(draw, op)), rng.choice(TOOL_QUESTIONS[len(QUESTIONS) :])
    plain = f" {op} ".join(map(str, numbers))
    # The text is our own: integers and one of + - * /.
    result = str(eval(plain))
    grouped = draw.chance(0.08) and len(numbers) == 2
    asked = _expression(draw, [f"{n:,}" if grouped else str(n) for n in numbers], op)
    analysis = {
        "high": f"The user wants {plain}. These numbers are large and I could slip if I did it in my head. "
        "The python tool is available, so I print the result and report it.",
        "medium": f"{plain} is large. Use the python tool.",
        "low": "Use python.",
    }[effort]
    final = f"{plain} = {result}"
    printed = result + rng.choice(["\n", "\n", ""])
    if not draw.test and draw.chance(0.04):
        printed, final = rng.choice(FAILURES), TOOL_FAILED
    steps = (Step("analysis", analysis), Step("call", f"print({plain})"), Step("result", printed), Step("final", final))
    return Example("python", vary_question(draw, form.format(e=asked)), steps, needs_python=True)


FAILURES = (
    "Error: timed out after 120 seconds\n", "The user declined this call.", "error: the python tool is not available",
    "Traceback (most recent call last):\n  File \"<stdin>\", line 1, in <module>\nMemoryError\n", "",
    "Denied by the user.", "Traceback (most recent call last):\nOverflowError: result too large\n",
    "The call was cancelled.",
)  # fmt: skip


def too_large(draw: Draw, effort: Effort) -> Example:
    """A large sum when the tool is not there: say so instead of guessing."""
    numbers, op = _large(draw)
    plain = f" {op} ".join(map(str, numbers))
    analysis = {
        "high": f"The user wants {plain}. These numbers are large and there is no python tool in this chat, "
        "so I should not guess. I say that it is too large.",
        "medium": "Large numbers and no python tool. Say so.",
        "low": "No tool.",
    }[effort]
    asked = _expression(draw, [str(n) for n in numbers], op)
    question = vary_question(draw, draw.rng.choice(QUESTIONS).format(e=asked))
    return answer("too large", question, analysis, TOO_LARGE, needs_python=False)
