"""Runs code blocks of a conversation, as the tool python runs what the model calls: as confined, and as bounded."""

import re
from dataclasses import replace

from app.tools.code import SHELL
from app.tools.kit import Kit
from app.tools.permission import Decision
from app.tools.switched_on import Ask
from mlx_model.errors import RequestError
from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import Output, ToolResult, bounded

NAME = "python"
_SHELLS = {"bash": "bash", "zsh": "zsh"}
_AS_PYTHON = """\
import shutil, subprocess
try:
    raise SystemExit(subprocess.run([shutil.which({shell!r}) or "sh", "-c", {code!r}]).returncode)
except KeyboardInterrupt:  # the person stops it, or it has come to a limit
    pass
"""
_STATUS = re.compile(r"\n?\[(exit status -?\d+)\]\s*\Z")


class CodeRunner:
    """Runs one block at a time, in the folder of the conversation. Python's variables stay from block to block until
    another conversation has one run.

    `ask` is asked before each block of Python that can't be confined here. Shell is then not run at all: what it does
    depends on the computer more than on what can be read.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._open: tuple[str, Kit] | None = None

    async def run(self, conversation: str, code: str, language: str, by: str, output: Output) -> ToolResult:
        """Run a block that is run `by` PYTHON or SHELL. Raises RequestError where it may not be, or can't."""
        kit = await self._kit(conversation)
        await kit.prepare()
        if kit.trouble:
            raise RequestError(f"no code can be run here: {kit.trouble}")
        call = ToolCall(NAME, code, arguments={"code": code})
        wish = await kit.wish(call)
        if wish.default is not Decision.ALLOW:
            if by == SHELL:
                raise RequestError(f"shell is run only where it is confined, and {wish.why}")
            if not (await self._ask(call, wish)).allowed:
                raise RequestError("the code was not run")
        if by == SHELL:
            shell = _SHELLS.get(language.lower(), "sh")
            cell = _AS_PYTHON.format(shell=shell, code=code)
            call = ToolCall(NAME, code, arguments={"code": f"exec({cell!r}, {{}})"})  # its names are no variables
        return _with_status(await kit.tools[0].run(call, bounded(output)))

    async def close(self) -> None:
        """End what runs, and forget the variables."""
        if self._open is not None:
            (_, kit), self._open = self._open, None
            await kit.close()

    async def _kit(self, conversation: str) -> Kit:
        if self._open is None or self._open[0] != conversation:
            from app.tools.kits import kits_of  # only now: most chats need none of it

            await self.close()
            self._open = conversation, kits_of([NAME], conversation)[0]
        return self._open[1]


def _with_status(result: ToolResult) -> ToolResult:
    """The status that a cell has left with is how it ended, and none of its output."""
    if not result.error or (status := _STATUS.search(result.text)) is None:
        return result
    return replace(result, text=result.text[: status.start()], outcome=status[1])
