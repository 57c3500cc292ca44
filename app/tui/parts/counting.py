"""Counts the tokens of what is being typed, once it may be long, and says so on the input's border."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from app.documents.attachments import Attachment, join
from app.tui.parts.desk import Desk
from app.tui.parts.engine import EngineKeeper
from app.tui.text.prompt_size import LEAST, PromptSize
from mlx_model.errors import GptossError
from mlx_model.tokens import about_tokens

REST_S = 0.3
"""How long typing must rest before anything is counted."""


class Counting:
    """The engine counts in the loaded model's vocabulary; without one the tokens are estimated.

    `used` is how many tokens of the context the conversation before the prompt takes.
    """

    def __init__(self, desk: Desk, engine: EngineKeeper, used: Callable[[], int]) -> None:
        self._desk = desk
        self._engine = engine
        self._used = used
        self._files: dict[Attachment, int] = {}  # what has been counted of those that are attached
        self._rest: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        """The text has changed, or what is attached."""
        if self._rest is not None:
            self._rest.cancel()
        composer = self._desk.composer
        # Hardly any text has more tokens than characters.
        if composer.attached.attachments or len(composer.text) >= LEAST:
            self._rest = asyncio.get_running_loop().call_later(REST_S, self._count)
        else:
            composer.say_size("", fits=True)

    async def tokens(self, texts: Sequence[str]) -> tuple[list[int], bool]:
        """How many tokens each of these texts has, and whether they were counted: else they are estimated."""
        try:
            return await self._engine.process.count(texts), True
        except GptossError:
            return await asyncio.to_thread(lambda: [about_tokens(each) for each in texts]), False

    def loaded(self) -> None:
        """Another model counts in another way."""
        self._files.clear()
        self.changed()

    def _count(self) -> None:
        self._desk.run(self._say(), group="count", exclusive=True)

    async def _say(self) -> None:
        composer = self._desk.composer
        text, attachments = composer.text, composer.attached.attachments
        uncounted = [each for each in attachments if each not in self._files]
        texts = [text, *(join("", [each]) for each in uncounted)]
        (tokens, *files), exact = await self.tokens(texts)
        known = self._files | dict(zip(uncounted, files, strict=True))
        if exact:
            self._files = {each: known[each] for each in attachments}
            composer.attached.count(self._files)
        tokens += sum(known[each] for each in attachments)
        if (text, attachments) == (composer.text, composer.attached.attachments):  # else it is counted anew
            size = PromptSize(tokens, exact, self._used(), self._desk.status.limit)
            composer.say_size(str(size), fits=size.fits)
            composer.attached.advise({} if size.fits or not attachments else await self._advice(size, known))

    async def _advice(self, size: PromptSize, tokens: Mapping[Attachment, int]) -> dict[Attachment, str]:
        """What of the longest file would fit in place of it."""
        from app.documents.files import what_fits

        composer = self._desk.composer
        longest = max(composer.attached.attachments, key=lambda each: tokens.get(each, 0))
        room = size.room - size.tokens + tokens.get(longest, 0)
        return {longest: await asyncio.to_thread(what_fits, longest.name, composer.folder, room)}
