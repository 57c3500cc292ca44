"""The tree of one conversation: paths, versions, what is asked with, what counts as changed."""

from dataclasses import replace

import pytest

from app.chat.conversation import Conversation, auto_title
from app.documents.attachments import Attachment, join
from mlx_model.events import Stats
from mlx_model.harmony.message import Message, Role, assistant, user
from tests.fixtures.trees import TURN, branched, present


def test_a_conversation_sends_everything_but_thoughts_without_an_answer() -> None:
    chat = Conversation()
    call = Message(Role.ASSISTANT, "1+1", channel="commentary", recipient="python")
    for prompt, answer in (
        ("one", [assistant("hm", "analysis"), assistant("first")]),
        ("two", [assistant("broken off", "analysis"), assistant("and once more", "analysis")]),
        ("three", [assistant("so far", "analysis"), call]),
    ):
        chat.add_answer(chat.add_prompt(prompt, chat.leaf).id, TURN, answer)
    assert [m.text for m in chat.for_engine()] == ["one", "hm", "first", "two", "three", "so far", "1+1"]
    assert len(chat.messages) == 9
    assert chat.last_answer() == "first" and present(chat.last_prompt()).text() == "three"


def test_the_size_is_that_of_the_last_answer_with_figures_and_what_came_since_is_estimated() -> None:
    chat = Conversation()
    assert chat.tokens == (0, False)
    chat.add_answer(chat.add_prompt("one", None).id, TURN, [assistant("first")])
    assert chat.tokens == (40 + 312 + 22, False)
    broken = replace(TURN, reason=None, stats=Stats())
    messages = [assistant("a thought " * 500, "analysis"), assistant("broken off")]
    chat.add_answer(chat.add_prompt("two", chat.leaf).id, broken, messages)
    tokens, estimated = chat.tokens
    assert 374 + 800 < tokens < 374 + 1300 and estimated
    chat.add_prompt("three", chat.leaf)  # the earlier thought is no longer sent
    assert 374 < chat.tokens[0] < 374 + 20


def test_of_an_answer_with_tools_the_size_is_what_stays() -> None:
    chat = Conversation()
    chat.add_answer(chat.add_prompt("one", None).id, TURN, [assistant("first")])
    page = Message(Role.TOOL, "word " * 3_000, "browser.open", "analysis", "assistant")
    call = Message(Role.ASSISTANT, "{}", None, "analysis", "browser.open")
    rain = Message(Role.TOOL, "rain " * 100, "functions.weather", "commentary", "assistant")
    ask = Message(Role.ASSISTANT, "{}", None, "commentary", "functions.weather")
    long = replace(TURN, stats=Stats(31_000, 0, 900))
    prompt = chat.add_prompt("two", chat.leaf)
    chat.add_answer(prompt.id, long, [assistant("hm", "analysis"), call, page, ask, rain, assistant("second")])
    tokens, estimated = chat.tokens
    assert 374 + 90 < tokens < 374 + 130 and estimated
    # What declares the tools stands in the prompt, and was counted with it.
    counted = replace(TURN, stats=replace(long.stats, first_prompt_tokens=2_500))
    first = Conversation()
    first.add_answer(first.add_prompt("two", None).id, counted, [assistant("hm", "analysis"), call, page, rain])
    assert first.tokens == (31_900, False)  # nothing has left yet
    first.update_answer(present(first.leaf), counted, [call, page, ask, rain, assistant("second")])
    tokens, estimated = first.tokens
    assert 2_500 + 90 < tokens < 2_500 + 130 and estimated
    chat.end_at(prompt.id)
    chat.add_answer(prompt.id, replace(long, reason="tool_limit"), [call, page, call])  # it goes on with all of it
    assert chat.tokens == (31_900, False)


def test_leaves_come_with_the_older_versions_first() -> None:
    tree = branched()
    paths = [[node.text() or node.text("final") for node in tree.path_to(leaf)] for leaf in tree.leaves()]
    first = "How many r's are in strawberry?"
    assert [path[-1] for path in paths[::2]] == ["There are two.", "Und auf Deutsch? 日本語も"]
    assert paths[1][:2] == [first, "There are **three**."] and len(paths) == 3
    assert Conversation().leaves() == []


