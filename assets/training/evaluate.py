"""Print the held-out table of the demo model, answered by this project's engine.

`python -m assets.training.evaluate`
"""

import argparse
import datetime
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mlx_model import Message, Model, Options, Session, load
from mlx_model.events import Finished, MessageEnd
from mlx_model.harmony.message import Effort, Role, assistant, user
from mlx_model.request import Request

from .cases import Case, held_out_cases, printed
from .examples import Example, Step
from .scoring import Reply, call_of, judge, table

LONGEST = 220  # tokens of an answer; the longest expected one has about 120


def _result(step: Step) -> Message:
    """What python printed."""
    return Message(Role.TOOL, step.text, name="python", channel="analysis", recipient="assistant")


def _answered(example: Example) -> list[Message]:
    """A turn of the history: question, call and result if any, answer."""
    messages = [user(example.user)]
    for step in example.steps:
        if step.kind == "call":
            messages.append(
                Message(Role.ASSISTANT, step.text, channel="analysis", recipient="python", content_type="code")
            )
        elif step.kind == "result":
            messages.append(_result(step))
        elif step.kind == "final":
            messages.append(assistant(step.text))
    return messages


class Engine:
    """Asks a model through `mlx_model.Session`, as the program does."""

    def __init__(self, model: Model, temperature: float) -> None:
        self.model = model
        self.temperature = temperature
        self.tokens = 0

    def reply(self, case: Case, seed: int) -> Reply:
        """The answer to a case; when the model calls python, also what it says after the expected result."""
        session = Session(self.model, today=datetime.date.fromisoformat(case.date or "2030-01-01"))
        tools = ("python",) if case.python else ()
        options = Options(effort=Effort(case.effort), temperature=self.temperature, seed=seed, max_tokens=LONGEST)
        messages = [message for example in case.history for message in _answered(example)] + [user(case.example.user)]
        request = Request(messages, options, case.instructions, tools)
        text, produced, analysis_tokens = self._run(session, request)
        result, after = printed(case.example), ""
        if result and call_of(text) is not None:
            after, _, _ = self._run(session, replace(request, messages=(*messages, *produced, _result(result))))
        return Reply(text, after, analysis_tokens)

    def _run(self, session: Session, request: Request) -> tuple[str, list[Message], int]:
        """The sampled text with its markup, the messages it was parsed into, and the tokens of its analysis."""
        produced = []
        for event in session.stream(request):
            if isinstance(event, MessageEnd):
                produced.append(event.message)
            elif isinstance(event, Finished):
                break
        tokenizer = self.model.tokenizer
        assert tokenizer is not None
        self.tokens += len(session.tokens)
        thoughts = [m.text for m in produced if m.channel == "analysis" and m.recipient is None]
        return tokenizer.decode(session.tokens), produced, len(tokenizer.encode("".join(thoughts)))


def evaluate(model: Model, cases: Sequence[Case], temperature: float) -> str:
    """The table of one model at one temperature (0 is greedy)."""
    engine, started = Engine(model, temperature), time.perf_counter()
    verdicts = [judge(case, engine.reply(case, seed)) for seed, case in enumerate(cases)]
    seconds = time.perf_counter() - started
    figures = table(cases, verdicts)
    return f"{figures}\n\n{len(cases)} questions, {engine.tokens:,} tokens in {seconds:.0f} s"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m assets.training.evaluate", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("--model", default="demo", help="demo, or a folder in the Hub's layout")
    parser.add_argument("--temperature", type=float, nargs="*", default=[0.0, 1.0], help="default: greedy, then 1.0")
    parser.add_argument("--share", type=float, default=1.0, help="below 1: a quick sample of the questions")
    options = parser.parse_args()
    model = load(Path(options.model) if Path(options.model).is_dir() else options.model)
    for temperature in options.temperature:
        print(f"\n## {'Greedy' if temperature == 0 else f'Temperature {temperature}'}\n")
        print(evaluate(model, held_out_cases(share=options.share), temperature), flush=True)


if __name__ == "__main__":
    main()
