"""A real terminal to run the program in: tmux with a server of its own, driven by keys, read as text."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Terminal:
    """One window; use it as a context manager."""

    def __init__(self, command: Sequence[str], *, width: int = 80, height: int = 24, **environment: str) -> None:
        self._folder = tempfile.TemporaryDirectory(
            prefix="gptoss-"
        )  # short: a socket's path has at most 103 characters
        self._tmux = ["tmux", "-S", f"{self._folder.name}/tmux", "-f", os.devnull]
        assignments = [f"{name}={value}" for name, value in environment.items()]
        # pytest exports the size of its own terminal; a program that believes it never sees a resize.
        program = shlex.join(["env", "-u", "COLUMNS", "-u", "LINES", *assignments, *command])
        # The shell stays to tell the exit code: tmux 3.3 sometimes misses it.
        line = f'{program}; echo "exit code $?."; sleep 600'
        self._run("new-session", "-d", "-x", str(width), "-y", str(height), "-c", str(ROOT), line)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True)
        self._folder.cleanup()

    def keys(self, *keys: str) -> None:
        """Press keys by tmux's names: Enter, Escape, C-e, M-Enter."""
        self._run("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type text as it is."""
        self._run("send-keys", "-l", text)

    def paste(self, text: str) -> None:
        """Paste text as it is, between the marks of a bracketed paste."""
        buffer = Path(self._folder.name, "buffer")
        buffer.write_bytes(text.encode())
        self._run("load-buffer", str(buffer))
        self._run("paste-buffer", "-p", "-r")

    def resize(self, width: int, height: int) -> None:
        """Change the size of the window."""
        self._run("resize-window", "-x", str(width), "-y", str(height))

    def screen(self) -> str:
        """What stands in the window."""
        return self._run("capture-pane", "-p")

    def watches_mouse(self) -> bool:
        """Whether the program has asked for the mouse."""
        return self._run("display-message", "-p", "#{mouse_any_flag}").strip() == "1"

    def styled_screen(self) -> str:
        """What stands in the window, with the control sequences for its looks."""
        return self._run("capture-pane", "-p", "-e")

    def wait_for(self, holds: str | Callable[[str], object], seconds: float = 30.0) -> str:
        """Wait until the screen contains a text, or satisfies a condition; returns it."""
        deadline = time.monotonic() + seconds
        while True:
            screen = self.screen()
            if holds in screen if isinstance(holds, str) else holds(screen):
                return screen
            assert time.monotonic() < deadline, f"waited in vain for {holds!r}; the screen shows:\n{screen}"
            time.sleep(0.1)

    def exit_code(self, seconds: float = 20.0) -> int:
        """Wait for the program to end; its exit code."""
        screen = self.wait_for("exit code ", seconds)
        return int(screen.rpartition("exit code ")[2].partition(".")[0])

    @property
    def pid(self) -> int:
        """The process of the program."""
        return children(int(self._run("display-message", "-p", "#{pane_pid}")))[0]

    @property
    def worker(self) -> int:
        """The engine process that the program has started."""
        return children(self.pid)[0]

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        return done.stdout


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    done = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    return [int(child) for child in done.stdout.split()]


def is_running(pid: int) -> bool:
    """Whether a process exists (a zombie doesn't count)."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(done.stdout.strip()) and not done.stdout.strip().startswith("Z")


def wait_gone(pid: int, seconds: float = 20.0) -> None:
    """Wait until a process has ended."""
    deadline = time.monotonic() + seconds
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


CHAT = (sys.executable, "-m", "app", "--model", "demo", "--temperature", "0")
SCRIPTED_CHAT = (sys.executable, str(Path(__file__).with_name("scripted_chat.py")))
