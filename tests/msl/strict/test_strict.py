"""The strict judge has nothing against the kernels' texts, and refuses each mutation for what is wrong in it."""

import re
import sys
from collections import defaultdict
from dataclasses import replace

import pytest

from tests.msl.strict import front_end, objections
from tests.msl.strict.mutations import MUTATIONS, RIGHT
from tests.msl.texts import kernel_texts


def test_no_text_of_the_program_is_refused() -> None:
    assert objections(kernel_texts()) == []


def test_every_mutation_is_refused_for_what_is_wrong_in_it() -> None:
    reasons = defaultdict[str, list[str]](list)
    for each in objections(mutation.applied() for mutation in MUTATIONS):  # in one go: a clang for each takes long
        reasons[each.name].append(each.reason)
    taken = {
        mutation.what: reasons[mutation.what]
        for mutation in MUTATIONS
        if not any(re.search(mutation.reason, reason) for reason in reasons[mutation.what])
    }
    assert taken == {}
    assert len({mutation.what for mutation in MUTATIONS}) == len(MUTATIONS)


def test_what_metal_takes_is_not_refused() -> None:
    assert objections(text.applied() for text in RIGHT) == []


def test_a_mistake_in_a_shared_header_is_told_of_the_texts_that_it_concerns() -> None:
    texts = [each for each in kernel_texts() if each.name.startswith("lm_head-20b-bfloat16")]
    wrong = [replace(each, text=each.text.replace("ROWS * TOKENS <= 32", "TOKENS < 4")) for each in texts]
    found = objections(wrong)
    assert {each.name for each in found} == {each.name for each in texts if dict(each.parameters)["TOKENS"] in (4, 8)}
    assert {each.line for each in found} == {1 + texts[0].text[: texts[0].text.index("static_assert")].count("\n")}


def test_a_clang_that_cannot_judge_is_no_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_end, "clang", lambda: (sys.executable, "-c", "exit('language not recognized')"))
    with pytest.raises(RuntimeError, match="language not recognized"):
        objections(kernel_texts()[:1])