def test_a_withdrawn_prompt_leaves_no_trace() -> None:
    chat = Conversation()
    prompt = chat.add_prompt("too long", None)
    chat.withdraw(prompt.id, None)
    assert chat.messages == [] and chat.last_answer() is None and present(chat.take_changes()).removed == (prompt.id,)


def test_only_what_nothing_follows_can_be_withdrawn() -> None:
    chat = Conversation()
    first = chat.add_prompt("one", None)
    chat.add_prompt("two", first.id)
    with pytest.raises(AssertionError):
        chat.withdraw(first.id, None)
    assert first.id in chat.nodes


def test_a_conversation_keeps_the_person_as_the_last_to_speak() -> None:
    chat = Conversation()
    chat.add_prompt("hi", None)
    assert chat.for_engine() == [user("hi")]


def test_versions_are_kept_and_selecting_one_follows_its_newest_branch() -> None:
    tree = branched()
    prompt, answer, edited = tree.path
    assert [m.text for m in tree.messages][-1] == "Und auf Deutsch? 日本語も"
    assert [node.text() for node in tree.versions(edited)][1:] == [edited.text()]
    first, second = tree.versions(answer)
    assert second is answer and tree.versions(prompt) == [prompt]
    tree.select(first.id)
    assert [node.id for node in tree.path] == [prompt.id, first.id]
    tree.select(second.id)
    assert tree.path[-1] is edited
    tree.select(tree.versions(edited)[0].id)
    assert len(tree.path) == 4 and tree.path[-1].facts == TURN
    assert len(tree.nodes) == 6


def test_what_was_given_back_is_taken_again_with_what_came_since() -> None:
    tree = branched()
    changes = present(tree.take_changes())
    assert changes.nodes == tuple(tree.nodes.values()) and changes.title == tree.title
    assert tree.take_changes() is None
    tree.give_back(changes)
    more = tree.add_prompt("more", tree.leaf)
    again = present(tree.take_changes())
    assert again.nodes == (*changes.nodes, more) and again.title == tree.title and again.leaf == more.id


def test_what_was_withdrawn_and_could_not_be_saved_is_withdrawn_by_the_next_save() -> None:
    chat = Conversation()
    first, second = chat.add_prompt("one", None), chat.add_prompt("two", None)
    chat.take_changes()
    chat.withdraw(second.id, first.id)
    changes = present(chat.take_changes())
    chat.give_back(changes)
    third = chat.add_prompt("three", first.id)
    chat.withdraw(third.id, first.id)
    again = present(chat.take_changes())
    assert set(again.removed) == {second.id, third.id} and again.nodes == () and again.leaf == first.id
    assert chat.take_changes() is None


def test_a_conversation_that_was_just_loaded_has_not_changed() -> None:
    tree = branched()
    loaded = Conversation(tree.id, title=tree.title, created=1.5, nodes=tree.nodes.values())
    assert loaded.take_changes() is None and Conversation().take_changes() is None
    assert (loaded.created, loaded.updated, loaded.leaf, loaded.path) == (1.5, 1.5, tree.leaf, tree.path)
    loaded.add_prompt("more", loaded.leaf)
    changes = present(loaded.take_changes())
    assert changes.title is None and len(changes.nodes) == 1


def test_each_kind_of_change_is_one_by_itself() -> None:
    chat = Conversation()
    prompt = chat.add_prompt("one", None)
    answer = chat.add_answer(prompt.id, TURN, [assistant("so")])
    assert present(chat.take_changes()).title == "one" and chat.take_changes() is None
    chat.update_answer(answer.id, TURN, [assistant("so far")])
    changes = present(chat.take_changes())
    assert changes.nodes == (chat.nodes[answer.id],) and changes.title is None and changes.removed == ()
    chat.rename("other\nname")
    changes = present(chat.take_changes())
    assert changes.nodes == () and changes.title == "other name" and chat.take_changes() is None
    second = chat.add_answer(prompt.id, TURN, [assistant("or")])
    chat.take_changes()
    chat.select(second.id)
    assert chat.take_changes() is None  # it is shown already
    chat.select(answer.id)
    changes = present(chat.take_changes())
    assert changes.nodes == () and changes.leaf == answer.id and changes.title is None
    chat.give_back(changes)
    again = present(chat.take_changes())
    assert again == changes


