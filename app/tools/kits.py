"""The kits that there are, by the names that a person switches them on by."""

from collections.abc import Iterable
from pathlib import Path

from app.paths import kept_folder, work_folder
from app.tools.files_kit import FilesKit
from app.tools.kit import Kit
from app.tools.mcp_kit import McpKit, MissingKit
from app.tools.mcp_servers import read_servers
from app.tools.names import FOLDER, TOOLS
from app.tools.python_kit import PythonKit


def kits_of(names: Iterable[str], conversation: str) -> list[Kit]:
    """The kits of these names, as app.tools.names.read_names gives them, for a conversation. Nothing is started. An MCP
    server that is no longer configured has a kit that says so."""
    servers = read_servers(TOOLS).servers
    kits: list[Kit] = []
    for name in names:
        kit, _, folder = name.partition("=")
        if kit == "python":
            kits.append(PythonKit(work_folder(conversation)))
        elif kit == FOLDER:
            kits.append(FilesKit(Path(folder), kept_folder(conversation) / "patches"))
        elif kit in servers:
            kits.append(McpKit(servers[kit], work_folder(conversation)))
        else:
            kits.append(MissingKit(name))
    return kits
