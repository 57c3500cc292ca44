"""Headers field by field: what is read, what is guessed, and whether it was as the model was trained to write it."""

import re

import pytest

from mlx_model.harmony.header import Header, read_header
from mlx_model.harmony.message import Role

Fields = tuple[str, str | None, str | None, str | None, str | None, str]
"""Role, name, channel, recipient, content type, and the text that is left."""

CLEAN_COMPLETE: dict[str, Fields] = {
    "<|channel|>final": ("assistant", None, "final", None, None, ""),
    "<|channel|>analysis": ("assistant", None, "analysis", None, None, ""),
    "<|channel|>commentary to=functions.f json": ("assistant", None, "commentary", "functions.f", "json", ""),
    "<|channel|>commentary to=functions.f <|constrain|>json": (
        "assistant",
        None,
        "commentary",
        "functions.f",
        "<|constrain|>json",
        "",
    ),
    " to=functions.f<|channel|>commentary": ("assistant", None, "commentary", "functions.f", None, ""),
    " to=functions.f<|channel|>commentary json": ("assistant", None, "commentary", "functions.f", "json", ""),
    " to=functions.f<|channel|>commentary <|constrain|>json": (
        "assistant",
        None,
        "commentary",
        "functions.f",
        "<|constrain|>json",
        "",
    ),
    "<|channel|>commentary to=python yaml": ("assistant", None, "commentary", "python", "yaml", ""),
    "<|channel|>final<|constrain|>json": ("assistant", None, "final", None, "<|constrain|>json", ""),
}
REPAIRED_COMPLETE: dict[str, Fields] = {
    " to=functions.f<|channel|>commentary to=functions.g": ("assistant", None, "commentary", "functions.g", None, ""),
    "<|channel|>final json": ("assistant", None, "final", None, "json", ""),
    "<|channel|>final code": ("assistant", None, "final", None, "code", ""),
    "<|channel|>final yaml": ("assistant", None, "final", None, None, ""),
    "<|channel|>commentary to=python a b": ("assistant", None, "commentary", "python", None, ""),
    "<|channel|>final <|constrain|> json": ("assistant", None, "final", None, "<|constrain|>json", ""),
    "<|channel|>final <|constrain|>json<|constrain|>code": ("assistant", None, "final", None, "<|constrain|>code", ""),
    "<|channel|>final <|constrain|>": ("assistant", None, "final", None, None, ""),
    "<|channel|> final": ("assistant", None, "final", None, None, ""),
    "<|channel|>Final": ("assistant", None, "final", None, None, ""),
    "<|channel|>finally": ("assistant", None, "final", None, None, ""),
    "<|channel|>": ("assistant", None, None, None, None, ""),
    "": ("assistant", None, None, None, None, ""),
    "<|channel|>thoughts": ("assistant", None, "commentary", None, None, ""),
    "<|channel|>analysis<|channel|>final": ("assistant", None, "final", None, None, ""),
    "<|channel|>final<|channel|>thoughts": ("assistant", None, "final", None, None, ""),
    "<|channel|>commentary to=functions.f<|channel|>final": ("assistant", None, "final", "functions.f", None, ""),
    "<|channel|>commentary junk<|channel|>final": ("assistant", None, "final", None, None, ""),
    "<|channel|>commentary to=user": ("assistant", None, "commentary", None, None, ""),
    "<|channel|>commentary to=all": ("assistant", None, "commentary", None, None, ""),
    "<|channel|>commentary to=assistant": ("assistant", None, "commentary", None, None, ""),
    "<|channel|>commentary to=": ("assistant", None, "commentary", None, None, ""),
    "<|channel|>commentary to= functions.f": ("assistant", None, "commentary", "functions.f", None, ""),
    "<|channel|>commentary to=functions.f,": ("assistant", None, "commentary", "functions.f", None, ""),
    "<|channel|>commentary to=,": ("assistant", None, "commentary", None, None, ""),
    "<|channel|>commentary to=functions.a to=functions.b": ("assistant", None, "commentary", "functions.b", None, ""),
    "<|channel|>commentary functions.f": ("assistant", None, "commentary", "functions.f", None, ""),
    "<|channel|>commentary python": ("assistant", None, "commentary", "python", None, ""),
    "<|channel|>commentary browser.open json": ("assistant", None, "commentary", "browser.open", "json", ""),
    "<|channel|>functions.f": ("assistant", None, None, "functions.f", None, ""),
    "<|channel|>to=functions.f": ("assistant", None, None, "functions.f", None, ""),
    "<|channel|>python": ("assistant", None, None, "python", None, ""),
    " to=functions.fcommentary": ("assistant", None, "commentary", "functions.f", None, ""),
    " to=functions.get_commentary": ("assistant", None, None, "functions.get_commentary", None, ""),
    " to=pythonanalysis": ("assistant", None, "analysis", "python", None, ""),
    " final": ("assistant", None, "final", None, None, ""),
    "assistantfinal": ("assistant", None, "final", None, None, ""),
    "assistant": ("assistant", None, None, None, None, ""),
    "assistantassistant<|channel|>final": ("assistant", None, "final", None, None, ""),
    " assistant analysis": ("assistant", None, "analysis", None, None, ""),
    "ok<|channel|>final": ("assistant", None, "final", None, None, ""),
}