@pytest.mark.parametrize("reason", [None, "died", "cancelled", "length", "stop", "no_answer", "stop_string"])
def test_what_was_cut_off_can_be_continued(reason: str | None) -> None:
    chat = Conversation()
    assert chat.unfinished is None
    prompt = chat.add_prompt("one", None)
    assert chat.unfinished is prompt
    answer = chat.add_answer(prompt.id, replace(TURN, reason=reason), [assistant("so")])
    assert chat.unfinished is (answer if reason in (None, "died", "cancelled", "length") else None)


def test_a_withdrawn_first_prompt_takes_its_title_along_unless_the_person_chose_it() -> None:
    chat = Conversation()
    chat.withdraw(chat.add_prompt("one", None).id, None)
    assert chat.title == "" and chat.leaf is None
    prompt = chat.add_prompt("two", None)
    assert chat.title == "two"
    chat.rename("mine")
    chat.withdraw(prompt.id, None)
    assert chat.title == "mine"
    chat.add_prompt("three", None)
    assert chat.title == "mine"


@pytest.mark.parametrize(
    ("text", "files", "title"),
    [
        ("", ["src/notes.txt"], "notes.txt"),
        ("@src/notes.txt ", ["src/notes.txt"], "notes.txt"),
        ('@"my notes.txt" @b.py', ["my notes.txt", "b.py"], "my notes.txt, b.py"),
        ("", ["/"], "/"),
        ("Sum up @notes.txt", ["notes.txt"], "Sum up @notes.txt"),
        ("[pasted text 1]", ["pasted text 1"], "its first words, and more words, more words\u2026"),
        ("What is\n[pasted text 1]", ["pasted text 1"], "What is its first words, and more words, more\u2026"),
        ("What is [pasted text 2]", ["pasted text 1"], "What is [pasted text 2]"),
    ],
)
def test_the_title_of_a_message_with_files(text: str, files: list[str], title: str) -> None:
    words = "its first\nwords, and " + "more words, " * 200
    assert auto_title(join(text, [Attachment(name, words) for name in files])) == title


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("Why is the sky blue?", "Why is the sky blue?"),
        ("\n\n  several\nlines\t here ", "several lines here"),
        ("\x1b[31mred \u202eevil", "\u241b[31mred evil"),
        ("word " * 30, "word word word word word word word word word\u2026"),
        ("w" * 40 + " to mend it", "w" * 40 + " to mend\u2026"),
        ("x" * 100_000, "x" * 48 + "\u2026"),
    ],
)
def test_titles_are_the_first_words_in_one_line(prompt: str, title: str) -> None:
    assert auto_title(prompt) == title
    chat = Conversation()
    chat.add_prompt(prompt, None)
    chat.add_prompt("another", chat.leaf)
    assert chat.title == title


def test_a_branch_begins_at_an_earlier_answer_which_is_not_continued() -> None:
    tree = Conversation()
    cut = tree.add_answer(tree.add_prompt("Count", None).id, replace(TURN, reason="length"), [assistant("one")])
    later = tree.add_prompt("Now?", cut.id)
    tree.take_changes()
    tree.end_at(cut.id)
    assert tree.path[-1] is cut and tree.unfinished is None and tree.take_changes() is not None
    tree.end_at(cut.id)
    assert tree.take_changes() is None
    assert tree.versions(tree.add_prompt("Or now?", tree.leaf)) == [later, tree.path[-1]]
    for id in list(tree.nodes)[:1:-1]:
        tree.withdraw(id, cut.id)
    assert tree.unfinished is cut
