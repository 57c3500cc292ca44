"""Every folder, file and environment variable of the program, once.

GPTOSS_CHAT_HOME    one folder for conversations and settings, in place of the two that this system has for such data
GPTOSS_CHAT_DEBUG   when set, a bug of the program shows its traceback
GPTOSS_CHAT_TOKEN   the token of the server that the chat connects to (app/remote/token.py)
GPTOSS_CHAT_FILE_PASSWORD   what opens a locked PDF that is attached by `gptoss-chat ask` (app/cli/files.py)

Two more are read by lower rooms, which know nothing of this program:

GPTOSS_KERNELS      which Metal kernels are used (metal/trust/select.py)
GPTOSS_CACHE_DIR    the folder for what can be made anew, as the vocabulary (mlx_model/folders.py)

The Hub's cache and the variables that move it (HF_HOME and others) are huggingface_hub's.
"""

import os
from pathlib import Path

from platformdirs import user_config_path, user_data_path

from metal.files import expanded
from mlx_model.errors import RequestError

HOME = "GPTOSS_CHAT_HOME"
DEBUG = "GPTOSS_CHAT_DEBUG"
FILE_PASSWORD = "GPTOSS_CHAT_FILE_PASSWORD"

_PROGRAM = "gptoss-chat"


def conversations_file() -> Path:
    """The database of the conversations. Raises RequestError if the variable names no folder."""
    return _data() / "conversations.db"


def work_folder(conversation: str) -> Path:
    """Where the code that the model runs in a conversation has its files. Raises RequestError, likewise."""
    return work_folders() / conversation


def work_folders() -> Path:
    """Where these are, of all conversations. Raises RequestError, likewise."""
    return _data() / "work"


def kept_folder(conversation: str) -> Path:
    """Where the tools of a conversation keep what its model has no hand in: pages it has read, changed files as
    they were. Raises RequestError, likewise."""
    return _data() / "kept" / conversation


def texts_folder(conversation: str) -> Path:
    """Where the texts are that were read by parts in a conversation. Raises RequestError, likewise."""
    return kept_folder(conversation) / "texts"


def kept_texts(digest: str) -> list[Path]:
    """The files of such a text, whatever the conversation. Raises RequestError, likewise."""
    return [*(_data() / "kept").glob(f"*/texts/{digest}.txt")]


def readings_folder() -> Path:
    """Where notes are kept that `ask` has made on a document, until it has answered. Raises RequestError, likewise."""
    return _data() / "readings"


def pages_folder() -> Path:
    """Where the web pages are that the model wrote and the person opened. Raises RequestError, likewise."""
    return _data() / "pages"


def python_folder() -> Path:
    """Where the Python is that `gptoss-chat tools python` makes. Raises RequestError, likewise."""
    return _data() / "python"


def verdicts_file() -> Path:
    """What the tests of sandboxes have said on this computer. Raises RequestError, likewise."""
    return _data() / "sandboxes.json"


def mcp_log(server: str) -> Path:
    """What the program of an MCP server writes on its standard error. Raises RequestError, likewise."""
    return _data() / "logs" / f"mcp-{server}.log"


def server_log() -> Path:
    """What the server beside a chat writes on its standard error. Raises RequestError, likewise."""
    return _data() / "logs" / "server.log"


def server_token_file() -> Path:
    """The token that clients of `gptoss-chat serve` need. Raises RequestError, likewise."""
    return _data() / "server-token"


def tokens_file() -> Path:
    """The tokens of servers that the chat connects to. Raises RequestError, likewise."""
    return _config() / "tokens.json"


def adapter_folder(name: str) -> Path:
    """Where the LoRA adapter of this name is. Raises RequestError, likewise."""
    return adapter_folders() / name


def adapter_folders() -> Path:
    """Where those are that `gptoss-chat finetune` has made. Raises RequestError, likewise."""
    return _data() / "adapters"


def settings_file() -> Path:
    """The settings file. Raises RequestError, likewise."""
    return _config() / "settings.toml"


def mcp_file() -> Path:
    """The MCP servers that the person has. Raises RequestError, likewise."""
    return _config() / "mcp.json"


def is_debugging() -> bool:
    """Whether a bug is to show its traceback."""
    return DEBUG in os.environ


def _config() -> Path:
    return _home() or user_config_path(_PROGRAM, appauthor=False)


def _data() -> Path:
    return _home() or user_data_path(_PROGRAM, appauthor=False)


def _home() -> Path | None:
    folder = os.environ.get(HOME)
    try:
        return expanded(folder) if folder else None
    except OSError as error:
        raise RequestError(f"{HOME} is {folder}, but {error.strerror}: write the folder in full") from None
