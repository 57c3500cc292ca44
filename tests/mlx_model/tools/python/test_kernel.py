"""What ends a cell, and what a kernel: limits, interrupts, its own doing, the end of the tool. Not confined here."""

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.python import Confinement, Python
from mlx_model.tools.python import kernel as kernels
from mlx_model.tools.python.result import MOST_SHOWN
from mlx_model.tools.python.selftest import Verdicts
from tests.fixtures import ROOT
from tests.mlx_model.tools.python.cells import a_tool, gone, run, run_briefly, text

LOST = "The kernel was restarted, variables are lost."


@pytest.mark.parametrize(
    "code", ["while True: pass", "import os; os.system('sleep 60')", "import time\nwhile True: time.sleep(60)"]
)
async def test_a_cell_is_interrupted_at_its_time_and_variables_stay(
    python: Python, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "GRACE_S", 60.0)
    await run(python, "x = 1")
    result = await run_briefly(python, code)
    assert result.error
    assert result.text.endswith("[ERROR] Timed out after 0.5 s. Variables are kept.")
    assert await text(python, "x") == "1"


STARTS_LATE = """
import signal, subprocess, time
fork, interrupt, came = subprocess._fork_exec, signal.getsignal(signal.SIGINT), []
def late(*arguments):
    signal.signal(signal.SIGINT, lambda *_: came.append(True))
    while not came:
        time.sleep(0.01)
    print(fork(*arguments), flush=True)
    interrupt()
subprocess._fork_exec = late
subprocess.run(["sleep", "1000"])
"""
"""A program is started as the interrupt comes: only the cell hears of it, and does not know yet what it has started."""


async def test_a_program_that_is_being_started_is_interrupted_too(
    python: Python, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "GRACE_S", 60.0)
    result = await run_briefly(python, STARTS_LATE)
    program = psutil.Process(int(result.text.partition("\n")[0]))
    async with asyncio.timeout(120):
        while program.is_running() and program.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)
    assert await text(python, "1") == "1"


async def test_who_ignores_the_interrupt_is_killed(python: Python, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "GRACE_S", 0.2)
    code = "import signal, os\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint(os.getpid())\nwhile True: pass"
    result = await run_briefly(python, code)
    worker, _, event = result.text.partition("\n")
    assert event == f"[ERROR] Timed out after 0.5 s. {LOST}"
    await gone(int(worker))
    assert await text(python, "1") == "1"


async def test_a_kernel_that_ends_is_replaced_and_the_model_is_told(python: Python) -> None:
    assert await text(python, "x = 1\nimport os\nprint('last', flush=True)\nos._exit(3)") == (
        f"last\n[ERROR] The kernel died. {LOST}"
    )
    assert "NameError" in await text(python, "x")
    # Between two cells nobody looks.
    end = "def end():\n    while not os.path.exists('end'): time.sleep(0.01)\n    os._exit(0)"
    await run(python, f"import os, threading, time\n{end}\nthreading.Thread(target=end).start()")
    Path(python.data, "end").touch()
    while python._kernel is not None and python._kernel.is_alive:
        await asyncio.sleep(0.01)
    assert await text(python, "2") == f"[{LOST}]\n2"
    assert await text(python, "3") == "3"


async def test_a_flood_is_stopped(python: Python, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "GRACE_S", 60.0)
    shown: list[str] = []
    result = await run(python, "while True: print('x' * 10_000)", shown)
    assert result.text.endswith("[ERROR] The cell wrote more than 5 MB and was interrupted. Variables are kept.")
    assert len("".join(shown)) <= MOST_SHOWN
    assert await text(python, "1") == "1"


async def test_memory_is_limited_for_one_process_and_for_all(tmp_path: Path) -> None:
    tool = a_tool(tmp_path, memory=300 << 20)
    if sys.platform == "linux":  # macOS has no limit for a process
        assert (await text(tool, "b = bytearray(2 << 30)")).endswith("MemoryError")
    code = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        b = b"x" * (100 << 20)
        time.sleep(60)
