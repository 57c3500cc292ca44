"""The code blocks that exports and web pages count are those that the screen shows, whatever stands around them."""

import pytest

from app.chat.block_runs import with_outputs
from app.chat.code_blocks import code_blocks
from app.chat.conversation import BlockRun, CallFacts
from app.digests import digest_of
from app.tui.text.markdown_layout import GrowingLayout

CODE = "```python\nprint(1)\n```\n"


@pytest.mark.parametrize(
    "text",
    [
        f"<details>\n<summary>More</summary>\n{CODE}</details>\n\n{CODE}",
        f"<pre>\n{CODE}</pre>\n",
        f"<!-- a\n\n{CODE}-->\n",
        f"| a | b |\n|---|---|\n| 1 | 2 |\n{CODE}",
        "| a |\n|---|\n    code\n",
        f"$$\nx\n```\ny\n$$\n\n{CODE}",
        f"\\[\n    x = 1\n\\]\n\n{CODE}",
        f"$$\na\n\n    b\n$$\n{CODE}",
        f"- a\n  1. b\n\n     {CODE.replace(chr(10), chr(10) + 5 * ' ')}\n> > {CODE}",
        "```py title=x\r\nprint(1)\r\n~~~\n```\n\n\tindented\n\n```",
        "",
    ],
)
def test_the_export_and_the_screen_count_the_same_blocks(text: str) -> None:
    shown = list[tuple[str, str]]()

    def words(language: str, code: str) -> tuple[()]:
        shown.append((language, code.removesuffix("\n")))
        return ()

    GrowingLayout(40, words=words).extend(text)
    assert [(block.language, block.code) for block in code_blocks(text)] == shown


def test_code_below_a_tag_has_its_output_in_the_export() -> None:
    text = f"<details>\n<summary>More</summary>\n{CODE}</details>\n"
    exported, count = with_outputs(text, [BlockRun(1, digest_of("print(1)"), "one", CallFacts())])
    assert count == 1 and "```text\none\n```" in exported
