"""What of a long conversation is mounted: bounded, in order, and never more than what it stands for."""

from collections.abc import AsyncIterator

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Static

from app.chat.conversation import Node
from app.tui.text import window
from app.tui.widgets.transcript import More, Transcript
from mlx_model.harmony.message import user
from tests.fixtures.fakes import wait_until

HEIGHT = 3
"""Rows of a node, in two widgets; the screen has ten."""


class Screen(App[None]):
    """A transcript alone."""

    def __init__(self) -> None:
        super().__init__()
        self.transcript = Transcript()

    def compose(self) -> ComposeResult:
        yield self.transcript


def nodes(count: int) -> list[Node]:
    return [Node(f"n{i}", f"n{i - 1}" if i else None, 0.0, (user(str(i)),)) for i in range(count)]


def build(node: Node) -> list[Widget]:
    return [Static(node.id), Static(f"\n{node.id}-2")]


def texts(transcript: Transcript) -> list[str]:
    """What is mounted, in order."""
    return [str(child.render()).strip() for child in transcript.children if not isinstance(child, More)]


def both(first: int, end: int) -> list[str]:
    """The texts of these nodes."""
    return [text for i in range(first, end) for text in (f"n{i}", f"n{i}-2")]


def more(transcript: Transcript) -> tuple[str, str]:
    """What is said of the rest before and after, "" for nothing."""
    before, after = transcript.query_one("#earlier", More), transcript.query_one("#later", More)
    assert transcript.children[0] is before
    return tuple(str(each.render()) if each.display else "" for each in (before, after))  # type: ignore[return-value]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("TAIL", 6), ("STEP", 4), ("MAX_MOUNTED", 9)):
        monkeypatch.setattr(window, name, count)


@pytest.fixture
async def pilot() -> AsyncIterator[Pilot[None]]:
    async with Screen().run_test(size=(30, 10)) as pilot:
        yield pilot


@pytest.fixture
def transcript(pilot: Pilot[None]) -> Transcript:
    assert isinstance(pilot.app, Screen)
    return pilot.app.transcript


async def settled(pilot: Pilot[None], transcript: Transcript) -> None:
    """Let it scroll and mount what is in sight."""
    await pilot.pause()
    await wait_until(pilot, lambda: not transcript._moving, "the end of a move")
    await pilot.pause()


@pytest.mark.parametrize(("count", "first", "before"), [(0, 0, ""), (1, 0, ""), (6, 0, ""), (7, 1, "\u2191 1 more")])
async def test_the_end_is_shown_and_followed(
    pilot: Pilot[None], transcript: Transcript, count: int, first: int, before: str
) -> None:
    assert await transcript.show(nodes(count), build) == []
    assert texts(transcript) == both(first, count) and more(transcript) == (before, "")
    await settled(pilot, transcript)
    assert transcript.follows and transcript.scroll_y == max(0, transcript.max_scroll_y)


async def test_a_line_too_many_is_followed_and_one_less_is_not_scrolled(
    pilot: Pilot[None], transcript: Transcript
) -> None:
    await transcript.show(nodes(3), build)
    await settled(pilot, transcript)
    assert (transcript.max_scroll_y, transcript.is_anchored) == (0, False)
    line = Static("one\ntwo")
    await transcript.add(line)
    await wait_until(pilot, lambda: transcript.scroll_y == 1, "the last line")
    assert transcript.is_anchored and transcript.follows
    await line.remove()
    await wait_until(pilot, lambda: transcript.scroll_y == 0, "the first line")
    assert not transcript.is_anchored and transcript.follows


async def test_a_node_is_shown_with_what_is_around_it(pilot: Pilot[None], transcript: Transcript) -> None:
    found = await transcript.show(nodes(20), build, "n8")
    assert [str(each.render()).strip() for each in found] == ["n8", "n8-2"]
    assert texts(transcript) == both(6, 12) and more(transcript) == ("\u2191 6 more", "\u2193 8 more")
    await settled(pilot, transcript)
    assert not transcript.follows and found[0].virtual_region.y - transcript.scroll_y == 1


async def test_what_is_to_be_kept_stays_below(pilot: Pilot[None], transcript: Transcript) -> None:
    await transcript.show(nodes(2), build)
    notice, other = Static("notice"), Static("other")
    await transcript.add(notice, other)
    assert transcript.below("n1")[-2:] == [notice, other] and transcript.below("nowhere") == []
    await transcript.show(nodes(1), build, keep=[notice])
    assert texts(transcript) == ["n0", "n0-2", "notice"] and transcript.below("n0")[-1] is notice


async def test_the_screen_does_not_grow_with_a_long_sitting(pilot: Pilot[None], transcript: Transcript) -> None:
    await transcript.show([], build)
    most = 0
    for count, node in enumerate(nodes(30), 1):
        await transcript.append(node, *build(node))
        mounted = texts(transcript)
        first, most = count - len(mounted) // 2, max(most, len(mounted) // 2)
        assert mounted == both(first, count)
        assert more(transcript) == (f"\u2191 {first} more" if first else "", "")
        assert set(transcript._views) == {f"n{i}" for i in range(first, count)}
    assert most == 9