time.sleep(60)
"""
    assert await text(tool, code) == f"[ERROR] The cell took more than 0.3 GiB of memory and was stopped. {LOST}"
    await tool.close()


FIND_PIPE = """
import os, gc
worker = next(o for o in gc.get_objects() if type(o).__name__ == "Worker")
pipe = worker._replies
"""


async def test_a_forged_reply_shifts_no_later_result(python: Python) -> None:
    forged = (
        """os.write(pipe, b'{"id": "0", "status": "ok"}\\n{"id": "", "status": "ok"}\\nnonsense\\n[1]\\n')\n'real'"""
    )
    assert await text(python, FIND_PIPE + forged) == "'real'"
    assert [await text(python, str(number)) for number in range(3)] == ["0", "1", "2"]
    assert await text(python, "while True: os.write(pipe, b'x' * 1000)") == f"[ERROR] The kernel died. {LOST}"
    assert await text(python, "1") == "1"


@pytest.mark.parametrize("code", ["os.close(pipe)", "os.close(worker._requests.fileno())\nwhile True: pass"])
async def test_a_cell_that_closes_the_pipes_costs_its_kernel(
    python: Python, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "GRACE_S", 0.2)
    worker = int(await text(python, "import os\nos.getpid()"))
    await run(python, FIND_PIPE)
    assert LOST in (await run_briefly(python, code)).text
    await gone(worker)
    assert await text(python, "1") == "1"


async def test_what_a_cell_does_to_its_output_does_not_outlive_it(python: Python) -> None:
    for code in ("sys.stdout.close()", "os.close(1)", "os.close(2)", "os.dup2(os.open('file', os.O_CREAT), 1)"):
        await run(python, f"import os, sys\n{code}")
        assert await text(python, "print(1)\nos.system('echo 2')\nprint(3, file=sys.stderr)") == "1\n2\n3"


async def test_a_fork_that_comes_back_from_its_cell_ends(python: Python) -> None:
    child = int(await text(python, "import os\nchild = os.fork()\nif child: print(child)"))
    assert await text(python, "os.waitpid(child, 0)[0] == child") == "True"
    assert await text(python, f"os.getpid() != {child}") == "True"


async def test_a_cancelled_cell_is_interrupted(python: Python, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "GRACE_S", 60.0)
    await run(python, "x = 1")
    started = asyncio.Event()
    code = "print('go')\nwhile True: pass"
    call = ToolCall("python", code, "analysis", {"code": code})
    running = asyncio.create_task(python.run(call, lambda text: started.set()))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await text(python, "x") == "1"


async def test_an_interrupt_may_come_before_the_cell_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a call is cancelled at once: the kernel would be killed for a cell that does not end."""
    tool, send = a_tool(tmp_path / "work", timeout_s=60), kernels.Kernel._send

    def send_both(kernel: kernels.Kernel, message: dict[str, str]) -> None:
        send(kernel, message)
        if "code" in message:
            send(kernel, {"interrupt": message["id"]})

    await text(tool, "x = 1")
    with monkeypatch.context() as patch:
        patch.setattr(kernels.Kernel, "_send", send_both)
        for _ in range(5):
            assert (await text(tool, "while True: pass")).endswith("KeyboardInterrupt")
    assert await text(tool, "x") == "1"
    await tool.close()


