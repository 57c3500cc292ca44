"""Grammars of a turn, followed token by token: headers, calls, choices of a tool, the end. No model."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

from mlx_model.errors import RequestError
from mlx_model.generation import grammars
from mlx_model.generation.bound import Bound
from mlx_model.generation.grammars import Grammars, grammars_of
from mlx_model.harmony.grammar import bind
from mlx_model.harmony.tokenizer import Tokenizer
from mlx_model.harmony.tools import FunctionTool
from mlx_model.options import Options
from mlx_model.request import Form, Request
from tests.fixtures import ROOT

VOCAB = 1024
MASKED = Options(top_k=2)  # the mask is used in free text, too
CITY = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]}
WEATHER = FunctionTool("weather", "", {**CITY, "additionalProperties": False}, strict=True)
NOTE = FunctionTool("note", "", {"type": "object", "properties": {"text": {"type": "string"}}}, strict=False)
THOUGHT = ("<|channel|>", "analysis", "<|message|>", "Hm. Markup <|end|> in a text is text.", "<|end|>")
AGAIN = ("<|start|>", "assistant")
ANSWER = ("<|channel|>", "final", "<|message|>", "It is warm.", "<|return|>")
CALL = ("<|channel|>", "commentary", " to=functions.weather", " ", "<|constrain|>", "json", "<|message|>")
ARGUMENTS = ('{"city": "Oslo"}', "<|call|>")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(ROOT / "assets" / "demo")


@pytest.fixture(scope="module")
def known(tokenizer: Tokenizer) -> Grammars:
    return grammars_of(tokenizer, VOCAB)


class Follower:
    """Follows one answer to a request; `takes` says how much of the parts it takes: all, or up to which."""

    def __init__(self, tokenizer: Tokenizer, known: Grammars, options: Options = MASKED, **fields: Any) -> None:
        self.tokenizer = tokenizer
        binding = bind(Request([], **fields), tokenizer, known.compiles)
        assert binding is not None
        self.bound = Bound(binding, known, tokenizer, options)

    def ids(self, *parts: str) -> list[int]:
        special = self.tokenizer.special
        return [
            token for part in parts for token in ([special[part]] if part in special else self.tokenizer.encode(part))
        ]

    def takes(self, *parts: str) -> bool:
        return all(self.bound.accept(token) for token in self.ids(*parts))

    def allowed(self) -> set[str]:
        """The tokens that may come next, spelt."""
        mask = self.bound.mask()
        assert mask is not None
        return {self.tokenizer.decode([token]) for token in np.flatnonzero(np.array(mask)).tolist()}

    def forced(self) -> str:
        return self.tokenizer.decode(self.bound.forced())


@pytest.fixture
def follow(tokenizer: Tokenizer, known: Grammars) -> Any:
    return lambda **fields: Follower(tokenizer, known, **fields)


def test_free_text_is_drawn_from_all_tokens_unless_a_filter_counts_those_allowed(follow: Any) -> None:
    """A filter would count others with the mask than without it."""
    for options in (MASKED, Options(top_p=0.9), Options(min_p=0.1)):
        turn = follow(strict_headers=True, options=options)
        assert turn.takes(*THOUGHT[:3]) and turn.bound.mask() is not None
    for options in (Options(), Options(temperature=0), Options(repetition_penalty=1.2)):
        turn = follow(strict_headers=True, options=options)
        assert turn.bound.mask() is not None
        assert turn.takes(*THOUGHT[:3]) and turn.bound.mask() is None
        assert not turn.takes("<|return|>")
        assert "<|return|>" not in turn.allowed() and "<|end|>" in turn.allowed()
        assert turn.takes("<|end|>") and turn.forced() == "<|start|>assistant<|channel|>"


TO, WHERE = " to=functions.weather", ("<|channel|>", "commentary")


@pytest.mark.parametrize(
    "header",
    [
        (*WHERE, TO, " ", "<|constrain|>", "json"),
        (*WHERE, TO, " json"),
        (*WHERE, TO),
        (TO, *WHERE, " ", "<|constrain|>", "json"),
        ("<|channel|>", "analysis", TO, " json"),
    ],
    ids=" ".join,
)
def test_every_form_of_a_call(follow: Any, header: tuple[str, ...]) -> None:
    """Recipients stand in one of two places, and calls are made on the analysis channel, too."""
    turn = follow(functions=[WEATHER, NOTE], strict_headers=True)
    assert turn.takes(*THOUGHT, *AGAIN, *WHERE, "<|message|>", "I look.", "<|end|>", *AGAIN, *header, "<|message|>")
    assert turn.forced().startswith('{"city')
    assert turn.takes(*ARGUMENTS)


@pytest.mark.parametrize(
    "parts",
    [
        (*WHERE, " to=functions.other"),
        ("<|channel|>", "comment", "<|message|>"),
        ("<|channel|>", "final", TO),
        ("<|channel|>", "final", "<|channel|>"),
        ("It",),
        ("<|message|>",),
        (*THOUGHT, *ANSWER),
        (*THOUGHT[:-1], "<|return|>"),
        (*CALL, '{"city": "Bern"}'),
        (*CALL, '{"city": "Oslo", "more": 1}'),
        (*CALL, *ARGUMENTS[:1], "<|end|>"),
    ],
    ids=" ".join,
)
def test_what_no_header_and_no_call_can_be(follow: Any, parts: tuple[str, ...]) -> None:
    assert not follow(functions=[WEATHER], strict_headers=True).takes(*parts)


def test_builtin_tools_and_functions_that_are_to_be_free_say_what_they_like(follow: Any) -> None:
    for parts in ((" to=python", " code", "<|message|>", "print(1)"), (" to=browser.open", "<|message|>", '{"id": 1}'),
                  (" to=functions.note", " json", "<|message|>", "{no JSON")):  # fmt: skip
        turn = follow(functions=[NOTE], tools=["python", "browser"], strict_headers=True)
        assert turn.takes("<|channel|>", "analysis", *parts, "<|call|>")


def test_a_form_binds_the_final_message_alone(follow: Any) -> None:
    turn = follow(form=Form(CITY), functions=[WEATHER])
    assert turn.takes(*THOUGHT, *AGAIN, "<|channel|>", "final", " ", "<|constrain|>", "json", "<|message|>")
    assert turn.takes('{"city": "Rome"')
    assert "}" in turn.allowed() and "<|return|>" not in turn.allowed()
    assert turn.takes("}")
    assert turn.allowed() == {"<|return|>"}
    assert turn.takes("<|return|>")
    assert turn.allowed() == {"<|endoftext|>"}  # which is never sampled: the answer has ended


def test_the_three_kinds_of_forms(follow: Any) -> None:
    opening = ("<|channel|>", "final", "<|message|>")
    for form, good, bad in (
        (Form({"type": "array", "items": {"type": "integer"}}), "[1, 23]", "[1,23]"),
        (Form(regex=r"\d{2}/[a-z]+\\"), "12/ab\\", "1/ab\\"),
        (
            Form(grammar='start: greeting " " name\ngreeting: "hi" | "good day"\nname: /[A-Z][a-z]+/'),
            "hi Ann",
            "hi ann",
        ),
        (Form(regex="a\nb"), "a\nb", "a b"),
    ):
        assert follow(form=form).takes(*opening, good, "<|return|>")
        assert not follow(form=form).takes(*opening, bad)


def test_no_endless_whitespace(follow: Any) -> None:
    turn = follow(form=Form(CITY))
    assert not turn.takes("<|channel|>", "final", "<|message|>", '{ "city"')


NUMBER = FunctionTool("number", "", {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]})


@pytest.mark.parametrize(
    ("schema", "text", "goes_on"),
    [
        ({"type": "integer"}, "-" + "7" * 20, False),
        ({"type": "number"}, "0." + "3" * 20, False),
        ({}, "1e" + "5" * 20, False),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, "1" * 20, False),
        ({"type": "integer"}, "7" * 19, True),
        ({"type": "number"}, "1" * 20 + ".", True),
        ({"type": "integer", "multipleOf": 10}, "1" * 20, True),
        ({"const": 10**25}, "1" + "0" * 20, True),
        ({"type": "string"}, '"' + "7" * 30, True),
    ],
)
def test_no_endless_number(follow: Any, schema: Any, text: str, goes_on: bool) -> None:
    """Digits may come on only where the schema asks for more, and in strings."""
    turn = follow(form=Form(schema))
    assert turn.takes("<|channel|>", "final", "<|message|>", text)
    allowed = turn.allowed()
    assert allowed and any(token[:1].isdigit() for token in allowed) == goes_on


def test_a_regular_expression_has_as_many_digits_as_it_says(follow: Any) -> None:
    turn = follow(form=Form(regex="[0-9]*"))
    assert turn.takes("<|channel|>", "final", "<|message|>", "7" * 30) and "7" in turn.allowed()


@pytest.mark.parametrize("whole", [False, True], ids=["the call alone", "the whole turn"])
def test_no_endless_number_in_a_call(follow: Any, whole: bool) -> None:
    turn = follow(functions=[NUMBER], strict_headers=whole)
    opening = ("<|channel|>", "commentary", " to=functions.number", " ", "<|constrain|>", "json", "<|message|>")
    assert turn.takes(*opening, '{"n": ' + "7" * 20)
    assert turn.allowed() >= {"}", "."} and "7" not in turn.allowed()
    assert turn.takes(".5}", "<|call|>")


def test_a_call_that_is_required(follow: Any) -> None:
    """No answer, and two thoughts at most: a model that wants to answer goes on thinking instead."""
    turn = follow(functions=[WEATHER, NOTE], tool_choice="required")
    assert turn.takes(*THOUGHT, *AGAIN, *THOUGHT, *AGAIN, *WHERE)
    assert "<|message|>" not in turn.allowed()
    assert not follow(functions=[WEATHER], tool_choice="required").takes("<|channel|>", "final")
    named = follow(functions=[WEATHER, NOTE], tool_choice="note")
    assert not named.takes(*CALL)
    assert follow(functions=[WEATHER], tools=["browser"], tool_choice="browser").takes(*WHERE, " to=browser.find")


def test_the_way_from_a_thought_to_a_call(follow: Any, tokenizer: Tokenizer) -> None:
    opening = {
        choice: tokenizer.decode(follow(functions=[WEATHER, NOTE], tools=["python"], tool_choice=choice).bound.opening)
        for choice in ("weather", "python", "none")
    }
    call = "<|end|><|start|>assistant<|channel|>commentary to="
    assert opening["weather"] == f"{call}functions.weather <|constrain|>json<|message|>"
    assert (opening["python"], opening["none"]) == (f"{call}python<|message|>", "")
    for tools in ((), ("python",)):
        turn = follow(functions=[WEATHER, NOTE], tools=tools, tool_choice="required")
        assert turn.takes(*THOUGHT[:-1]) and all(map(turn.bound.accept, turn.bound.opening))
        to = tokenizer.encode(" to=functions.note")
        begun = next(n for n in range(len(to), 0, -1) if turn.bound.opening[-n:] == to[:n])
        assert 0 < begun < len(to) and all(map(turn.bound.accept, to[begun:]))


def test_no_call_where_none_is_wanted(follow: Any) -> None:
    turn = follow(functions=[WEATHER], tools=["python"], tool_choice="none")
    assert turn.takes(*WHERE)
    assert turn.allowed() == {"<|message|>"}


@pytest.mark.parametrize("choice", ["nothing", "functions.nothing"])
def test_a_choice_that_there_is_not(tokenizer: Tokenizer, choice: str) -> None:
    with pytest.raises(RequestError, match=rf"'{choice}', but there are functions.note, python"):
        bind(Request([], functions=[NOTE], tools=["python"], tool_choice=choice), tokenizer)
    with pytest.raises(RequestError, match="'required', but there are no tools"):
        bind(Request([], tool_choice="required"), tokenizer)


def test_nothing_is_bound_that_nobody_asked_for(tokenizer: Tokenizer) -> None:
    assert bind(Request([], functions=[NOTE], tools=["python"]), tokenizer) is None
    assert bind(Request([], tool_choice="none"), tokenizer) is None


@pytest.mark.parametrize("to", [TO, " to=weather", " to=functions.weather<|channel|>"])
def test_calls_are_bound_behind_headers_of_the_models_own(follow: Any, to: str) -> None:
    """Without strict_headers nothing else is: not the header, not the answer."""
    turn = follow(functions=[WEATHER, NOTE])
    assert turn.bound.mask() is None
    assert turn.takes("<|channel|>", "final", "commentary", to, "<|message|>")
    assert turn.forced().startswith('{"city')
    assert turn.takes(*ARGUMENTS)
    assert turn.bound.mask() is None
    for recipient, text in (("functions.note", "anything"), ("functions", '{"name": "note"}'), ("user", "Hm.")):
        other = follow(functions=[WEATHER, NOTE])
        assert other.takes("<|channel|>", "commentary", f" to={recipient}", "<|message|>", text, "<|call|>")


def test_no_text_ends_inside_a_character(follow: Any, tokenizer: Tokenizer) -> None:
    first = tokenizer.encode("😀")[0]
    assert len(tokenizer.token_bytes(first)) < 4
    for parts in (THOUGHT[:3], ("<|channel|>", "final", "<|message|>", '"')):
        turn = follow(form=Form({"type": "string"}))
        assert turn.takes(*parts) and turn.bound.accept(first)
        mask = np.array(turn.bound.mask())
        assert mask.any() and not mask[[*tokenizer.special.values()]].any() and not mask[tokenizer.encode('"')[0]]


def test_ids_that_no_token_has_are_never_drawn(tokenizer: Tokenizer) -> None:
    wide = Follower(tokenizer, Grammars(tokenizer, VOCAB + 40), strict_headers=True)
    assert wide.takes(*THOUGHT[:3])
    mask = np.array(wide.bound.mask())
    assert mask.shape == (VOCAB + 40,) and mask[:1000].mean() > 0.9 and not mask[VOCAB:].any()


def test_forced_tokens_are_those_of_the_text(follow: Any, tokenizer: Tokenizer) -> None:
    """One by one the model would have been given the same."""
    turn = follow(functions=[WEATHER], tool_choice="weather")
    assert turn.takes(*CALL[:-1])
    ids = turn.ids(*CALL[-1:], *ARGUMENTS)
    at = 0
    while at < len(ids):
        run: Sequence[int] = turn.bound.forced()
        assert list(run) == ids[at : at + len(run)]
        for token in [*run] or [ids[at]]:
            assert turn.bound.accept(token)
            at += 1


REFUSED = [
    (
        Form({"type": "string", "not": {}}),
        "the answer can't be bound: the keyword 'not' can't be enforced; leave it out",
    ),
    (Form({"contains": {}, "uniqueItems": True}), "the keywords 'contains', 'uniqueItems' can't be enforced"),
    (Form({"type": "string", "format": "phone"}), "Unknown format: phone; leave it out"),
    (Form({"oneOf": [{"type": "string"}, {"type": "string"}]}), "oneOf constraints are not supported that overlap"),
    (Form({"$ref": "https://example.org/x.json"}), "https://example.org/x.json"),
    (Form({"type": "string", "pattern": "(?=a)"}), "look-around"),
    (Form({"type": "string", "minLength": 3, "maxLength": 1}), "Unsatisfiable schema: minLength"),
    (Form(regex="[a"), "unclosed character class"),
    (Form(grammar="start: name"), 'unknown name: "name"'),
    (Form({"type": "string", "const": {1}}), "is not JSON"),
]


@pytest.mark.parametrize(("form", "says"), REFUSED, ids=[says[-20:] for _, says in REFUSED])
def test_what_can_not_be_enforced_is_refused_by_name(follow: Any, form: Form, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        follow(form=form)
    assert says in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_functions_schema_is_refused_by_the_functions_name(follow: Any) -> None:
    odd = FunctionTool("odd", "", {"properties": {"a": {"not": {}}}}, strict=True)
    with pytest.raises(
        RequestError, match=r"the arguments of functions\.odd can't be bound: the keyword 'not'"
    ) as caught:
        follow(functions=[odd])
    assert caught.value.about == "functions.odd"


@pytest.mark.parametrize("whole", [False, True])
def test_arguments_that_nobody_insists_on_are_bound_as_far_as_that_goes(follow: Any, whole: bool) -> None:
    """Silently: nothing was asked for."""
    schema = {**CITY, "additionalProperties": False, "not": {"required": ["x"]}}
    loose, remote, nullable = (
        FunctionTool("loose", "", schema),
        FunctionTool("remote", "", {"properties": {"a": {"$ref": "https://example.org/a"}}}),  # it is refused
        FunctionTool("nullable", "", {"properties": {"a": {"type": "string", "nullable": True}}}),  # it may be null
    )
    fields = {"functions": [loose, remote, nullable], "strict_headers": whole}
    channel = ("<|channel|>", "commentary")
    assert follow(**fields).bound.warnings == []
    assert not follow(**fields).takes(*channel, " to=functions.loose", "<|message|>", '{"city": "Bern"}')
    assert follow(**fields).takes(*channel, " to=functions.loose", "<|message|>", *ARGUMENTS)
    for name in ("remote", "nullable"):
        assert follow(**fields).takes(*channel, f" to=functions.{name}", "<|message|>", '{"a": null}', "<|call|>")


def test_calls_that_are_too_much_for_one_grammar_are_free(tokenizer: Tokenizer) -> None:
    functions = [FunctionTool("loose", "", CITY), WEATHER]
    bound = bind(Request([], functions=functions, tool_choice="required"), tokenizer)
    assert bound is not None and bound.bound == {"functions.loose", "functions.weather"}
    free = bind(
        Request([], functions=functions, tool_choice="required"), tokenizer, lambda grammar: grammar != bound.turn
    )
    assert free is not None and free.bound == {"functions.weather"}


def test_a_call_that_can_not_be_followed_any_further_is_free_unless_somebody_insists(
    follow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lost:
        """A matcher whose grammar has become too complex."""

        error = "ParserTooComplex"

        def is_error(self) -> bool:
            return True

        def get_error(self) -> str:
            return self.error

        def unsafe_compute_mask_ptr(self, address: int, size: int) -> None: ...

        def try_consume_tokens(self, ids: list[int]) -> int:
            return 0

    for strict, meets in ((None, "mask"), (None, "token"), (True, "mask"), (True, "token")):
        turn = follow(functions=[FunctionTool("f", "", CITY, strict)])
        assert turn.takes("<|channel|>", "commentary", " to=functions.f", "<|message|>")
        turn.bound._matcher = Lost()
        with pytest.raises(RequestError, match="any further: ParserTooComplex") if strict else nullcontext():
            assert turn.bound.mask() is None if meets == "mask" else turn.takes("anything", "<|call|>")


def test_what_is_left_out_is_warned_of(follow: Any) -> None:
    schema = {"type": "array", "uniqueItems": True, "items": {"type": "string", "maxlength": 3, "x-note": 1}}
    assert follow(form=Form(schema, strict=False)).bound.warnings == [
        "the answer: the keyword 'maxlength' of the schema binds nothing",
        "the answer: the keyword 'uniqueItems' can't be enforced",
    ]


def test_arguments_are_an_object_whatever_the_schema_says(follow: Any) -> None:
    for parameters in (None, {}, {"properties": {}, "additionalProperties": False}):
        turn = follow(functions=[FunctionTool("now", "", parameters, strict=True)], tool_choice="now")
        assert turn.takes("<|channel|>", "commentary", " to=functions.now", "<|message|>")
        assert turn.forced() == "{}<|call|>"


def test_without_the_package_a_line_says_how_to_install_it(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammars, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"needs the package llguidance; install it with: .*gptoss-chat\[schema\]"):
        grammars_of(tokenizer, VOCAB)


def test_grammars_are_compiled_once_and_go_with_their_tokenizer(known: Grammars, tokenizer: Tokenizer) -> None:
    assert grammars_of(tokenizer, VOCAB) is known
    other = Tokenizer.load(ROOT / "assets" / "demo")
    assert grammars_of(other, VOCAB) is not known
    count = len(grammars._of_tokenizer)
    del other
    assert len(grammars._of_tokenizer) == count - 1
    for number in range(grammars._MOST_GRAMMARS + 5):
        known.matcher(json.dumps({"grammars": [{"lark_grammar": f'start: "{number}"'}]}))
    assert len(known._compiled) == grammars._MOST_GRAMMARS
