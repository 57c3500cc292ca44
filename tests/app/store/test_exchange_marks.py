"""Sources in ChatGPT's answers: private-use marks and brackets become their names, or vanish."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store.exchange.marks import without_marks
from tests.fixtures.exports import imported, turns

CITE = "\ue200cite\ue202turn0search3\ue202turn0search8\ue201"
ENTITY = '\ue200entity\ue202["people","Ada Example",0]\ue201'
ALL = re.compile("[\ue200-\ue206]")


def reference(mark: str, **more: object) -> dict[str, Any]:
    """An element of `content_references`."""
    return {"matched_text": mark, "type": "grouped_webpages", **more}


@pytest.mark.parametrize(
    ("text", "references", "shown"),
    [
        (f"Old {CITE}, yes.", [reference(CITE, alt="([E](https://e.org))")], "Old ([E](https://e.org)), yes."),
        (f"Old {CITE}, yes.", [], "Old, yes."),
        (f"Old {CITE}, yes.", None, "Old, yes."),
        (f"Old{CITE}.", [reference(CITE, alt="")], "Old."),
        (f"Old {CITE}.", [reference(CITE, alt=None)], "Old."),
        (f"Old {CITE}.", [reference(CITE, alt=f"x{CITE}y")], "Old xciteturn0search3turn0search8y."),
        (
            f"Old {CITE}.",
            [reference(CITE, items=[{"title": "A\nB", "url": "https://a.org"}, {"title": "C"}, 7])],
            "Old ([A B](https://a.org)) (C).",
        ),
        (f"Old {CITE}.", [reference(CITE, items=[{"url": "javascript:x"}])], "Old."),
        (f"By {ENTITY}.", [reference(ENTITY, alt="Ada")], "By Ada."),
        (f"By {ENTITY}.", [], "By Ada Example."),
        ("By \ue200entity\ue202[\ue201.", [], "By."),
        ("Cut \ue200cite\ue202turn0", [], "Cut"),
        ("Cut \ue200cite and more", [], "Cut and more"),
        ("\ue203words\ue204 cited", [], "words cited"),
        ("\ue201 \ue202", [], " "),
        ("As\u30104\u2020source\u3011 here", [reference("\u30104\u2020source\u3011", alt="[T]")], "As[T] here"),
        ("A \u30104\u3011 b", [], "A \u30104\u3011 b"),
        (f"{CITE}{CITE}", [reference(CITE, alt="a")], "aa"),
        ("plain", [7, None, {"matched_text": 7}, reference("plain", alt="other")], "plain"),
    ],
)
def test_marks(text: str, references: object, shown: str) -> None:
    assert without_marks(text, {"content_references": references}) == shown


@pytest.mark.parametrize(
    ("start", "end", "source", "shown"),
    [
        (8, 18, {"title": "T", "url": "https://e.org"}, "As shown ([T](https://e.org)) here."),
        (8, 18, {"url": "https://e.org"}, "As shown ([https://e.org](https://e.org)) here."),
        (8, 18, None, "As shown\u30104\u2020source\u3011 here."),
        (7, 18, {"title": "T"}, "As shown\u30104\u2020source\u3011 here."),
        (8, 999, {"title": "T"}, "As shown\u30104\u2020source\u3011 here."),
        (-1, None, {"title": "T"}, "As shown\u30104\u2020source\u3011 here."),
    ],
)
def test_citations_by_their_place(start: object, end: object, source: object, shown: str) -> None:
    citation = {"start_ix": start, "end_ix": end, "metadata": source}
    metadata = {"citations": [citation, None, citation, {"start_ix": 8, "end_ix": 12, "metadata": source}]}
    assert without_marks("As shown\u30104\u2020source\u3011 here.", metadata) == shown


@given(st.text('\ue200\ue201\ue202\ue203\u3010\u3011 a["', max_size=30), st.text("\ue200\ue201\ue202 a", max_size=9))
def test_no_mark_is_left_and_no_other_letter_lost_between_them(text: str, alt: str) -> None:
    references = [{"matched_text": match[0], "alt": alt} for match in re.finditer("\ue200[^\ue201]*\ue201", text)]
    assert not ALL.search(without_marks(text, {"content_references": references, "citations": [{"start_ix": 0}]}))
    if not ALL.search(text):
        assert without_marks(text, {}) == text


def test_marks_in_questions_and_titles_vanish_too(tmp_path: Path) -> None:
    data = turns(f"You said {CITE}, why?", "Because", title=f"Iron {CITE}")
    (tree,), _ = imported(tmp_path, [data])
    assert (tree.title, tree.path[0].text()) == ("Iron", "You said, why?")
