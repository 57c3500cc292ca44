"""A link shows where it leads, unless its text is just that: no text can pass for another address."""

import pytest

from tests.fixtures.laid_out import lay_out


def shown(source: str) -> str:
    return lay_out(source, 200).plain


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("[bank.com](http://bank.com)", "bank.com"),
        ("[http://bank.com/a?b#c](http://bank.com/a?b#c)", "http://bank.com/a?b#c"),
        ("<https://bank.com/stra\u00dfe>", "https://bank.com/stra\u00dfe"),
        ("see https://bank.com/a.", "see https://bank.com/a."),
        ("[a@bank.com](mailto:a@bank.com)", "a@bank.com"),
        ("https://bank.com@evil.example/x", "https://bank.com@evil.example/x"),  # all of it can be seen
    ],
)
def test_an_address_that_is_its_own_text_stands_there_once(source: str, text: str) -> None:
    assert shown(source) == text


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("bank.com", "http://evil.example/bank.com"),
        ("bank.com", "http://evil.example/?bank.com"),
        ("bank.com", "http://evil.example/#bank.com"),
        ("http://bank.com", "http://evil.example/http://bank.com"),
        ("bank.com", "http://bank.com.evil.example"),
        ("http://bank.com", "http://bank.com@evil.example"),
        ("bank.com", "http://bank.com%2eevil.example"),
        ("bank.com", "https://bank.com"),
        ("bank.com", "//evil.example/bank.com"),
        ("bank.com", "/bank.com"),
        ("bank.com", "?bank.com"),
        ("a@bank.com", "mailto:a@evil.example?to=a@bank.com"),
        ("bank.com", "vscode://bank.com"),
        ("bank.com", "tel:bank.com"),
        ("bank.com", "HTTP://BANK.COM"),
        ("**bank.com**", "http://bank.com.evil.example"),
        ("`bank.com`", "http://bank.com.evil.example"),
        ("", "http://evil.example"),
    ],
)
def test_any_other_link_shows_both(text: str, address: str) -> None:
    words = text.strip("*`")
    assert shown(f"[{text}]({address})") == f"{words} ({address})"
    assert shown(f"[{text}][1]\n\n[1]: {address} '{words}'") == f"{words} ({address})"


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("\u0430pple.com", "xn--pple-43d.com"),  # Cyrillic
        ("bank.com\u2215login.evil.example", "bank.xn--comlogin-0f7d.evil.example"),  # no slash
        ("b\u200bank.com", "xn--bank-v76a.com"),  # an invisible space
    ],
)
def test_a_name_that_imitates_another_shows_the_one_that_is_asked_for(name: str, host: str) -> None:
    assert f"(http://{host})" in shown(f"<http://{name}>")
    assert f"(http://{host})" in shown(f"[{name}](http://{name})")


def test_a_name_with_what_cannot_be_seen_shows_its_address_however_that_is_written() -> None:
    assert "(http://b%E2%80%8Bank.com)" in shown("[b\u200bank.com](http://b%E2%80%8Bank.com)")


@pytest.mark.parametrize("address", ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "file:///etc/x"])
def test_an_address_that_runs_something_is_no_link(address: str) -> None:
    assert shown(f"[bank.com]({address})") == f"[bank.com]({address})"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("![bank.com](http://evil.example/x.png)", "image: bank.com (http://evil.example/x.png)"),
        ("![](http://evil.example/x.png)", "image: (http://evil.example/x.png)"),
        ("[![bank.com](http://bank.com)](http://evil.example)", "(http://evil.example)"),
    ],
)
def test_an_image_shows_its_address(source: str, text: str) -> None:
    assert text in shown(source)
