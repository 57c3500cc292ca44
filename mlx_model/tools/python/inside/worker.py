"""The kernel: keeps the variables of the cells it runs. Requests come and replies go as JSON lines over two pipes.

Run as `python -I -u worker.py REQUESTS REPLIES`, two numbers of file descriptors. A request is {"id", "code"} or
{"interrupt": id}; a reply is {"id", "status"}, the first for the id "" when it is ready, then one for each cell. What a
cell shows (its output, the value of its last expression, its traceback) goes to standard output in the order of time.

With IPython its syntax (%magic, !command) and its display of values are there. Top-level await works without it.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import contextlib
import inspect
import io
import json
import linecache
import os
import queue
import signal
import sys
import threading
import traceback
import types
import warnings
from typing import Any, NoReturn

_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_DESCRIPTORS = {"stdout": 1, "stderr": 2}
_LONGEST_VALUE = 1_000_000  # characters


class Worker:
    """Runs cells in one namespace, which is that of `__main__`."""

    def __init__(self, requests: int, replies: int) -> None:
        for descriptor in (requests, replies):
            os.set_inheritable(descriptor, False)
        self._requests = os.fdopen(requests, "r", encoding="utf-8")
        self._replies = replies
        self._output = os.dup(_DESCRIPTORS["stdout"])
        self._pid = os.getpid()
        self._cells: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._interruptible: str | None = None
        self._to_interrupt: str | None = None
        self._cell = 0
        self._figure = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        main = types.ModuleType("__main__")
        main.__dict__["__builtins__"] = builtins
        sys.modules["__main__"] = main
        self._names = main.__dict__
        self._shell = _ipython(main, self._show_data)

    def serve(self) -> NoReturn:
        """Runs cells until the pipe of requests is closed, which ends this process and all of its group."""
        signal.signal(signal.SIGINT, self._on_interrupt)
        threading.Thread(target=self._read, daemon=True).start()
        self._reply({"id": "", "status": "ok"})
        while True:
            request = self._cells.get()
            signal.signal(signal.SIGINT, self._on_interrupt)  # the cell before may have ignored it
            status = self._run(request["id"], request["code"])
            if os.getpid() != self._pid:  # a fork that came back from the cell
                os._exit(0)
            self._restore_output()
            self._reply({"id": request["id"], "status": status})

    def _restore_output(self) -> None:
        """Writes what is waiting; what the cell has closed is open for the next one."""
        for name in ("stdout", "stderr"):
            try:
                getattr(sys, name).flush()
            except Exception:
                setattr(sys, name, _open_output(_DESCRIPTORS[name]))
        for descriptor in _DESCRIPTORS.values():
            os.dup2(self._output, descriptor)

    def _read(self) -> None:
        try:
            for line in self._requests:
                request = json.loads(line)
                if "interrupt" in request:
                    self._interrupt(request["interrupt"])
                else:
                    self._cells.put(request)
        finally:  # the program has ended, if by kill -9; or the cell has closed the pipe
            if os.getpgrp() == os.getpid():
                os.killpg(os.getpid(), signal.SIGKILL)
            os._exit(0)

    def _interrupt(self, cell: str) -> None:
        self._to_interrupt = cell
        self._interrupt_programs()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def _interrupt_programs(self) -> None:
        """Those that the cell has started, and this one."""
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGINT)

    def _on_interrupt(self, *_: object) -> None:
        """Raises once for a request, which may arrive as two signals, and never in a later cell."""
        if self._interruptible is not None and self._interruptible == self._to_interrupt:
            self._interruptible = None
            raise KeyboardInterrupt

    def _reply(self, message: dict[str, object]) -> None:
        os.write(self._replies, json.dumps(message).encode() + b"\n")

    def _run(self, number: str, code: str) -> str:
        self._cell += 1
        status = "ok"
        try:
            try:
                self._interruptible = number
                self._on_interrupt()  # if it was asked for before the cell began
                self._execute(code, f"<cell {self._cell}>")
            finally:
                self._interruptible = None
        except SystemExit as error:  # exit() ends the cell; the variables stay
            status = _exit_status(error.code)
        except BaseException as error:
            _print_traceback(error)
            status = "error"
        if self._to_interrupt == number:  # one that was being started may have missed it, and nobody waits for it now
            self._interrupt_programs()
        try:
            self._show_figures()
        except (
            BaseException
        ) as error:  # of a hostile module that calls itself matplotlib, or a figure that can't be drawn
            _print(f"A figure could not be drawn: {type(error).__name__}: {error}")
        return status

    def _execute(self, code: str, name: str) -> None:
        if self._shell is not None:
            code = self._shell.transform_cell(code)
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        tree = compile(code, name, "exec", ast.PyCF_ONLY_AST | _FLAGS, dont_inherit=True)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        self._evaluate(compile(tree, name, "exec", _FLAGS, dont_inherit=True))
        if not isinstance(last, ast.Expr):
            return
        value = self._evaluate(compile(ast.Expression(last.value), name, "eval", _FLAGS, dont_inherit=True))
        if value is not None and not code.rstrip().endswith(";"):
            self._names["_"] = value
            self._show(value)

    def _evaluate(self, compiled: types.CodeType) -> Any:
        value = eval(compiled, self._names)
        if not compiled.co_flags & inspect.CO_COROUTINE:
            return value
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(value)

    def _show(self, value: object) -> None:
        if self._shell is not None:
            wanted = {"text/plain", "image/png"}
            self._show_data(self._shell.display_formatter.format(value, include=wanted)[0])
            return
        draw = getattr(type(value), "_repr_png_", None)
        picture = draw(value) if draw else None
        self._show_data({"image/png": picture} if picture else {"text/plain": repr(value)})

    def _show_data(self, data: dict[str, Any]) -> None:
        """A value by its types of content: a picture if it has one, else its text."""
        picture = data.get("image/png")
        if isinstance(picture, bytes):
            self._show_picture(picture)
        elif "text/plain" in data:
            _print(str(data["text/plain"])[:_LONGEST_VALUE])

    def _show_figures(self) -> None:
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        for number in pyplot.get_fignums():
            picture = io.BytesIO()
            pyplot.figure(number).savefig(picture, format="png", dpi=100, bbox_inches="tight")
            self._show_picture(picture.getvalue())
        pyplot.close("all")

    def _show_picture(self, picture: bytes) -> None:
        """Saves it under a name that is free, and says so."""
        while True:
            self._figure += 1
            name = f"plot-{self._figure}.png"
            with contextlib.suppress(FileExistsError):
                with open(os.path.join(_FOLDER, name), "xb") as file:  # noqa: PTH118, PTH123
                    file.write(picture)
                break
        width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
        _print(f"[figure {self._figure}: {width}x{height} PNG, shown to the user, saved as {name}]")


_FOLDER = os.getcwd()  # noqa: PTH109


def _print(text: str) -> None:
    with contextlib.suppress(Exception):  # the cell has closed or replaced it
        print(text, file=sys.stdout, flush=True)


def _open_output(descriptor: int) -> io.TextIOWrapper:
    raw = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


def _exit_status(code: object) -> str:
    """Prints what a cell says in leaving, unless it succeeded; how it ended."""
    if code is None or code == 0:
        return "ok"
    if not isinstance(code, int):  # as Python: the reason why
        _print(str(code))
        code = 1
    _print(f"[exit status {code}]")
    return "error"


def _print_traceback(error: BaseException) -> None:
    """Prints the error with the frames of cells and of modules in the folder; those of libraries say little."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    try:
        found = traceback.TracebackException(type(error), error, error.__traceback__)
        _keep_own_frames(found, set())
        text = "".join(found.format())
    except BaseException as another:  # the error's own __str__ fails
        text = f"{type(error).__name__} (its text can't be shown: {type(another).__name__})\n"
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except Exception:
        with contextlib.suppress(OSError):
            os.write(2, text.encode(errors="replace"))


