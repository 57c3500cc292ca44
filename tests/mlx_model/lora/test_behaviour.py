"""How held-out prompts are judged: by the language of the thoughts, and by whether there is an answer."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from mlx_model.events import Event, Finished, MessageEnd
from mlx_model.harmony.message import Effort, assistant, user
from mlx_model.lora import behaviour
from mlx_model.lora.behaviour import Behaviour, behaviours, languages_of
from mlx_model.lora.dialogues import Dialogue
from mlx_model.model import Model
from mlx_model.request import Request

GERMAN, ENGLISH = "Die Antwort ist einfach, wir zählen die Buchstaben.", "The answer is simple, we count the letters."


def dialogue(thought: str, language: str = "") -> Dialogue:
    told = f"reasoning language: {language}" if language else None
    return Dialogue("d:1", (user("Count!"), assistant(thought, "analysis"), assistant("3")), told)


LEARNT = [dialogue(GERMAN, "German"), dialogue(ENGLISH)]


class Scripted:
    """Thinks in English, whatever it is asked, and ends as it is told."""

    reason = "stop"

    def __init__(self, model: Model) -> None:
        pass

    def stream(self, request: Request, cancelled: Callable[[], bool]) -> Iterator[Event]:
        assert request.messages == (user("Count!"),) and request.options.temperature == 0
        yield MessageEnd(assistant("We count the letters of the answer.", "analysis"))
        if self.reason == "stop":
            yield MessageEnd(assistant("3"))
        yield Finished(self.reason)


def judged(trainable: Model, learnt: Sequence[Dialogue] = LEARNT) -> Behaviour:
    return sum(behaviours(trainable, learnt, languages_of(learnt), lambda: False), Behaviour())


def test_thoughts_are_judged_by_their_language(trainable: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaviour, "Session", Scripted)
    assert judged(trainable) == Behaviour(2, 2, asked=1, asked_right=0, unasked=1, unasked_right=1)
    monkeypatch.setattr(Scripted, "reason", "length")
    assert judged(trainable).whole == 0


def test_english_is_known_where_nothing_was_learnt_of_it(trainable: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaviour, "Session", Scripted)
    assert judged(trainable, LEARNT[:1]) == Behaviour(1, 1, asked=1, asked_right=0)
    both = languages_of([LEARNT[0], dialogue("Nous comptons les lettres, la réponse est simple.", "French")])
    assert [both.of(text) for text in ("Wir zählen.", "Nous comptons.", "We count it.")] == ["German", "French", ""]


@pytest.mark.parametrize("language", ["", "English"])
def test_one_language_alone_is_not_judged(language: str, trainable: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaviour, "Session", Scripted)
    assert judged(trainable, [dialogue(ENGLISH, language)]) == Behaviour(1, 1)


def test_languages_are_told_by_what_was_learnt() -> None:
    languages = languages_of(LEARNT)
    assert languages.of("Wir zählen einfach.") == "German"
    assert languages.of("We count the letters.") == ""
    assert languages.of("") is None


def test_the_last_prompt_is_answered_with_its_own_effort(trainable: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[Request]()

    class Asked(Scripted):
        def stream(self, request: Request, cancelled: Callable[[], bool]) -> Iterator[Event]:
            asked.append(request)
            yield Finished("stop")

    monkeypatch.setattr(behaviour, "Session", Asked)
    two = (*dialogue(GERMAN).messages, user("And l?"), assistant("1"))
    judged(trainable, [Dialogue("d:1", two, efforts=(Effort.LOW, Effort.HIGH))])
    assert [(len(request.messages), request.options.effort) for request in asked] == [(4, Effort.HIGH)]