CLEAN_COMPLETE_WITH_ROLE: dict[str, Fields] = {
    "assistant<|channel|>final": ("assistant", None, "final", None, None, ""),
    "user": ("user", None, None, None, None, ""),
    "user:bob": ("user", "bob", None, None, None, ""),
    "system": ("system", None, None, None, None, ""),
    "developer": ("developer", None, None, None, None, ""),
    "assistant:a to=functions.f<|channel|>commentary": ("assistant", "a", "commentary", "functions.f", None, ""),
    "functions.f to=assistant<|channel|>commentary": ("tool", "functions.f", "commentary", "assistant", None, ""),
    "python to=assistant<|channel|>analysis": ("tool", "python", "analysis", "assistant", None, ""),
    "mytool to=assistant<|channel|>commentary": ("tool", "mytool", "commentary", "assistant", None, ""),
}
REPAIRED_COMPLETE_WITH_ROLE: dict[str, Fields] = {
    " user": ("user", None, None, None, None, ""),
    "useruser": ("user", None, None, None, None, ""),
    "functions.f<|channel|>commentary": ("tool", "functions.f", "commentary", None, None, ""),
    "python<|channel|>analysis": ("tool", "python", "analysis", None, None, ""),
    "mytool<|channel|>commentary": ("assistant", None, "commentary", None, None, ""),
    "assistant assistant<|channel|>final": ("assistant", None, "final", None, None, ""),
    "assistantfinal": ("assistant", None, "final", None, None, ""),
    "users": ("assistant", None, None, None, None, ""),
    "": ("assistant", None, None, None, None, ""),
}

CUT_OFF: dict[str, Fields] = {
    "": ("assistant", None, None, None, None, ""),
    "Hello there": ("assistant", None, None, None, None, "Hello there"),
    "<|channel|>analysis Hello": ("assistant", None, "analysis", None, None, " Hello"),
    "<|channel|>analysisHello": ("assistant", None, "analysis", None, None, "Hello"),
    "<|channel|>Hello there": ("assistant", None, None, None, None, "Hello there"),
    "<|channel|>anal": ("assistant", None, None, None, None, ""),
    "<|channel|>": ("assistant", None, None, None, None, ""),
    "<|channel|>commentary to=functions.f{}": ("assistant", None, "commentary", "functions.f", None, "{}"),
    "<|channel|>commentary to=functions.f json{}": ("assistant", None, "commentary", "functions.f", "json", "{}"),
    "<|channel|>commentary to=functions.f<|constrain|>json{}": (
        "assistant",
        None,
        "commentary",
        "functions.f",
        "<|constrain|>json",
        "{}",
    ),
    " to=functions.f<|channel|>commentary <|constrain|>json{}": (
        "assistant",
        None,
        "commentary",
        "functions.f",
        "<|constrain|>json",
        " {}",
    ),
    "<|channel|>commentary to=": ("assistant", None, "commentary", None, None, ""),
    "<|channel|>commentary json is text": ("assistant", None, "commentary", None, None, " json is text"),
    "word<|channel|>final": ("assistant", None, "final", None, None, ""),
    "word<|channel|>final more<|channel|>analysis x": ("assistant", None, "analysis", None, None, " x"),
    "<|channel|>final a<|constrain|>b c": ("assistant", None, "final", None, "<|constrain|>b", " a c"),
}

CUT_OFF_WITH_ROLE: dict[str, Fields] = {
    "assistantHello": ("assistant", None, None, None, None, "Hello"),
    "assistant": ("assistant", None, None, None, None, ""),
    "assis": ("assistant", None, None, None, None, ""),
    "user": ("user", None, None, None, None, ""),
    "Hello": ("assistant", None, None, None, None, "Hello"),
    "user hello": ("user", None, None, None, None, " hello"),
    "": ("assistant", None, None, None, None, ""),
}


def read(text: str, role: Role | None, *, complete: bool) -> Header:
    """Reads a header in which no marker is spelt in letters."""
    parts = re.split(r"(<\|channel\|>|<\|constrain\|>)", text)
    return read_header([("", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)], role, complete=complete)


def fields(header: Header) -> Fields:
    return header.role.value, header.name, header.channel, header.recipient, header.content_type, header.rest


@pytest.mark.parametrize("text", CLEAN_COMPLETE)
def test_as_in_training(text: str) -> None:
    header = read(text, Role.ASSISTANT, complete=True)
    assert (fields(header), header.clean, header.complete) == (CLEAN_COMPLETE[text], True, True)


@pytest.mark.parametrize("text", REPAIRED_COMPLETE)
def test_repaired(text: str) -> None:
    header = read(text, Role.ASSISTANT, complete=True)
    assert (fields(header), header.clean) == (REPAIRED_COMPLETE[text], False)


@pytest.mark.parametrize("text", CLEAN_COMPLETE_WITH_ROLE)
def test_with_its_role(text: str) -> None:
    header = read(text, None, complete=True)
    assert (fields(header), header.clean) == (CLEAN_COMPLETE_WITH_ROLE[text], True)


@pytest.mark.parametrize("text", REPAIRED_COMPLETE_WITH_ROLE)
def test_with_its_role_repaired(text: str) -> None:
    header = read(text, None, complete=True)
    assert (fields(header), header.clean) == (REPAIRED_COMPLETE_WITH_ROLE[text], False)


@pytest.mark.parametrize("text", CUT_OFF)
def test_cut_off(text: str) -> None:
    header = read(text, Role.ASSISTANT, complete=False)
    assert (fields(header), header.clean, header.complete) == (CUT_OFF[text], False, False)


@pytest.mark.parametrize("text", CUT_OFF_WITH_ROLE)
def test_cut_off_with_its_role(text: str) -> None:
    header = read(text, None, complete=False)
    assert (fields(header), header.clean) == (CUT_OFF_WITH_ROLE[text], False)


def test_a_type_whose_marker_is_spelt_in_letters() -> None:
    header = read_header(
        [("", ""), ("<|channel|>", "commentary to=python <|constrain|>json")], Role.ASSISTANT, complete=True
    )
    assert fields(header) == ("assistant", None, "commentary", "python", "<|constrain|>json", "")
    assert not header.clean
