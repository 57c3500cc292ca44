"""The tools that a person has switched on: which there are, and who decides on their calls."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from app.paths import verdicts_file
from app.tools import managed_python
from app.tools.permission import Decision, decide, rules_of
from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.python import Python
from mlx_model.tools.toolbox import Toolbox

Ask = Callable[[ToolCall, str], Awaitable[str | None]]
"""Shows the person a call, and why it needs their word. None allows it, a text is what the model is told instead."""

FORBIDDEN = "The user does not allow this tool."


class SwitchedOn:
    """The tools of these names, for one conversation.

    `folder` is where the code of the model has its files, `permissions` are those of the settings. `ask` is asked where
    these don't decide. Starts nothing by itself; `close` ends what a call has started.
    """

    def __init__(self, names: Iterable[str], folder: Path, permissions: Mapping[str, str], ask: Ask) -> None:
        self.names = tuple(names)
        self.folder = folder
        self._rules = rules_of(permissions)
        self._ask = ask
        # It asks nobody: where it is not confined, `approve` has the person look at each cell.
        self._python = Python(
            folder, interpreter=managed_python.find(), allow_unconfined=True, verdicts=verdicts_file()
        )
        self.toolbox = Toolbox([self._python] if "python" in self.names else [])

    async def instructions(self, own: str | None) -> str | None:
        """The developer message: a conversation's own instructions, and what holds of the tools here.

        The model was trained with one text for python, which leaves open whether there is a network, names a folder
        that not every sandbox can have, and keeps plots and files out of it.
        """
        if "python" not in self.names:
            return own
        await self._python.prepare()
        network = "Internet access of python is disabled. " if self._python.confined else ""
        files = f"You may use python to make plots and files, too: files saved under '{self._python.data}' are shown "
        return "\n\n".join(filter(None, [own, f"{network}{files}to the user."]))

    async def approve(self, call: ToolCall) -> str | None:
        """None if the call may be run, else what to tell the model in place of a result."""
        confined, why = False, "there is no rule for it"
        if call.name == "python":
            await self._python.prepare()
            confined = self._python.confined
            why = "the settings say so" if confined else f"it is not confined here: {self._python.why_not}"
        match decide(self._rules, call, confined=confined):
            case Decision.ALLOW:
                return None
            case Decision.DENY:
                return FORBIDDEN
            case Decision.ASK:
                return await self._ask(call, why)

    async def close(self) -> None:
        """End what runs. The folder stays, unless there is nothing in it."""
        await self.toolbox.close()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
