"""Files in a prompt: before the person's text, found there again; no file forges where it ends."""

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from app.documents.attachments import Attachment, join, merge, split


def test_the_prompt_that_the_model_reads() -> None:
    files = [Attachment("a.py", "print(1)\n"), Attachment("b.md", "```\n````x\n```")]
    prompt = join("Compare @a.py and @b.md", files)
    assert prompt == (
        '[file "a.py"]\n```\nprint(1)\n\n```\n\n[file "b.md"]\n`````\n```\n````x\n```\n`````\n\nCompare @a.py and @b.md'
    )
    assert split(prompt) == ("Compare @a.py and @b.md", files)
    assert split(join("", files)) == ("", files) and join("", files).startswith("[file")


def test_the_model_reads_the_same_note_as_the_person() -> None:
    files = [Attachment("a.pdf", "text", "page 2 has no text"), Attachment('x"; y', "z"), Attachment("b", "z", "n; m]")]
    files += [Attachment("c.pdf", "text", "2 pages", "[p. 1]"), Attachment("d.md", "text", "", "[section A]")]
    prompt = join("Sum up", files)
    assert prompt.startswith('[file "a.pdf"; page 2 has no text]\n```\ntext\n```\n\n[file "x"; y"]\n')
    assert '[file "c.pdf"; 2 pages; cite as [p. 1]]\n' in prompt and '[file "d.md"; cite as [section A]]\n' in prompt
    assert split(prompt) == ("Sum up", files)
    for header in ('[file "a" note]', '[file "a"; ]', "[file a]"):
        assert split(f"{header}\n```\nx\n```") == (f"{header}\n```\nx\n```", [])


def behind(text: str, files: list[Attachment]) -> str:
    """A prompt as earlier versions wrote it: the files behind the text."""
    blocks = join("", files)
    return f"{text}\n\n{blocks}" if text and files else blocks or text


def test_prompts_of_earlier_versions_are_taken_apart_too() -> None:
    files = [Attachment("a.py", "print(1)\n", "n"), Attachment("b.md", "```\n````x\n```")]
    assert split(behind("Compare", files)) == ("Compare", files)
    assert merge([behind("one", files[:1]), join("two", files[1:])]) == join("one\n\ntwo", files)


PIECES = st.lists(
    st.sampled_from(["`", "```", "````", "\n", "\n\n", '[file "x"]', '[file "', '"]', "text", " ", "\ud800", "\u2028"]),
    max_size=12,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(
    PIECES,
    st.lists(
        st.builds(
            Attachment,
            st.sampled_from(["a", 'b"c', 'b"; c']),
            PIECES,
            st.sampled_from(["", "n", "; n]", "[file '", "cite as p"]),
            st.sampled_from(["", "[p. 1]", "[section [x]"]),
        ),
        max_size=3,
    ),
)
def test_no_file_can_forge_where_it_ends(text: str, files: list[Attachment]) -> None:
    assume(split(text) == (text, []))
    assert split(join(text, files)) == (text, files)


@settings(max_examples=300, deadline=None)
@example('[file "x"]\n````\n\n````')
@given(PIECES)
def test_taking_a_prompt_apart_loses_nothing(prompt: str) -> None:
    text, files = split(prompt)
    assert prompt in (join(text, files), behind(text, files))


@pytest.mark.parametrize("piece", ['\n\n[file "x"]\n```\n', '\n\n[file "x"]\n```\ny\n```', "\n```\n", "`"])
def test_taking_a_hostile_prompt_apart_does_not_hang(piece: str) -> None:
    for prompt in (piece * (1_000_000 // len(piece)) + "\n```", piece.strip("\n") + piece * (1_000_000 // len(piece))):
        text, files = split(prompt)
        assert prompt in (join(text, files), behind(text, files))
