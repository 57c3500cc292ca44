"""`ask --read`: a document that is longer than the context is read by parts before the answer.

The notes are on the disk before the next part is read, so the same command goes on after Ctrl-C or a kill.
"""

import sys
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from pathlib import Path

from app.chat.by_parts import ReadingByParts, has_notes, unread
from app.cli.printing import ProgressLine, say
from app.digests import digest_of
from app.documents.notes import all_notes
from app.engine.engine import Engine
from app.engine.protocol import Ready
from app.lines import counted, duration, one_line
from app.paths import readings_folder
from metal.files import read_small, replace_file
from mlx_model.options import Options

KEPT_S = 30 * 24 * 3600
"""How long notes are kept that nobody goes on with."""
_MOST_BYTES = 100_000_000


async def read_parts(reading: ReadingByParts, keep: Callable[[str], None]) -> None:
    """Read what was planned, and say on standard error how far it is, and what it took; `keep` gets each prompt with
    more notes. Raises EngineError, EngineDied and what `keep` raises."""
    line = ProgressLine(sys.stderr)
    try:
        async with aclosing(reading.events()) as events:
            async for is_new in events:
                if is_new:
                    keep(reading.prompt)
                if reading.progress.parts:
                    line.show(f"{reading.progress.doing}: {reading.progress.figures}")
    finally:
        line.end()
    for notes in [] if unread(reading.prompt) else all_notes(reading.prompt):
        took = f"{notes.read:,} tokens read, {notes.written:,} written, {duration(notes.seconds)}"
        say(f"{one_line(notes.name.removesuffix('*'))}: {counted(notes.parts, 'part')}, {took}")


class Readings:
    """Reads the documents of a prompt, and keeps the notes until `forget`."""

    def __init__(self, prompt: str, ready: Ready) -> None:
        self.prompt = prompt
        key = digest_of(f"{ready.model}\n{ready.context_length}\n{prompt}")
        self._path = readings_folder() / f"{key}.txt" if unread(prompt) else None

    async def read(self, engine: Engine, options: Options) -> None:
        """Read what is to be read, and say on standard error how far it is; `prompt` has the notes then.

        Raises RequestError, EngineError, EngineDied, OSError.
        """
        if self._path is None:
            return
        _forget_old(self._path.parent)
        with suppress(OSError, ValueError):
            self.prompt = read_small(self._path, _MOST_BYTES).decode("utf-8")
            say("going on with the notes that are kept")
        reading = ReadingByParts(engine, self.prompt, options)
        await reading.plan()
        self.prompt = reading.prompt
        for name in reading.fits:
            say(f"{one_line(name)} fits into the context: it is read as it is")
        if reading.cost.parts:
            say(f"{reading.cost}; Ctrl-C stops, the same command goes on")
        try:
            await read_parts(reading, self._keep)
        finally:
            if unread(self.prompt) and has_notes(self.prompt):
                say("the notes so far are kept: the same command goes on with them")

    def _keep(self, prompt: str) -> None:
        assert self._path is not None
        self.prompt = prompt
        replace_file(self._path, prompt.encode("utf-8", "replace"), durable=True, private=True)

    def forget(self) -> None:
        """The prompt is answered."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def to_json(self) -> dict[str, object]:
        """What was read, for other programs."""
        read = [
            {
                "file": notes.name.removesuffix("*"),
                "parts": notes.parts,
                "tokens_read": notes.read,
                "tokens_written": notes.written,
                "seconds": notes.seconds,
                "notes": [{"first": note.first, "last": note.last, "text": note.text} for note in notes.notes],
            }
            for notes in all_notes(self.prompt)
        ]
        return {"read": read} if read else {}


def _forget_old(folder: Path) -> None:
    with suppress(OSError):
        for path in folder.glob("*.txt"):
            if path.stat().st_mtime < time.time() - KEPT_S:
                path.unlink()