async def test_a_start_that_is_cancelled_leaves_no_process_and_no_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled(*_: object) -> None:
        raise asyncio.CancelledError

    this = psutil.Process()
    open_files, children = this.num_fds(), this.children()
    monkeypatch.setattr(asyncio.get_running_loop(), "connect_write_pipe", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await kernels.Kernel.start([sys.executable, "-c", "import time; time.sleep(60)"], {}, tmp_path)
    assert (this.num_fds(), this.children()) == (open_files, children)


async def test_an_idle_kernel_ends(tmp_path: Path) -> None:
    tool = a_tool(tmp_path, idle_s=0.01)
    tool.continue_without_variables()
    lost, pid = (await text(tool, "import os\nx = 1\nos.getpid()")).splitlines()
    assert lost == f"[{LOST}]"
    worker = int(pid)
    tool.continue_without_variables()  # of cells that this very tool has run
    await gone(worker)
    assert (await text(tool, "x")).startswith(f"[{LOST}]\nTraceback")
    assert LOST not in await text(tool, "1")
    await tool.close()


async def test_variables_that_were_lost_before_an_idle_time_are_lost_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel was killed for a cancelled call, whose result nobody has read."""
    monkeypatch.setattr(kernels, "GRACE_S", 0.1)
    tool, started = a_tool(tmp_path, idle_s=0.01), asyncio.Event()
    code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('go')\nwhile True: pass"
    call = ToolCall("python", code, "analysis", {"code": code})
    running = asyncio.create_task(tool.run(call, lambda text: started.set()))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert tool._idle is not None
    await tool._idle
    assert (await text(tool, "1")).startswith(f"[{LOST}]")
    await tool.close()


async def test_a_closed_tool_leaves_no_process_and_no_folder_of_its_own() -> None:
    tool = a_tool(None)
    worker = int(await text(tool, "import os\nos.getpid()"))
    folder = Path(tool.data)
    assert folder.is_dir()
    await tool.close()
    await tool.close()
    assert not psutil.pid_exists(worker)
    assert not folder.exists()
    assert await text(tool, "1") == "[ERROR] python was switched off."


async def test_a_cell_ends_when_the_tool_is_closed(python: Python) -> None:
    started = asyncio.Event()
    code = "print('go')\nwhile True: pass"
    call = ToolCall("python", code, "analysis", {"code": code})
    running = asyncio.create_task(python.run(call, lambda text: started.set()))
    await started.wait()
    await python.close()
    assert (await running).error


async def test_a_tool_that_is_closed_while_its_kernel_starts_says_nothing_of_the_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else that it was switched off would be kept as what is wrong with it, and shown at the next start."""
    tool, verdicts = a_tool(tmp_path / "work"), tmp_path / "sandbox.json"
    await tool.prepare()
    assert tool._sandbox is not None
    tool._sandbox = replace(tool._sandbox, way=Confinement.LANDLOCK)
    tool._verdicts = Verdicts(verdicts)

    async def start(*_: object) -> SimpleNamespace:
        await tool.close()
        return SimpleNamespace(is_alive=True, stop=lambda: asyncio.sleep(0))

    monkeypatch.setattr(kernels.Kernel, "start", start)
    assert await text(tool, "1") == "[ERROR] The kernel could not be started: python was switched off"
    assert not verdicts.exists()


async def test_without_a_sandbox_nothing_runs_unless_allowed(tmp_path: Path) -> None:
    tool = Python(tmp_path, confinement=Confinement.NONE)
    await tool.prepare()
    assert not tool.confined
    result = await run(tool, "open('x', 'w')")
    assert result.error
    assert result.text.startswith("[ERROR] python can't be confined here, so nothing was run")
    assert [*tmp_path.iterdir()] == []
    await tool.close()


async def test_an_interpreter_that_is_none_is_said(tmp_path: Path) -> None:
    tool = a_tool(tmp_path, interpreter=Path("/bin/false"))
    assert (await text(tool, "1")).startswith("[ERROR] python can't be started here: /bin/false is no Python")
    await tool.close()
    assert (await text(a_tool(tmp_path), "1" * 1_000_001)).startswith("[ERROR] The code has more than")


def test_the_kernel_ends_with_the_program_if_by_kill(tmp_path: Path) -> None:
    program = f"""
import asyncio
from pathlib import Path
from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.python import Confinement, Python
async def main():
    tool = Python(Path({str(tmp_path)!r}), confinement=Confinement.NONE, allow_unconfined=True)
    code = "import os, subprocess\\nprint(os.getpid(), subprocess.Popen(['sleep', '60']).pid)\\nwhile True: pass"
    await tool.run(ToolCall("python", code, arguments={{"code": code}}), lambda text: print(text, end="", flush=True))
asyncio.run(main())
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # what it can't remove any more goes with this folder
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = [int(word) for word in process.stdout.readline().split()]
        assert len(left) == 2
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        psutil.wait_procs([psutil.Process(pid) for pid in left if psutil.pid_exists(pid)], timeout=120)
    assert not [pid for pid in left if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
