"""A session over a runner that plays a script: what it asks of the runner, how an answer ends, what is kept of it."""

import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mlx_model import Message, Model, Options, Session, load
from mlx_model.errors import RequestError, TokenizerError
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, PrefillProgress, Stats, TextDelta
from mlx_model.generation import session as session_module
from mlx_model.generation.session import _MOST_DATES
from mlx_model.harmony.message import Effort, Role, assistant, user
from mlx_model.harmony.tools import FunctionTool, ResponseFormat
from mlx_model.request import Request

TODAY = datetime.date(2026, 11, 21)
OPTIONS = Options(temperature=0)
HELLO = user("hello")


@pytest.fixture(scope="module")
def demo() -> Model:
    return load("demo")


class Script:
    """Takes the runner's place: yields the ids of texts with markup, and notes what it is asked for."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.prompts: list[list[int]] = []
        self.boundaries: list[list[int]] = []
        self.settled: list[tuple[list[int], list[int]]] = []
        self.options: list[Options] = []
        self.closed = 0
        self.text, self.reason = "", "stop"
        self.sampled: list[int] | None = None  # in place of the text
        self.draw, self.finish_reason, self.stats = None, "", Stats()

    def steps(
        self, prompt: list[int], options: Options, *, boundaries: Sequence[int], cancelled: Callable[[], bool], **_: Any
    ) -> Iterator[PrefillProgress | int]:
        self.prompts.append(prompt)
        self.options.append(options)
        self.boundaries.append(list(boundaries))
        self.stats = Stats(decode_tokens=len(self.prompts))
        try:
            yield PrefillProgress(len(prompt), len(prompt))
            yield from ids(self.session, self.text) if self.sampled is None else self.sampled
            self.finish_reason = self.reason
        finally:
            self.closed += 1

    def settle(self, ids: list[int], *, boundaries: Sequence[int]) -> Iterator[int]:
        self.settled.append((ids, list(boundaries)))
        yield len(ids)

    def answers(self, text: str, *messages: Message, reason: str = "stop", **fields: Any) -> list[Event]:
        """The events of a request that is answered by these ids."""
        self.text, self.reason = text, reason
        options = fields.pop("options", OPTIONS)
        return list(self.session.stream(Request(messages or [HELLO], options, **fields)))


def ids(session: Session, text: str) -> list[int]:
    """A text whose markup is markup."""
    tokenizer, found = session._tokenizer, list[int]()
    while text:
        name = next((name for name in tokenizer.special if text.startswith(name)), None)
        if name is not None:
            found.append(tokenizer.special[name])
            text = text[len(name) :]
            continue
        plain, mark, rest = text.partition("<|")
        found += tokenizer.encode(plain)
        text = mark + rest
    return found


@pytest.fixture
def script(demo: Model, monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script(Session(demo, today=TODAY))
    monkeypatch.setattr(session_module, "Runner", lambda *_: script)
    return script


def finish(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def ended(events: list[Event]) -> list[Message]:
    return [event.message for event in events if isinstance(event, MessageEnd)]


FINAL = "<|channel|>final<|message|>"
THOUGHT = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant"
CALL = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>"


@pytest.mark.parametrize(
    ("text", "runner", "reason"),
    [
        (f"{THOUGHT}{FINAL}Hi.<|return|>", "stop", "stop"),
        (f"{FINAL}Hi.<|return|>", "stop", "stop"),
        (f"{FINAL}Hi.", "length", "length"),
        (f"{FINAL}Hi.", "cancelled", "cancelled"),
        ("", "length", "length"),
        ("<|channel|>analysis<|message|>hm", "cancelled", "cancelled"),
        (f"{FINAL}<|return|>", "stop", "no_answer"),
        (f"{FINAL} \n<|return|>", "stop", "no_answer"),
        ("<|channel|>analysis<|message|>hm<|return|>", "stop", "no_answer"),
        ("<|channel|>commentary<|message|>I look.<|return|>", "stop", "no_answer"),
        (f"{THOUGHT}{CALL}", "stop", "tool_call"),
        (CALL.removesuffix("<|call|>"), "length", "length"),
        # A call is one however the model closes it, and a text without a tool is none.
        ("<|channel|>commentary to=functions.f<|message|>{}<|return|>", "stop", "tool_call"),
        ("<|channel|>commentary json<|message|>{}<|call|>", "stop", "no_answer"),
        (f"{FINAL}Hi.<|call|>", "stop", "stop"),
        (f"{FINAL}Hi.<|end|><|start|>user<|message|>more", "length", "stop"),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>user<|message|>more", "length", "no_answer"),
    ],
)
def test_how_an_answer_ends(script: Script, text: str, runner: str, reason: str) -> None:
    events = script.answers(text, reason=runner)
    assert finish(events).reason == reason
    assert finish(events).stats.decode_tokens == 1
    assert script.closed == 1
    assert all(event.role == "assistant" for event in events if isinstance(event, MessageStart))


def test_the_runner_is_stopped_where_another_begins_to_speak(script: Script) -> None:
    events = script.answers(f"{FINAL}Hi.<|end|><|start|>user<|message|>more<|end|>{FINAL}x<|return|>")
    assert ended(events) == [assistant("Hi.")]
    text = f"{FINAL}Hi.<|end|><|start|>user<|message|>"
    assert script.session.tokens == ids(script.session, text)


@pytest.mark.parametrize(
    "follows", ["<|end|><|start|>functions.f to=assistant<|message|>42<|end|>", "<|start|>assistant"]
)
def test_the_runner_is_stopped_after_a_call_that_does_not_end_as_one(script: Script, follows: str) -> None:
    """What the model would write next is a result that it makes up. In the history the call is as in training."""
    call = CALL.removesuffix("<|call|>")
    events = script.answers(f"{THOUGHT}{call}{follows}{FINAL}It is 42.<|return|>")
    assert [message.recipient for message in ended(events)] == [None, "functions.f"]
    assert finish(events).reason == "tool_call"
    assert script.closed == 1
    result = Message(Role.TOOL, "7", "functions.f", "commentary", "assistant")
    prompt = told(script, HELLO, *ended(events), result)
    answered = "<|start|>functions.f to=assistant<|channel|>commentary<|message|>7<|end|><|start|>assistant"
    assert prompt.endswith(f" <|constrain|>json<|message|>{{}}<|call|>{answered}")


@pytest.mark.parametrize(("stop", "found"), [(("STOP",), True), (("OP x",), False), ((), False)])
def test_stop_strings(script: Script, stop: tuple[str, ...], found: bool) -> None:
    options = Options(temperature=0, stop=stop)
    events = script.answers(f"{FINAL}one STOP two<|return|>", options=options)
    assert finish(events).reason == ("stop_string" if found else "stop")
    assert ended(events) == [assistant("one " if found else "one STOP two")]
    assert len(script.session.tokens) <= len(ids(script.session, f"{FINAL}one STOP two<|return|>"))


def test_a_stop_string_at_the_very_end(script: Script) -> None:
    """Its beginning waits until the answer is over; it is shown then, or found."""
    options = Options(temperature=0, stop=("two",))
    assert finish(script.answers(f"{FINAL}one two", options=options, reason="length")).reason == "stop_string"
    waiting = script.answers(f"{FINAL}one tw", options=options, reason="length")
    assert finish(waiting).reason == "length"
    assert "".join(event.text for event in waiting if isinstance(event, TextDelta)) == "one tw"


def test_tokens_are_those_of_the_last_answer(script: Script) -> None:
    for text in (f"{FINAL}one<|return|>", f"{FINAL}two<|return|>"):
        script.answers(text)
        assert script.session.tokens == ids(script.session, text)


def test_boundaries_are_where_messages_start(script: Script) -> None:
    script.answers(f"{FINAL}x<|return|>", HELLO, assistant("Hi."), user("and?"), instructions="Be brief.")
    ((prompt,), (boundaries,)) = script.prompts, script.boundaries
    start = script.session._start
    assert boundaries == [at for at, token in enumerate(prompt) if token == start]
    assert (len(boundaries), boundaries[0]) == (6, 0)
    assert script.options == [OPTIONS]


# What the model is told


def told(script: Script, *messages: Message, **fields: Any) -> str:
    options = fields.pop("options", OPTIONS)
    return script.session._tokenizer.decode(script.session.prompt(Request(messages or [HELLO], options, **fields)))


@pytest.mark.parametrize("effort", list(Effort))
def test_the_system_message(script: Script, effort: Effort) -> None:
    text = told(script, options=Options(effort=effort))
    assert text.startswith("<|start|>system<|message|>You are ChatGPT")
    assert f"Current date: 2026-11-21\n\nReasoning: {effort}\n\n# Valid channels" in text
    assert "developer" not in text
    assert "functions" not in text


@pytest.mark.parametrize("instructions", [None, ""])
def test_without_anything_to_say_there_is_no_developer_message(script: Script, instructions: str | None) -> None:
    assert "developer" not in told(script, instructions=instructions)


def test_a_response_format_and_tools_are_told(script: Script) -> None:
    form = ResponseFormat("answer", {"type": "object"})
    assert "<|start|>developer<|message|># Response Formats\n\n## answer" in told(script, response_format=form)
    assert "# Instructions" not in told(script, response_format=form)
    with_function = told(script, functions=[FunctionTool("f")])
    assert "channel: 'functions'." in with_function
    assert "type f = () => any;" in with_function
    assert "## python" in told(script, tools=["python"])


@pytest.mark.parametrize("messages", [[], [user("")], [user(" \n\t")], [HELLO, assistant("Hi."), user("")]])
def test_nothing_to_answer(script: Script, messages: list[Message]) -> None:
    with pytest.raises(RequestError, match="the prompt is empty"):
        script.session.prompt(Request(messages, OPTIONS))
    assert not script.prompts


@pytest.mark.parametrize("last", [assistant(""), assistant("", "analysis"), Message(Role.TOOL, "", "functions.f")])
def test_an_empty_message_of_anybody_else_may_be_answered(script: Script, last: Message) -> None:
    assert told(script, HELLO, last)


def test_a_model_without_a_tokenizer_has_no_sessions(demo: Model) -> None:
    with pytest.raises(TokenizerError, match=r"has no tokenizer\.json; without it the model works on token ids only"):
        Session(replace(demo, tokenizer=None))


# Several turns


class Calendar(datetime.date):
    now = TODAY

    @classmethod
    def today(cls) -> "Calendar":
        return cls(cls.now.year, cls.now.month, cls.now.day)


@pytest.fixture
def dated(demo: Model, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The date that a prompt states on a day of November, in a session that is never told one."""
    monkeypatch.setattr(datetime, "date", Calendar)
    session = Session(demo)

    def date(day: int, *messages: Message) -> str:
        monkeypatch.setattr(Calendar, "now", datetime.date(2026, 11, day))
        text = session._tokenizer.decode(session.prompt(Request(messages, OPTIONS)))
        return text.partition("Current date: ")[2].partition("\n")[0]

    return date