@pytest.mark.parametrize(
    ("kept", "mounted", "before"),
    [
        (20, both(14, 20), "\u2191 14 more"),
        (19, both(14, 19), "\u2191 14 more"),
        (15, both(14, 15), "\u2191 14 more"),
        (14, None, ""),  # the end of these isn't mounted
        (0, None, ""),
    ],
)
async def test_what_follows_is_cut_off(
    pilot: Pilot[None], transcript: Transcript, kept: int, mounted: list[str] | None, before: str
) -> None:
    await transcript.show(nodes(20), build)
    await settled(pilot, transcript)
    stays = transcript.below("n19"), list(transcript.children)
    assert await transcript.cut(nodes(kept)) == (mounted is not None)
    if mounted is None:
        assert (transcript.below("n19"), list(transcript.children)) == stays
        return
    assert texts(transcript) == mounted and more(transcript) == (before, "") and transcript.follows
    new = Node("new", None, 0.0, ())
    await transcript.append(new, *build(new))
    assert texts(transcript) == [*mounted, "new", "new-2"]


async def test_all_of_a_short_one_can_be_cut(pilot: Pilot[None], transcript: Transcript) -> None:
    await transcript.show(nodes(2), build)
    assert await transcript.cut([])
    assert texts(transcript) == [] and more(transcript) == ("", "")
    assert await transcript.cut([])


async def test_another_path_is_not_cut(pilot: Pilot[None], transcript: Transcript) -> None:
    await transcript.show(nodes(3), build)
    assert not await transcript.cut([nodes(1)[0], Node("other", "n0", 0.0, ())])
    assert not await transcript.cut(nodes(4))
    assert texts(transcript) == both(0, 3)


async def test_at_its_end_more_is_mounted_and_what_is_in_sight_stays(
    pilot: Pilot[None], transcript: Transcript
) -> None:
    await transcript.show(nodes(20), build)
    await settled(pilot, transcript)
    transcript.release_anchor()
    transcript.scroll_to(y=0, animate=False)
    await wait_until(pilot, lambda: len(texts(transcript)) > 12)
    await settled(pilot, transcript)
    assert texts(transcript) == both(10, 20) and more(transcript) == ("\u2191 10 more", "")
    assert transcript.scroll_y == 4 * HEIGHT and not transcript.follows


async def test_further_down_more_is_mounted_too(pilot: Pilot[None], transcript: Transcript) -> None:
    await transcript.show(nodes(20), build, "n8")
    await settled(pilot, transcript)
    transcript.scroll_to(y=transcript.max_scroll_y, animate=False)
    await wait_until(pilot, lambda: len(texts(transcript)) > 12)
    await settled(pilot, transcript)
    assert texts(transcript) == both(6, 16) and more(transcript) == ("\u2191 6 more", "\u2193 4 more")
    assert not transcript.follows


async def test_whoever_scrolls_back_to_the_end_follows_again(pilot: Pilot[None], transcript: Transcript) -> None:
    await transcript.show(nodes(6), build)
    await settled(pilot, transcript)
    transcript.release_anchor()
    transcript.scroll_to(y=0, animate=False)
    await wait_until(pilot, lambda: not transcript.follows, "the beginning")
    transcript.scroll_to(y=transcript.max_scroll_y, animate=False)
    await wait_until(pilot, lambda: transcript.follows, "the end")
    await transcript.add(Static("one\ntwo\nthree"))
    await wait_until(pilot, lambda: transcript.scroll_y == transcript.max_scroll_y == 11, "what came since")


@pytest.mark.parametrize(("which", "first", "end"), [("#earlier", 2, 12), ("#later", 6, 16)])
async def test_a_click_mounts_more(
    pilot: Pilot[None], transcript: Transcript, which: str, first: int, end: int
) -> None:
    await transcript.show(nodes(20), build, "n8")
    await settled(pilot, transcript)
    transcript.query_one(which, More).on_click()
    await wait_until(pilot, lambda: len(texts(transcript)) > 12)
    await settled(pilot, transcript)
    assert texts(transcript) == both(first, end)


async def test_one_that_is_mounted_is_scrolled_to(pilot: Pilot[None], transcript: Transcript) -> None:
    await transcript.show(nodes(6), build)
    await settled(pilot, transcript)
    assert transcript.reveal("n1") and not transcript.reveal("n9")
    await pilot.pause()
    assert transcript.scroll_y == HEIGHT - 1 and not transcript.follows


async def test_what_was_put_after_a_node_that_is_removed_already() -> None:
    async with Screen().run_test(size=(40, 10)) as pilot:
        transcript = pilot.app.query_one(Transcript)
        await transcript.show(nodes(2), build)
        await transcript.add(Static("a notice"))
        assert [str(each.render()) for each in transcript.below("n1") if not isinstance(each, More)] == ["a notice"]
        await transcript.remove_children()  # as the end of the screen does, under an answer that is being withdrawn
        assert transcript.below("n1") == []
