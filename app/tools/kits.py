"""The kits that there are, by the names that a person switches them on by."""

from collections.abc import Iterable

from app.paths import work_folder
from app.tools.kit import Kit
from app.tools.mcp_kit import McpKit, MissingKit
from app.tools.mcp_servers import read_servers
from app.tools.names import TOOLS
from app.tools.python_kit import PythonKit


def kits_of(names: Iterable[str], conversation: str) -> list[Kit]:
    """The kits of these names, for a conversation. Nothing is started. A name that isn't, or no longer, one of
    app.tools.names.available() has a kit that says so."""
    kits: list[Kit] = []
    servers = read_servers(TOOLS).servers
    for name in names:
        if name == "python":
            kits.append(PythonKit(work_folder(conversation)))
        elif name in servers:
            kits.append(McpKit(servers[name], work_folder(conversation)))
        else:
            kits.append(MissingKit(name))
    return kits