def test_a_chat_keeps_its_first_date_over_midnights(dated: Callable[..., str]) -> None:
    turns = [HELLO]
    assert dated(1, *turns) == "2026-11-01"
    for day in (1, 2, 3, 9):
        turns += [assistant("Hi."), user(f"turn {day}")]
        assert dated(day, *turns) == "2026-11-01"
    # A second answer to its first prompt is one of today.
    assert dated(9, HELLO) == "2026-11-09"
    assert dated(10, HELLO, assistant("Hi."), user("turn")) == "2026-11-09"


def test_the_dates_of_the_newest_chats_are_kept(dated: Callable[..., str]) -> None:
    first = [HELLO, assistant("Hi."), user("turn")]
    dated(1, HELLO)
    for number in range(_MOST_DATES - 1):
        dated(1, user(f"another {number}"))
    assert dated(2, *first) == "2026-11-01"
    dated(2, user("one more"))
    assert dated(2, user("another 0"), *first[1:]) == "2026-11-01"
    assert dated(2, *first) == "2026-11-02"


def letters(session: Session, word: str) -> list[int]:
    """A word as the model seldom spells it."""
    return [token for letter in word for token in session._tokenizer.encode(letter)]


def contains(prompt: list[int], part: list[int]) -> bool:
    return any(prompt[at : at + len(part)] == part for at in range(len(prompt)))


