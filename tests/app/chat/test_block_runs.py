"""What came of code blocks: which block it belongs to, what is kept of it, where it stands in an export."""

import pytest

from app.chat.block_runs import LEFT_OUT, MOST_KEPT, kept_output, state_of, with_outputs
from app.chat.conversation import BlockRun, CallFacts, Conversation
from app.digests import digest_of
from mlx_model.harmony.message import assistant
from tests.fixtures.trees import TURN

TEXT = "Hi\n\n```python\nprint(1)\n```\n\n- a\n\n  ```sh\n  ls\n  ```\n- b\n\n> ~~~py\n> x\n> ~~~\n> end\n\n    y\n"
DONE = CallFacts(0.31)


def test_an_output_is_kept_without_what_a_terminal_would_do_and_says_what_is_left_out() -> None:
    assert kept_output("\n\x1b[2Ja\u202eb\x07\r\n") == "\u241b[2Jab\u2407"
    long = kept_output("x" * 10 * MOST_KEPT + "\nend")
    assert len(long) < 1.01 * MOST_KEPT and long.endswith("\nend") and LEFT_OUT.search(long)
    assert kept_output(long) == long


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (None, "cut off"),
        (DONE, "done \u00b7 0.3 s"),
        (CallFacts(0.0, True), "failed"),
        (CallFacts(2.0, True, "", "exit\nstatus\x1b 2"), "exit status\u241b 2 \u00b7 2.0 s"),
        (CallFacts(2.0, True, "", "x" * 300), "x" * 19 + "\u2026 \u00b7 2.0 s"),
    ],
)
def test_how_it_ended_is_one_line(facts: CallFacts | None, said: str) -> None:
    assert state_of(facts, 20) == said


def test_an_export_has_each_output_below_its_block_in_the_same_item_or_quote() -> None:
    runs = [
        BlockRun(1, digest_of("print(1)"), "1\n```\n\x1b[2J", DONE),
        BlockRun(2, digest_of("ls"), "a", None),
        BlockRun(3, digest_of("x"), "", CallFacts(0.0, False, "", "no output")),
        BlockRun(4, digest_of("another y"), "never"),
    ]
    text, blocks = with_outputs(TEXT, runs)
    assert blocks == 4
    assert text == (
        "Hi\n\n```python\nprint(1)\n```\n\nOutput (done \u00b7 0.3 s):\n\n````text\n1\n```\n\u241b[2J\n````\n\n"
        "- a\n\n  ```sh\n  ls\n  ```\n\n  Output (cut off):\n\n  ```text\n  a\n  ```\n\n- b\n\n"
        "> ~~~py\n> x\n> ~~~\n>\n> Output: no output\n>\n> end\n\n    y\n"
    )
    assert with_outputs("```python\nprint(1)\n```", runs, before=1)[0] == "```python\nprint(1)\n```"


def test_the_model_reads_nothing_of_it_and_a_rerun_replaces_it() -> None:
    tree = Conversation()
    prompt = tree.add_prompt("Code?", None)
    answer = tree.add_answer(prompt.id, TURN, [assistant(TEXT)])
    before = tree.for_engine()
    tree.take_changes()
    tree.keep_run(answer.id, BlockRun(2, "b", "old"))
    tree.keep_run(answer.id, BlockRun(1, "a", "other"))
    tree.keep_run(answer.id, BlockRun(2, "b", "new", DONE))
    assert [run.output for run in tree.nodes[answer.id].runs] == ["other", "new"]
    changes = tree.take_changes()
    assert changes is not None and [node.id for node in changes.nodes] == [answer.id]
    assert tree.for_engine() == before and tree.messages == before
    tree.update_answer(answer.id, TURN, [assistant(TEXT + "more")])
    tree.drop_run(answer.id, 1)
    assert [run.block for run in tree.nodes[answer.id].runs] == [2]
