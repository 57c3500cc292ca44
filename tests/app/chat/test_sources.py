"""An answer with its sources outside of the screen: copied, exported, printed."""

import json

from app.chat.conversation import Conversation
from app.chat.sources import source_list, with_numbers, with_sources
from app.store.exchange.export import to_json, to_markdown
from app.tui.parts.sharing import part
from mlx_model.harmony.message import assistant
from mlx_model.tools.citations import Source, cited
from mlx_model.tools.shown_pages import pages_of
from tests.fixtures.browsed import PAGE, browsed, called
from tests.fixtures.laid_out import lay_out
from tests.fixtures.trees import TURN

PAGES = pages_of(browsed())
GUIDE = "https://docs.example.org/guide#top"
TEXT = "So it is【1†L3-L4】, they ask【0†L8】.\n\n```\n【1†L3】\n```"
AS_MARKDOWN = f"""\
So it is[1]({GUIDE}), they ask[2].

```
【1†L3】
```

**Sources**

1. [Metal guide]({GUIDE}), docs.example.org, L3-4
2. Forum, forum.example.net, search result"""


def asked_twice() -> Conversation:
    """The first answer has read what both cite."""
    tree = Conversation()
    first = tree.add_answer(tree.add_prompt("How?", None).id, TURN, [*browsed(), assistant(TEXT)])
    prompt = tree.add_prompt("Sure?", first.id)
    tree.add_answer(
        prompt.id, TURN, [*called("open", "{}", PAGE.replace("[1]", "[4]", 1)), assistant("Yes【0†L8】【4†L3】.")]
    )
    return tree


def test_markdown_has_links_and_a_list() -> None:
    assert with_sources(TEXT, PAGES) == AS_MARKDOWN
    assert with_sources("No sources【9†L1】, [1].", PAGES) == "No sources【9†L1】, [1]."
    assert with_numbers("So it is【1†L3】.", PAGES) == "So it is[1]."


def test_plain_lines_have_the_addresses() -> None:
    assert source_list(cited(TEXT, PAGES)[1]) == (
        f"Sources:\n[1] Metal guide, docs.example.org, L3-4: {GUIDE}\n[2] Forum, forum.example.net, search result"
    )
    untitled = Source(1, "", "https://a.example/", "a.example", "", (), ())
    assert source_list([untitled]) == "Sources:\n[1] a.example: https://a.example/"


def test_a_title_is_no_markup_in_the_list() -> None:
    title = "[x](http://evil.example) **b** `c` <d> $e$ ![f](g)"
    page = PAGE.replace("Metal guide (", f"{title} (", 1)
    shown = lay_out(with_sources("【1†L3】", pages_of(called("open", "{}", page))), 200).plain
    title = title.translate(str.maketrans("[]", "()"))
    assert f"{title} ({GUIDE}), docs.example.org, L3" in shown


def test_an_export_has_the_sources_of_each_answer_and_the_json_what_was_written() -> None:
    tree = asked_twice()
    shown = to_markdown(tree)
    assert AS_MARKDOWN in shown
    assert f"Yes[1][2]({GUIDE})." in shown  # what it cites first has the number 1
    assert f"1. Forum, forum.example.net, search result\n2. [Metal guide]({GUIDE}), docs.example.org, L3" in shown
    assert json.dumps(TEXT)[1:-1] in to_json([tree])
    assert "[1](" not in to_json([tree])


def test_the_last_answer_is_copied_with_its_sources_and_its_code_as_it_is() -> None:
    tree = asked_twice()
    assert part(tree, "").startswith(f"Yes[1][2]({GUIDE}).\n\n**Sources**\n\n1. Forum")
    tree.end_at(tree.path[1].id)
    assert part(tree, "code") == "【1†L3】"