def test_every_turn_stands_in_the_prompt_as_it_was_sampled(script: Script) -> None:
    """Also after a turn that was cut off, and in what is settled."""
    session, messages = script.session, list[Message]()
    words = ["Hello there", "Good morning", "Welcome back", "Farewell then"]
    for turn, word in enumerate(words):
        header, spelt = ids(session, FINAL), letters(session, word)
        assert spelt != session._tokenizer.encode(word)
        end = [] if turn == 1 else ids(session, "<|return|>")
        script.sampled, script.reason = [*header, *spelt, *end], "stop" if end else "length"
        messages.append(user(word))
        messages += ended(list(session.stream(Request(messages, OPTIONS))))
    prompt = session.prompt(Request([*messages, user("bye")], OPTIONS))
    assert all(contains(prompt, letters(session, word)) for word in words)
    list(session.settle(Request(messages[:-1], OPTIONS), messages[-1:]))
    ((settled, boundaries),) = script.settled
    assert settled == prompt[: len(settled)]
    assert boundaries == [at for at, token in enumerate(settled) if token == session._start]
    assert all(contains(settled, letters(session, word)) for word in words)


def test_what_is_settled_is_the_beginning_of_the_next_prompt(script: Script) -> None:
    thought, said = assistant("hm", "analysis"), assistant("Hi.")
    later = [HELLO, thought, said, user("and?")]
    for before, cut in (([HELLO], None), (later, None), ([HELLO], assistant("H")), (later, assistant("H"))):
        request = Request([*before, *([cut] if cut else [])], OPTIONS, "Be brief.")
        list(script.session.settle(request, [thought, said]))
        settled, _ = script.settled[-1]
        following = Request([*before, thought, said, user("next")], OPTIONS, "Be brief.")
        prompt = script.session.prompt(following)
        assert settled == prompt[: len(settled)]
        rest = script.session._tokenizer.decode(prompt[len(settled) :])
        assert rest == "<|start|>user<|message|>next<|end|><|start|>assistant"


