"""The keys in the headers of code blocks: of the selected message, at their place, where there is space."""

import pytest

from app.tui.text.code_keys import with_key
from app.tui.text.markdown_layout import GrowingLayout

TWO = "```python\none\n```\n\n```a-language-with-a-long-name\ntwo\n```"


@pytest.mark.parametrize(
    ("keys", "first", "width", "headers"),
    [
        (("1", "2"), 0, 40, ["python 1 copy", "a-language-with-a-long-name 2 copy"]),
        (("1", "2"), 1, 40, ["python 2 copy", "a-language-with-a-long-name copy"]),  # a second page
        (("x",), 0, 40, ["python x copy", "a-language-with-a-long-name copy"]),
        (("1", "2"), 0, 35, ["python 1 copy", "a-language-with-a-long-name copy"]),  # no space for a key
    ],
)
def test_each_block_has_its_key(keys: tuple[str, ...], first: int, width: int, headers: list[str]) -> None:
    lines = GrowingLayout(width).extend(TWO)
    shown = [with_key(line, keys, first).plain for line in lines]
    assert [" ".join(line.split()) for line in shown if line.endswith("copy ")] == headers
    assert [len(line) for line in shown] == [len(line) for line in lines]