def _keep_own_frames(found: traceback.TracebackException | None, seen: set[int]) -> None:
    if found is None or id(found) in seen:
        return
    seen.add(id(found))
    own = [frame for frame in found.stack if frame.filename.startswith(("<cell ", _FOLDER + os.sep))]
    found.stack = traceback.StackSummary.from_list(own)
    _keep_own_frames(found.__cause__, seen)
    _keep_own_frames(found.__context__, seen)
    for inner in getattr(found, "exceptions", None) or ():
        _keep_own_frames(inner, seen)


def _no_input(prompt: object = "", /) -> NoReturn:
    raise RuntimeError("input() can't be used here: nobody can type into this notebook")


def _ipython(main: types.ModuleType, show: Any) -> Any:
    """IPython's shell around the namespace of cells; None where this Python has none."""
    try:
        from IPython.core.displaypub import DisplayPublisher
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config
    except Exception:
        return None

    class Publisher(DisplayPublisher):  # type: ignore[misc,unused-ignore]
        def publish(self, data: dict[str, Any], *arguments: Any, **keywords: Any) -> None:
            show(data)

        def clear_output(self, wait: bool = False) -> None:
            pass

    class Shell(InteractiveShell):  # type: ignore[misc,unused-ignore]
        def system(self, command: str) -> None:
            """As a plain shell: IPython's own needs a terminal, which the sandbox has not."""
            import subprocess

            completed = subprocess.run(self.var_expand(command, depth=1), shell=True, check=False)
            self.user_ns["_exit_code"] = completed.returncode

        def enable_matplotlib(self, gui: object = None) -> tuple[None, str]:
            """Figures are saved after each cell in any case."""
            return None, "agg"

        def enable_gui(self, gui: object = None) -> None:
            pass

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.display_pub_class = Publisher
    shell = Shell(config=config, user_module=main, user_ns=main.__dict__)
    InteractiveShell._instance = Shell._instance = shell
    for name in ("exit", "quit"):  # IPython's own take no status
        main.__dict__.pop(name, None)
    # Without its display hook and its hook for errors: values and tracebacks are shown by the worker.
    return shell


def main() -> None:
    """Serves the two pipes given on the command line."""
    requests, replies = (int(number) for number in sys.argv[1:3])
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    sys.stdout, sys.stderr = (_open_output(descriptor) for descriptor in _DESCRIPTORS.values())
    builtins.input = _no_input
    sys.path.insert(0, "")
    sys.argv = [""]
    warnings.filterwarnings("ignore", message=".*FigureCanvasAgg is non-interactive")
    Worker(requests, replies).serve()


if __name__ == "__main__":
    main()
