"""Walks through earlier prompts, with the one being typed as the newest; plain Python."""

from collections.abc import Iterable

MAX_PROMPTS = 200
"""Prompts that are remembered."""


class Recall:
    """Prompts, oldest first, without repeats next to each other."""

    def __init__(self) -> None:
        self._prompts: list[str] = []
        self._at = 0  # which one is in the input; one after the last: what is being typed
        self._typed = ""
        self._shown = ""  # what the input has of the one that is in it

    def learn(self, older: Iterable[str]) -> None:
        """Put earlier prompts, oldest first, before those that are known."""
        known, self._prompts = self._prompts, []
        for prompt in (*older, *known):
            self.add(prompt)

    def add(self, prompt: str) -> None:
        """A prompt was sent."""
        if prompt.strip() and prompt not in self._prompts[-1:]:
            self._prompts = [*self._prompts, prompt][-MAX_PROMPTS:]
        self._at = len(self._prompts)

    def older(self, current: str) -> str | None:
        """The prompt before the one that is `current`; None if there is none. What was typed or changed is kept."""
        if self._at == len(self._prompts) or current != self._shown:
            self._at, self._typed = len(self._prompts), current
        if self._at == 0:
            return None
        self._at -= 1
        self._shown = self._prompts[self._at]
        return self._shown

    def newer(self, current: str) -> str | None:
        """The prompt after the one that is `current`, and at last what was typed; None if that is there already."""
        if self._at == len(self._prompts) or current != self._shown:
            return None
        self._at += 1
        self._shown = self._prompts[self._at] if self._at < len(self._prompts) else self._typed
        return self._shown

    def shown_as(self, text: str) -> None:
        """What the input has of the prompt that it was given last: inert text, and files as nothing was noted on
        them."""
        self._shown = text
