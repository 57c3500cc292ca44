"""The kit "python": runs the model's code in the conversation's folder, confined where that is possible."""

from collections.abc import Sequence
from pathlib import Path

from app.paths import verdicts_file
from app.tools import managed_python
from app.tools.permission import Decision, Wish
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message, Role
from mlx_model.tools.python import Python


class PythonKit:
    """See Kit. The code's files are in `folder`, which goes at the end if there is nothing in it."""

    name = "python"
    subjects = ("python",)
    trouble = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # It asks nobody: where it is not confined, a person looks at each cell.
        self._python = Python(
            folder, interpreter=managed_python.find(), allow_unconfined=True, verdicts=verdicts_file()
        )
        self.tools = (self._python,)

    @property
    def instructions(self) -> str:
        """See Kit.

        The model was trained with one text for python, which leaves open whether there is a network, names a folder
        that not every sandbox can have, and keeps plots and files out of it.
        """
        network = "Internet access of python is disabled. " if self._python.confined else ""
        files = f"You may use python to make plots and files, too: files saved under '{self._python.data}' are shown "
        return f"{network}{files}to the user."

    @property
    def unconfined(self) -> str:
        """Why its code is not confined, "" if it is. Known after `prepare`."""
        return "" if self._python.confined else self._python.why_not

    @property
    def state(self) -> str:
        """See Kit."""
        if self._python.confined:
            return f"confined by {self._python.confinement}, runs without asking"
        return f"not confined, asks before each cell: {self._python.why_not}"

    async def prepare(self) -> None:
        """See Kit."""
        await self._python.prepare()
        self.trouble = "" if self._python.usable else self._python.why_not

    def follow(self, messages: Sequence[Message]) -> None:
        """See Following. A kernel of this conversation that another run of the program had is gone."""
        if any(message.role is Role.TOOL and message.name == self.name for message in messages):
            self._python.continue_without_variables()

    async def wish(self, call: ToolCall) -> Wish:
        """Confined code needs no permission. Other code is asked for each time: it can reach the whole computer, and
        nobody can allow beforehand what nobody has seen."""
        await self._python.prepare()
        code = str(call.arguments.get("code", call.text))
        if self._python.confined:
            return Wish(("python",), Decision.ALLOW, "a rule says so", code)
        why = f"it is not confined here: {self._python.why_not}"
        return Wish(("python",), Decision.ASK, why, code, always=False)

    async def close(self) -> None:
        """See Kit."""
        await self._python.close()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
