"""The kits that there are, by the names that a person switches them on by."""

from collections.abc import Iterable

from app.paths import work_folder
from app.tools.kit import Kit
from app.tools.mcp_kit import McpKit
from app.tools.mcp_servers import read_servers
from app.tools.names import TOOLS
from app.tools.python_kit import PythonKit


def kits_of(names: Iterable[str], conversation: str) -> list[Kit]:
    """The kits of these names, each of app.tools.names.available(), for a conversation. Nothing is started. A server
    that is no longer configured is left out."""
    kits: list[Kit] = []
    servers = read_servers(TOOLS).servers
    for name in names:
        if name == "python":
            kits.append(PythonKit(work_folder(conversation)))
        elif name in servers:
            kits.append(McpKit(servers[name], work_folder(conversation)))
    return kits
