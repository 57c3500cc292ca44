"""Conversations as trees of token ids: one shared history, and at every turn a branch that is learnt.

In Harmony the analysis of earlier turns is dropped: what the model sees before turn n are the earlier questions and
final answers. A chat of n turns would therefore be n training sequences that repeat one another. Here it is one tree:
the trunk holds system message, questions and final answers, and each turn's analysis and answer are a branch of it. A
token attends to its ancestors only and counts its position along its own path, so every branch sees exactly what it
will see in a chat.
"""

import random
from dataclasses import dataclass, field

from .examples import EFFORTS, Draw, Effort, Example, Step
from .prompts import developer_text, draw_date, system_text
from .tasks import draw_example
from .tokenizer import HarmonyTokenizer
from .words import Words

ROOT = -1


@dataclass
class Tree:
    """A row of training data. Segment `s` has `lengths[s]` ids and continues the path that ends with `parents[s]`."""

    ids: list[int] = field(default_factory=list)
    learnt: list[bool] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def add(self, parent: int, ids: list[int], learnt: bool) -> int:
        """Append a segment below `parent` and return its number."""
        self.ids += ids
        self.learnt += [learnt] * len(ids)
        self.parents.append(parent)
        self.lengths.append(len(ids))
        return len(self.parents) - 1


class Renderer:
    """Harmony messages as ids, each piece of text encoded by itself as the program's own renderer does."""

    def __init__(self, tokenizer: HarmonyTokenizer) -> None:
        self.tokenizer = tokenizer
        self.special = tokenizer.special
        self.turn_start = [self.special["<|start|>"], *tokenizer.encode("assistant")]

    def message(
        self, author: str, text: str, *, to: str = "", channel: str = "", kind: str = "", end: str = "<|end|>"
    ) -> list[int]:
        """A whole message with the recipient behind the author, where the format puts it."""
        encode, special = self.tokenizer.encode, self.special
        ids = [special["<|start|>"], *encode(author), *encode(f" to={to}" if to else "")]
        if channel:
            ids += [special["<|channel|>"], *encode(channel), *encode(f" {kind}" if kind else "")]
        return [*ids, special["<|message|>"], *encode(text), special[end]]

    def generated(self, step: Step) -> list[int]:
        """What the model writes after `<|start|>assistant`: a call has its recipient behind the channel there."""
        encode, special = self.tokenizer.encode, self.special
        header, end = {
            "analysis": ("analysis", "<|end|>"),
            "final": ("final", "<|return|>"),
            "call": ("analysis to=python code", "<|call|>"),
        }[step.kind]
        return [special["<|channel|>"], *encode(header), special["<|message|>"], *encode(step.text), special[end]]

    def opening(self, effort: Effort, date: str | None, python: bool, developer: str = "") -> list[int]:
        """System message and, if any, developer message."""
        functions = "namespace functions" in developer
        ids = self.message("system", system_text(effort, date, python, functions=functions))
        return ids + (self.message("developer", developer) if developer else [])

    def result(self, text: str) -> list[int]:
        """What python printed."""
        return self.message("python", text, to="assistant", channel="analysis")

    def past_call(self, step: Step) -> list[int]:
        """A call of an earlier round as the format renders it."""
        return self.message("assistant", step.text, to="python", channel="analysis", kind="code", end="<|call|>")

    def past(self, example: Example, call: str) -> list[int]:
        """What stays of an answered turn behind its question: the answer, and before it the call and its result.

        `call` says in which form: "sampled" as the model wrote it, "rendered" anew, or "" without it.
        """
        ids: list[int] = []
        for step in example.steps:
            if step.kind == "call" and call:
                ids += self.turn_start + self.generated(step) if call == "sampled" else self.past_call(step)
            elif step.kind == "result" and call:
                ids += self.result(step.text)
            elif step.kind == "final":
                ids += self.message("assistant", step.text, channel="final")
        return ids