@pytest.mark.parametrize("channel", ["final", "analysis", "commentary"])
def test_going_on_inside_a_message(script: Script, channel: str) -> None:
    """The prompt ends where the message does; the events go on with it, and end with the whole."""
    begun = assistant("There ", channel)
    events = script.answers("are 3.<|end|>", HELLO, begun)
    prompt = script.session._tokenizer.decode(script.prompts[0])
    question = "<|start|>user<|message|>hello<|end|>"
    assert prompt.endswith(f"{question}<|start|>assistant<|channel|>{channel}<|message|>There ")
    shown = [event for event in events if not isinstance(event, PrefillProgress | Finished)]
    assert isinstance(shown[0], TextDelta)
    assert not any(isinstance(event, MessageStart) for event in shown)
    assert ended(events) == [assistant("There are 3.", channel)]
    assert finish(events).reason == ("stop" if channel == "final" else "no_answer")


def test_an_answer_of_an_earlier_turn_is_none_to_this_one(script: Script) -> None:
    turns = [HELLO, assistant("Hi."), user("and?")]
    events = script.answers("<|end|><|return|>", *turns, assistant("hm", "analysis"))
    assert finish(events).reason == "no_answer"
    assert ended(events) == [assistant("hm", "analysis")]
    assert finish(script.answers("<|channel|>analysis<|message|>hm<|return|>", *turns)).reason == "no_answer"


def test_stop_strings_are_looked_for_behind_what_stood_there(script: Script) -> None:
    options = Options(temperature=0, stop=("are",))
    events = script.answers("are 3.<|end|>", HELLO, assistant("There are some: "), options=options)
    assert finish(events).reason == "stop_string"
    assert ended(events) == [assistant("There are some: ")]
