"""The kits that there are, by the names that a person switches them on by."""

from collections.abc import Iterable

from app.paths import work_folder
from app.tools.kit import Kit
from app.tools.python_kit import PythonKit


def kits_of(names: Iterable[str], conversation: str) -> list[Kit]:
    """The kits of these names, each of app.tools.names.TOOLS, for a conversation. Nothing is started."""
    return [PythonKit(work_folder(conversation)) for name in names if name == "python"]
