"""Passages of documents: where they are cut, what is no passage, and in which order they come."""

from app.dataset.passages import MOST_TOKENS, Passage, in_turn, passages, without_copies
from mlx_model.documents.document import Document, Page, headings_in
from mlx_model.tokens import about_tokens

PROSE = "The pump of the second hall was replaced in the spring, since its bearings had become loose and too hot. "


def document(*texts: str, unit: str = "page") -> Document:
    pages = tuple(Page(number, text, f"{unit} {number}") for number, text in enumerate(texts, 1))
    return Document(pages, unit, len(pages), (), headings_in(pages))


def test_a_passage_is_text_of_its_page_from_its_place_on() -> None:
    made = document("\n\n".join(f"{number} {PROSE * 4}".strip() for number in range(40)), f"\n{PROSE * 3}\n")
    found = passages(made, "a.pdf")
    assert len(found) > 3
    for passage in found:
        text = made.pages[passage.page].text
        assert text[passage.start : passage.start + len(passage.text)] == passage.text
        assert about_tokens(passage.text) <= MOST_TOKENS + 50
    assert "".join("".join(passage.text.split()) for passage in found) == "".join(
        "".join(page.text.split()) for page in made.pages
    )
    assert found[-1].page == 1 and found[-1].start == 1


def test_a_long_paragraph_is_cut_between_lines() -> None:
    lines = [f"| row {number} | {PROSE}|" for number in range(120)]
    found = passages(document("\n".join(lines)), "a.xlsx")
    assert len(found) > 2 and all(passage.text.split("\n")[0] in lines for passage in found)
    assert "\n".join(passage.text for passage in found) == "\n".join(lines)


def test_sections_that_only_lead_elsewhere_are_left_out() -> None:
    text = f"# Pumps\n\n{PROSE * 3}\n\n## References\n\n[1] {PROSE * 3}\n\n# Costs\n\n{PROSE[::-1] * 3}"
    found = passages(document(text), "a.md")
    assert [(passage.heading, "[1]" in passage.text) for passage in found] == [("Pumps", False), ("Costs", False)]
    assert all(passage.text in text for passage in found)
    contents = "\n".join(f"Chapter {number} about pumps and valves . . . . . . . . {number}" for number in range(30))
    assert not passages(document(contents, "Too short."), "a.pdf")


def test_copies_are_left_out() -> None:
    one, other = (
        PROSE * 3,
        "Something else is said here about valves, and about their seals, which last for years. " * 3,
    )
    found = [Passage("a", 0, 0, one), Passage("b", 0, 0, one.upper()), Passage("c", 0, 0, other)]
    assert [passage.file for passage in without_copies(found)] == ["a", "c"]


def test_each_beginning_of_the_order_has_of_every_file_its_share() -> None:
    found = [Passage("long", page, 0, "") for page in range(30)] + [Passage("short", page, 0, "") for page in range(10)]
    ordered = in_turn(found, 1)
    assert sorted(ordered, key=found.index) == found
    for count in (4, 12, 20):
        assert abs(sum(passage.file == "short" for passage in ordered[:count]) - count / 4) <= 1
    assert in_turn(found, 1) == ordered != in_turn(found, 2)
