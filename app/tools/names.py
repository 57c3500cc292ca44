"""Which tools a person can switch on: the program's own, and the MCP servers that they have configured."""

import re
import shlex

from mlx_model.errors import RequestError

TOOLS = {
    "python": "runs the model's Python code, in a sandbox without network where there is one",
    "browser": "searches the web and opens pages",
    "files": "reads a folder that you open, and changes it by patches that you see first: files FOLDER",
}
"""What can be switched on, and what it does."""
FOLDER = "files"
"""The one of them that is followed by a folder."""


def available() -> dict[str, str]:
    """What can be switched on here, and what it does: TOOLS, and the person's MCP servers."""
    from app.tools.mcp_servers import read_servers  # only now: most starts need none of it

    servers = read_servers(TOOLS).servers.values()
    return TOOLS | {server.name: f"the tools of an MCP server: {server.place}" for server in servers}


def problems() -> tuple[str, ...]:
    """Lines about the MCP servers that the person has configured and that can't be used as they are written."""
    from app.tools.mcp_servers import read_servers  # only now, likewise

    return read_servers(TOOLS).warnings


def kit_of(name: str) -> str:
    """The tool of a name: "files" of "files=/home/me/project"."""
    return name.partition("=")[0]


def in_words(name: str) -> str:
    """A name as people read it: "files in /home/me/project"."""
    kit, _, folder = name.partition("=")
    return f"{kit} in {folder}" if folder else kit


def read_names(text: str) -> tuple[str, ...]:
    """Names with commas or spaces between, "files" with its folder behind it, in quotes if that has spaces. It becomes
    "files=FOLDER", with the folder in full. Raises RequestError for a name that no tool has, for a folder that can't
    be opened, and without any.
    """
    words = _words(text)
    there, names = dict(TOOLS), dict[str, None]()
    if not words or any(word.lower() not in there for word in words):
        there = available()
    if not words:
        raise RequestError(f"name the tools to switch on; there is: {', '.join(there)}")
    while words:
        name, equals, folder = words.pop(0).partition("=")
        name = name.lower()
        if name not in there or (equals and name != FOLDER):
            raise RequestError(f"there is no tool {name[:40]!r}; there is: {', '.join(there)}{_why(name)}")
        if name == FOLDER:
            if not equals and words and words[0].lower() not in there:
                folder = words.pop(0)
            names = {each: None for each in names if kit_of(each) != FOLDER}
            name = f"{FOLDER}={_opened(folder)}"
        names[name] = None
    return tuple(names)


def _words(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace += ","
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    try:
        return list(lexer)
    except ValueError:
        raise RequestError("the quotation mark before a folder's name has none after it") from None


def _opened(folder: str) -> str:
    from app.tools.files_kit import folder_to_open  # only now, likewise

    return str(folder_to_open(folder))


def _why(name: str) -> str:
    """What is wrong with the MCP server of this name, or with the file that would have it; "" for nothing."""
    place = re.compile(rf"mcpServers\.{re.escape(name)}[.: ]", re.IGNORECASE)
    about = [line for line in problems() if place.search(line) or "mcpServers." not in line]
    return f". {about[0]}" if about else ""
