"""Tests for the estimate of a text's tokens."""

from mlx_model.tokens import about_tokens
from tests.fixtures import ROOT
from tests.fixtures.vocabulary import o200k


def test_the_estimate_of_tokens_is_near_the_count() -> None:
    chinese = "\u8fd9\u662f\u4e00\u4e2a\u5173\u4e8e\u8bed\u8a00\u6a21\u578b\u7684\u8bf4\u660e\u3002" * 20
    for text, least, most in (
        *(
            ((ROOT / name).read_text("utf-8"), 0.8, 1.25)
            for name in ("README.md", "app/cli/main.py", "LICENSE", "Makefile")
        ),
        (chinese, 0.6, 1.6),
    ):
        assert least < about_tokens(text) / len(o200k().encode(text)) < most, text[:40]
    assert about_tokens("") == 1 and about_tokens("word " * 12345) % 100 == 0