class Conversations:
    """A stream of trees: what the model is trained on."""

    def __init__(self, tokenizer: HarmonyTokenizer) -> None:
        self.render = Renderer(tokenizer)
        self.words = Words(tokenizer.pieces())

    def tree(self, rng: random.Random, budget: int, python: bool, long: bool = False) -> Tree:
        """A tree of at most `budget` ids (unless its opening alone is longer).

        Chats of one to five turns fill it one after another below the same opening; with `long` a single chat, whose
        first two thirds are history without branches.
        """
        tree, draw = Tree(), Draw(rng, self.words)
        # At low effort there is little working to learn from.
        effort: Effort = rng.choices(EFFORTS, [12, 44, 44])[0]
        functions = rng.random() < 0.03
        developer = developer_text(rng, self.words, functions) if functions or rng.random() < 0.12 else ""
        opening = self.render.message(
            "system",
            system_text(effort, draw_date(rng), python, browser=long and rng.random() < 0.2, functions=functions),
        )
        trunk = top = tree.add(
            ROOT, opening + (self.render.message("developer", developer) if developer else []), False
        )
        turns_left = 999 if long else rng.choice([1, 1, 2, 3, 4, 5])
        misses = 0
        while misses < 4:
            example = draw_example(draw, effort, python)
            question = self.render.message("user", example.user)
            history = self.render.past(example, call=rng.choice(["sampled", "sampled", "rendered", "rendered", ""]))
            branches = [] if long and len(tree.ids) < 0.66 * budget else self._branches(rng, example)
            needed = len(question) + sum(len(ids) for ids, _, _ in branches) + len(history)
            if len(tree.ids) + needed > budget:
                misses += 1
                continue
            asked = tree.add(trunk, question, False)
            last = asked
            for ids, learnt, from_question in branches:
                last = tree.add(asked if from_question else last, ids, learnt)
            turns_left -= 1
            if turns_left > 0:
                trunk = tree.add(asked, history, False)
            else:
                trunk, turns_left = top, rng.choice([1, 1, 2, 3, 4, 5])
        return tree

    def _branches(self, rng: random.Random, example: Example) -> list[tuple[list[int], bool, bool]]:
        """Segments (ids, learnt, starts at the question) of an answer.

        After a call the program may keep the sampled ids or render the call anew, with or without the analysis before
        it; the answer is learnt behind one of these forms, drawn at random.
        """
        render, steps = self.render, example.steps
        start = render.turn_start
        first: list[int] = []
        for i, step in enumerate(steps):
            if step.kind == "result":
                break
            first += (start if i else []) + render.generated(step)
        # `<|start|>assistant` before the first message is part of the prompt, so it is context here.
        segments = [(start, False, True), (first, True, False)]
        if len(steps) > 2:
            call, result, final = steps[1:]
            form = rng.random()
            if form < 0.4:  # the sampled ids themselves
                segments.append((render.result(result.text) + start, False, False))
            else:
                analysis = render.message("assistant", steps[0].text, channel="analysis") if form < 0.8 else []
                anew = analysis + render.past_call(call)
                segments.append((anew + render.result(result.text) + start, False, True))
            segments.append((render.generated(final), True, False))
        return segments


def corpus(words: Words, number: int, seed: int = 0) -> list[str]:
    """Texts of `number` turns with their system messages, for the tokenizer to learn from."""
    rng = random.Random(seed)
    draw, texts = Draw(rng, words), []
    for i in range(number):
        python = rng.random() < 0.4
        effort = rng.choice(EFFORTS)
        example = draw_example(draw, effort, python)
        texts += [
            example.user,
            *(step.text for step in example.steps),
            "analysis to=python code",
            "python to=assistant",
        ]
        if i % 4 == 0:
            texts.append(system_text(effort, draw_date(rng), python, browser=i % 40 == 0))
            texts += [
                "system",
                "user",
                "assistant",
                "final",
                "developer",
                "# Instructions\n\n",
                "analysis",
                " to=python",
                " code",
            ]
    return texts
