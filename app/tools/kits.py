"""The kits that there are, by the names that a person switches them on by."""

from collections.abc import Iterable

from app.paths import kept_folder, work_folder
from app.settings import load
from app.tools.browser_kit import BrowserKit
from app.tools.kit import Kit
from app.tools.python_kit import PythonKit


def kits_of(names: Iterable[str], conversation: str, *, is_kept: bool = True) -> list[Kit]:
    """The kits of these names, each of app.tools.names.TOOLS, for a conversation. Nothing is started. Without `is_kept`
    there will be no later turn, for which the pages that it opens would be kept."""
    kits: list[Kit] = []
    for name in names:
        if name == "python":
            kits.append(PythonKit(work_folder(conversation)))
        elif name == "browser":
            kits.append(BrowserKit(kept_folder(conversation) / "pages" if is_kept else None, load().browser))
    return kits
