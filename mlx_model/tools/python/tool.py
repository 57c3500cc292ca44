"""The python tool: cells in one kernel, which is started when it is needed and confined where that is possible."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import CHARACTERS_A_TOKEN, ROOM, Output, ToolResult
from mlx_model.tools.python.bubblewrap import DATA
from mlx_model.tools.python.files import changed, snapshot
from mlx_model.tools.python.kernel import MOST_CODE, Cell, Ending, Kernel, KernelError
from mlx_model.tools.python.result import MOST_BYTES, NO_OUTPUT
from mlx_model.tools.python.sandbox import Confinement, Interpreter, Sandbox
from mlx_model.tools.python.selftest import Verdicts, choose

TIMEOUT_S = 120.0
"""As the model was told in its training."""
MEMORY = 2 << 30
IDLE_S = 1_800.0
_LOST = "The kernel was restarted, variables are lost."


class Python:
    """Runs the model's Python code, statefully: variables stay from cell to cell, files in `folder`.

    Without a `folder` there is one until `close`. A cell is interrupted after `timeout_s` seconds; a cell and all its
    processes may hold `memory` bytes; after `idle_s` seconds without a cell the kernel ends. `interpreter` runs the
    code, None: the Python of this program.

    The code has no network and no file but those in the folder where `confined` says so, which `prepare` finds out;
    what a test of the sandbox said is kept in the file `verdicts`. Where it is not confined, cells are refused, unless
    `allow_unconfined` says that somebody has looked at each.
    """

    name = "python"
    declaration = "python"

    def __init__(
        self,
        folder: Path | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        interpreter: Path | None = None,
        confinement: Confinement = Confinement.AUTO,
        allow_unconfined: bool = False,
        memory: int = MEMORY,
        idle_s: float = IDLE_S,
        verdicts: Path | None = None,
    ) -> None:
        self._folder = folder
        self._temporary: Path | None = None
        self._scratch: Path | None = None
        self._timeout_s = timeout_s
        self._executable = interpreter or Path(sys.executable)
        self._confinement = confinement
        self._allow_unconfined = allow_unconfined
        self._memory = memory
        self._idle_s = idle_s
        self._verdicts = Verdicts(verdicts)
        self._sandbox: Sandbox | None = None
        self._why_not = "the sandbox was not tried yet"
        self._kernel: Kernel | None = None
        self._lost_variables = False  # since the last result
        self._has_run = False
        self._is_closed = False
        self._one_at_a_time = asyncio.Lock()
        self._idle: asyncio.Task[None] | None = None

    @property
    def confinement(self) -> Confinement:
        """What confines it; NONE before `prepare`."""
        return self._sandbox.way if self._sandbox else Confinement.NONE

    @property
    def confined(self) -> bool:
        """Whether the code is kept from the rest of the computer."""
        return self.confinement is not Confinement.NONE

    @property
    def usable(self) -> bool:
        """Whether there is a Python to run, and a folder for it; known after `prepare`."""
        return self._sandbox is not None

    @property
    def why_not(self) -> str:
        """Why it is not confined, or not usable, in words; empty if it is."""
        return self._why_not

    @property
    def data(self) -> str:
        """What the code calls its folder: "/mnt/data", as the model was told in its training, or the folder itself
        where no other name can be given to it."""
        return self._sandbox.data if self._sandbox else str(self._folder or DATA)

    async def prepare(self) -> None:
        """Finds out what confines it; tests the sandbox the first time on this computer. Never raises.

        Where no sandbox holds, or there is no Python to run, `why_not` says so.
        """
        async with self._one_at_a_time:
            await self._prepare()

    def continue_without_variables(self) -> None:
        """The model has run cells in a kernel before this object's: its first result says that variables are lost."""
        self._lost_variables |= not self._has_run

    async def run(self, call: ToolCall, output: Output, room: int = ROOM) -> ToolResult:
        """Runs the code of a call. See `Tool.run`."""
        started = time.monotonic()
        async with self._one_at_a_time:
            if self._idle:
                self._idle.cancel()
            try:
                result = await self._run(str(call.arguments.get("code", call.text)), output, room)
            except (OSError, KernelError) as error:
                self._doubt(str(error))
                result = ToolResult(f"[ERROR] The kernel could not be started: {error}", error=True)
            finally:
                self._idle = None if self._is_closed else asyncio.create_task(self._stop_when_idle())
        return replace(result, seconds=time.monotonic() - started)

    async def close(self) -> None:
        """Ends the kernel, whatever it does. Files stay, unless the folder was made for this object."""
        self._is_closed = True
        if self._idle:
            self._idle.cancel()
        await self._stop()
        if self._temporary is not None:
            await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)

    async def _prepare(self) -> None:
        if self._sandbox is not None:
            return
        try:
            if self._folder is None:
                self._folder = self._temporary = Path(tempfile.mkdtemp(prefix="gptoss-python-"))
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._sandbox, self._why_not = await asyncio.to_thread(self._choose, self._folder.resolve())
        except OSError as error:
            self._why_not = f"{error.filename}: {error.strerror}" if error.filename else str(error)

    def _choose(self, folder: Path) -> tuple[Sandbox, str]:
        interpreter = Interpreter.ask(self._executable)
        way, why_not = Confinement.NONE, "no confinement was asked for"
        if self._confinement is not Confinement.NONE:
            way, why_not = choose(self._confinement, interpreter, self._memory, self._verdicts)
        return Sandbox(way, interpreter, folder, folder, self._memory), why_not

    def _doubt(self, problem: str) -> None:
        """After a kernel did not start, the sandbox is tested again, though it passed once."""
        if self._sandbox is not None and self.confined and not self._is_closed:
            self._verdicts.write(self._sandbox, problem)
            self._sandbox, self._why_not = None, problem

    async def _run(self, code: str, output: Output, room: int) -> ToolResult:
        if self._is_closed:
            return ToolResult("[ERROR] python was switched off.", error=True)
        if len(code) > MOST_CODE:
            return ToolResult(f"[ERROR] The code has more than {MOST_CODE:,} characters.", error=True)
        await self._prepare()
        if self._sandbox is None:
            return ToolResult(f"[ERROR] python can't be started here: {self._why_not}.", error=True)
        if not self.confined and not self._allow_unconfined:
            return ToolResult(
                f"[ERROR] python can't be confined here, so nothing was run: {self._why_not}.", error=True
            )
        kernel = await self._started(self._sandbox)
        before = await asyncio.to_thread(snapshot, self._sandbox.folder)
        try:
            most = CHARACTERS_A_TOKEN * room
            cell = await kernel.run(code, output, self._timeout_s, self._memory, most)
        finally:
            if not kernel.is_alive:
                self._lost_variables = True
                await self._stop()
        text = self._text(cell)
        files = await asyncio.to_thread(changed, self._sandbox.folder, before)
        failed = cell.ending is not Ending.DONE
        outcome = text.rstrip().rpartition("\n")[2].removeprefix("[ERROR] ") if failed else ""
        outcome = outcome or ("" if cell.text else "no output")
        return ToolResult(text, error=failed, files=files, outcome=outcome)

    async def _started(self, sandbox: Sandbox) -> Kernel:
        if self._kernel is None or not self._kernel.is_alive:
            self._lost_variables |= self._kernel is not None
            await self._stop()
            self._scratch = Path(tempfile.mkdtemp(prefix="gptoss-scratch-"))
            sandbox = replace(sandbox, scratch=self._scratch)
            command = await asyncio.to_thread(sandbox.command, "worker.py")
            self._kernel = await Kernel.start(command, sandbox.environment(), sandbox.folder)
            if self._is_closed:
                await self._stop()
                raise KernelError("python was switched off")
        return self._kernel

    def _text(self, cell: Cell) -> str:
        """For the model: what the cell wrote, and what happened to it."""
        lost_before = self._lost_variables and cell.is_alive
        lines = [f"[{_LOST}]"] if lost_before else []
        lines += [cell.text] if cell.text else []
        if event := self._event(cell.ending):
            lines.append(f"[ERROR] {event} {'Variables are kept.' if cell.is_alive else _LOST}")
        elif not cell.text:
            lines.append(NO_OUTPUT)
        self._lost_variables, self._has_run = False, True
        return "\n".join(lines)

    def _event(self, ending: Ending) -> str:
        match ending:
            case Ending.TIMEOUT:
                return f"Timed out after {self._timeout_s:g} s."
            case Ending.FLOOD:
                return f"The cell wrote more than {MOST_BYTES // 1_000_000} MB and was interrupted."
            case Ending.MEMORY:
                return f"The cell took more than {self._memory / 2**30:.1f} GiB of memory and was stopped."
            case Ending.DISK:
                return "The disk is nearly full, so the cell was interrupted."
            case Ending.DIED:
                return "The kernel died."
        return ""

    async def _stop_when_idle(self) -> None:
        await asyncio.sleep(self._idle_s)
        async with self._one_at_a_time:
            self._lost_variables |= self._kernel is not None
            await self._stop()

    async def _stop(self) -> None:
        if self._kernel is not None:
            kernel, self._kernel = self._kernel, None
            await kernel.stop()
        if self._scratch is not None:
            scratch, self._scratch = self._scratch, None
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
