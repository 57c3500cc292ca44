"""Several KV caches: two chats, a title in between, changed instructions, eviction; and that no answer changes."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.documents.attachments import Attachment, join
from mlx_model import Message, Model, Options, Session, load
from mlx_model.events import Finished, MessageEnd, Stats
from mlx_model.generation.prefixes import Prefix, PrefixPool, common_prefix
from mlx_model.harmony.message import user
from mlx_model.request import Request
from tests.fixtures.quick_model import Shaped

GREEDY = Options(temperature=0, max_tokens=24)
TODAY = datetime.date(2026, 11, 21)
LONG = "Spell these words, one after the other, with a dash between the letters: " + "house tree river stone " * 8


class Chat:
    """One conversation on a session that others use too."""

    def __init__(self, session: Session, instructions: str | None = None) -> None:
        self.session = session
        self.instructions = instructions
        self.messages: list[Message] = []

    def ask(self, text: str, options: Options = GREEDY) -> Stats:
        """One turn; checks that the answer is that of a session of its own."""
        self.messages.append(user(text))
        request = Request(self.messages, options, self.instructions)
        alone = Session(self.session.model, today=TODAY)
        expected, _ = answered(alone, request)
        messages, stats = answered(self.session, request)
        assert messages == expected
        assert self.session.tokens == alone.tokens
        assert stats.prefill_tokens + stats.reused_tokens == len(alone.prompt(request))
        self.messages += messages
        return stats


def answered(session: Session, request: Request) -> tuple[list[Message], Stats]:
    *events, last = session.stream(request, constraint=Shaped(session.model))
    assert isinstance(last, Finished)
    return [event.message for event in events if isinstance(event, MessageEnd)], last.stats


def test_two_chats_that_take_turns_keep_their_caches(quick: Model) -> None:
    session = Session(quick, today=TODAY)
    chats = [Chat(session, "Answer in one word."), Chat(session, "Answer at length.")]
    for chat in chats:
        chat.ask(LONG)
    for chat in chats:
        stats = chat.ask("hello")
        assert stats.reused_tokens > 150
        assert stats.prefill_tokens < 80


def test_a_title_in_between_costs_a_chat_nothing(quick: Model) -> None:
    session, undisturbed = Session(quick, today=TODAY), Chat(Session(quick, today=TODAY))
    chat, title = Chat(session), Chat(session, "Write a title of three words for the question.")
    for text in (LONG, "hello"):
        assert chat.ask(text).prefill_tokens == undisturbed.ask(text).prefill_tokens
        title.messages.clear()
        title.ask(text, Options(temperature=0, max_tokens=12, effort="low"))  # type: ignore[arg-type]


def test_a_title_that_goes_on_with_the_chat_leaves_its_cache(quick: Model) -> None:
    """As app.chat.titles asks for one, between the answer and the next prompt."""
    session, undisturbed = Session(quick, today=TODAY), Chat(Session(quick, today=TODAY))
    chat = Chat(session)
    assert chat.ask(LONG).prefill_tokens == undisturbed.ask(LONG).prefill_tokens
    for each in (session, undisturbed.session):
        list(each.settle(Request(chat.messages[:1], GREEDY), chat.messages[1:]))
    brief = Options(temperature=0, max_tokens=24, max_thinking=0)
    *_, last = session.stream(Request([*chat.messages, user("Name this conversation.")], brief))
    assert isinstance(last, Finished) and last.stats.reused_tokens > 150 and last.stats.prefill_tokens < 40
    assert chat.ask("hello").prefill_tokens == undisturbed.ask("hello").prefill_tokens


def test_another_question_about_a_long_file_reads_the_question_alone(quick: Model) -> None:
    """In the same chat, about lines that were marked in it, and in a new one: a file of 60 pages stands first."""
    pages = "\n\n".join(f"[page {n}]\nOn page {n} is said how it went on, and what came of it." for n in range(1, 61))
    paper = Attachment("paper.pdf", pages, "60 pages", "[p. 1]")
    mark = Attachment("paper.pdf, page 4, line 1", "On page 4 is said how it went on.", "marked by the person")
    session = Session(quick, today=TODAY)

    def ask(messages: list[Message], prompt: str) -> Stats:
        messages.append(user(prompt))
        answer, stats = answered(session, Request(messages, GREEDY))
        messages += answer
        return stats

    chat: list[Message] = []
    first = ask(chat, join("What is it about?", [paper]))
    second, third = ask(chat, "And how did it go on?"), ask(chat, join("Explain this.", [mark]))
    elsewhere = ask([], join("Who wrote it?", [paper]))
    assert first.prefill_tokens > 1000 and first.reused_tokens == 0
    for stats, most in ((second, 40), (third, 100), (elsewhere, 20)):
        assert stats.prefill_tokens < most and stats.reused_tokens > 1000


def test_changed_instructions_keep_what_stands_before_them(quick: Model) -> None:
    """And going back to the old ones finds the old cache."""
    session = Session(quick, today=TODAY)
    chat = Chat(session, "Be brief.")
    chat.ask(LONG)
    chat.instructions = "Be friendly."
    system = session.prompt(Request([user("x")], GREEDY, "Be friendly.")).index(session._start, 1)
    assert chat.ask("hello").reused_tokens >= system
    chat.messages = chat.messages[:-2]
    chat.instructions = "Be brief."
    while chat.messages[-1].role != "user":
        chat.messages.pop()
    text = chat.messages.pop().text
    assert chat.ask(text).reused_tokens > system + 10


def test_an_edit_leaves_the_other_version_in_the_cache(quick: Model) -> None:
    session = Session(quick, today=TODAY)
    chat = Chat(session)
    chat.ask(LONG)
    first = list(chat.messages)
    chat.ask("hello " * 20)
    chat.messages = list(first)
    chat.ask("thanks " * 20)
    chat.messages = list(first)
    assert chat.ask("hello " * 20).prefill_tokens <= 2


def test_what_was_used_longest_ago_is_dropped(quick_folder: Path) -> None:
    """A lean plan for 512 tokens holds some short chats beside each other, and never more than planned."""
    small = load(quick_folder, context=512, memory=160_000_000, differentiable=True)
    session = Session(small, today=TODAY)
    pool = session._scheduler.prefixes
    chats = [Chat(session, f"You are assistant {name} number {name}.") for name in "abcd"]
    seen = set()
    for chat in chats:
        chat.ask("hello " * 30, Options(temperature=0, max_tokens=5))
        assert size_of(pool) <= pool._room
        seen.add(len(pool._prefixes))
    assert 1 < max(seen) < len(chats)
    assert len(pool._prefixes) == max(seen)
    # The newest are still there, the oldest are not.
    chats[-1].messages.pop()
    again = chats[-1].messages.pop().text
    assert chats[-1].ask(again, Options(temperature=0, max_tokens=5)).prefill_tokens <= 2
    chats[0].messages = []
    assert chats[0].ask("hello " * 30, Options(temperature=0, max_tokens=5)).prefill_tokens > 30


def test_a_nearly_full_context_keeps_to_the_plan(quick_folder: Path) -> None:
    small = load(quick_folder, context=1024)
    session = Session(small, today=TODAY)
    Chat(session, "Answer in one word.").ask("hello")
    Chat(session).ask("word " * 400)
    pool = session._scheduler.prefixes
    assert size_of(pool) <= pool._room


def size_of(pool: PrefixPool) -> int:
    """What all caches hold, in tokens of the full layers."""
    return sum(pool._size(prefix) for prefix in pool._prefixes)


def pool_of(model: Model, *held: Sequence[int]) -> PrefixPool:
    pool = PrefixPool(model)
    for ids in held:
        prefix = pool._add(Prefix(model.make_cache(), list(ids)))
        model.forward(list(ids), prefix.cache)
    return pool


def test_the_longest_prefix_wins_whatever_was_used_last(quick: Model) -> None:
    pool = pool_of(quick, [1, 2, 3, 4, 5], [1, 2, 9], [8])
    assert pool.take([1, 2, 3, 4, 6]).ids == [1, 2, 3, 4]
    assert [prefix.ids for prefix in pool._prefixes] == [[1, 2, 9], [8], [1, 2, 3, 4]]


def test_only_what_can_be_restored_counts(quick: Model) -> None:
    """A window has filled: without a mark there is no way back into a long prefix, so the shorter one is better."""
    long = [7, 7, 7, *range(10, 400)]
    pool = pool_of(quick, long, [7, 7, 7, 10, 11])
    assert pool.take([*long[:50], 1]).ids == [7, 7, 7, 10, 11]


def test_a_prompt_that_parts_inside_the_last_prompt_gets_a_fork(quick: Model) -> None:
    pool = pool_of(quick, [1, 2, 3, 4, 5])
    (held,) = pool._prefixes
    held.answer_start = 4
    assert pool.take([1, 2, 6]).ids == [1, 2]
    assert held.ids == [1, 2, 3, 4, 5]
    assert pool.take([1, 2, 3, 4, 9]) is held


def test_a_prompt_whose_prefill_was_cancelled_goes_on_with_its_cache(quick: Model) -> None:
    pool = pool_of(quick, [1, 2, 3])
    (held,) = pool._prefixes
    held.answer_start = 7  # of a prompt of 8 tokens, of which 3 have been computed
    assert pool.take([1, 2, 3, 4, 5]) is held
    assert pool._prefixes == [held]


def test_what_a_fork_was_made_of_is_dropped_after_the_others(quick: Model) -> None:
    pool = pool_of(quick, [1, 2, 3, 4, 5], [8, 9] * 200)
    held, other = pool._prefixes
    held.answer_start = 4
    fork = pool.take([1, 2, 6])
    assert pool._prefixes == [other, held, fork]
    pool._room = size_of(pool) - 1
    fork.in_use = True
    pool.make_room({fork: 1})
    assert pool._prefixes == [held, fork]


def test_without_room_for_a_fork_the_cache_is_rewound(quick: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_of(quick, [1, 2, 3, 4, 5])
    (held,) = pool._prefixes
    held.answer_start = 4
    pool._room = size_of(pool)
    assert pool.take([1, 2, 6]) is held
    assert held.ids == [1, 2]


@pytest.mark.parametrize("length", [0, 1, 1023, 1024, 1025, 3000])
def test_common_prefix(length: int) -> None:
    ids = list(range(3000))
    assert common_prefix(ids, [*ids[:length], -1]) == length
    assert common_prefix(ids[:length], ids) == length


def test_a_plan_is_all_that_the_caches_may_hold(quick: Model) -> None:
    """The pool counts as the plan does: a full context with every rewind point is its room, but for rounding."""
    plan, config = quick.plan, quick.config
    pool = PrefixPool(quick)
    token = 2 * config.num_key_value_heads * config.head_dim * plan.kv_bits // 8
    full = sum(kind == "full_attention" for kind in config.layer_types)
    assert 0.99 * plan.kv <= pool._room * token * full <= 1.01 * plan.kv


def test_a_second_question_about_a_file_computes_the_question_alone(quick: Model) -> None:
    """In a new chat, too, since files stand before the question (app.documents.attachments)."""
    session = Session(quick, today=TODAY)
    files = "".join(f'[file "{name}"]\n````\n{LONG}\n```\ncode\n```\n````\n\n' for name in ("a", "b"))
    whole = Chat(session).ask(f"{files}What is it about?")
    assert whole.prefill_tokens > 300
    again = Chat(session).ask(f"{files}Who wrote it, and when was that?")
    assert again.prefill_tokens < 30 and again.reused_tokens > 300
    one = Chat(session).ask(files.partition('[file "b')[0] + "And this one alone?")
    assert one.prefill_tokens < 30 and one.reused_tokens > 150
