"""What people type or paste as the name of a model: which name it means, or what it is instead. No network, no disk."""

import re
from urllib.parse import unquote, urlsplit

_BOTH = "gpt-oss-20b or gpt-oss-120b"
_HUB = ("huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co")
_PAGES = ("tree", "blob", "resolve", "raw", "commit", "commits")  # of one revision
_NO_MODELS = ("datasets", "spaces", "collections", "papers", "docs", "buckets")
_QUOTES = "\"'`\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u2039\u203a"
_SIZE = re.compile(r"(?:openai/)?gpt[-_ ]?oss[-_ :]+(20b|120b)", re.IGNORECASE)  # with ":" as in Ollama
_SIZELESS = re.compile(r"(?:openai/)?gpt[-_ ]?oss(:latest)?", re.IGNORECASE)
_GGUF = re.compile(r"(?:.*[-_.])?gguf(?:[-_.].*)?", re.IGNORECASE | re.DOTALL)
_OF_OLLAMA = re.compile(r"(?:[\w.-]+/)?[\w.-]+:[\w.-]+", re.ASCII)


def unquoted(text: str) -> str:
    """`text` without blanks and quotation marks around it, curly ones included."""
    return text.strip().strip(_QUOTES).strip()


def meant(text: str, endpoint: str = "") -> str:
    """The name "org/name", with "@revision" if there is one, that `text` means for sure; else `text` without quotes.

    Addresses of the Hub's pages, or of those at `endpoint`, are understood, and the published models however written.
    """
    text = unquoted(text)
    text = _from_address(text, endpoint) or text.rstrip("/")
    name, at, revision = text.partition("@")
    size = _SIZE.fullmatch(name.strip())
    name = f"openai/gpt-oss-{size[1].lower()}" if size else name
    return f"{name}{at}{revision}"


def gguf(text: str) -> str | None:
    """That `text` names GGUF, a file or a repository of such files, and what to take instead; None if it doesn't."""
    last = unquoted(text).rstrip("/").rpartition("/")[2].partition("@")[0]
    if not _GGUF.fullmatch(last):
        return None
    return f"\"{text}\" is GGUF, llama.cpp's format, which gptoss-chat doesn't read: take {_BOTH}"


def no_name(text: str, endpoint: str = "") -> str | None:
    """What `text`, which names no model, is, and what to take instead; None if it may be anything."""
    plain = unquoted(text)
    if _SIZELESS.fullmatch(plain):
        return f'"{text}" comes in two sizes: take {_BOTH}'
    if (what := gguf(text)) is not None:
        return what
    parts = _split(plain)
    if parts is not None:
        host, path = parts
        if host not in _hosts(endpoint):
            return f'"{text}" is an address outside the Hub (huggingface.co): take {_BOTH}'
        what = path[0][:-1] if path and path[0] in _NO_MODELS else "page"
        return f'"{text}" is a {what} of the Hub, not a model: take {_BOTH}, or org/name'
    if _OF_OLLAMA.fullmatch(plain):
        return f"\"{text}\" is a name of Ollama's, whose models gptoss-chat doesn't read: take {_BOTH}"
    return None


def _from_address(text: str, endpoint: str) -> str | None:
    """The name in the address of a model's page; None if it isn't one."""
    parts = _split(text)
    if parts is None or parts[0] not in _hosts(endpoint):
        return None
    _, path = parts
    if path[:1] == ["models"]:
        path = path[1:]
    if len(path) < 2 or path[0] in _NO_MODELS:
        return None
    name, more = "/".join(path[:2]), path[2:]
    if "@" in name or len(more) < 2 or more[0] not in _PAGES or more[1] == "main":
        return name
    return f"{name}@{unquote(more[1])}"


def _split(text: str) -> tuple[str, list[str]] | None:
    """Host and path of an address, without what follows ? and #; "hf://" is one of the Hub. None if it is none."""
    if text.lower().startswith("hf://"):
        text = f"https://{_HUB[0]}/{text[5:]}"
    if "://" not in text:
        if text.partition("/")[0].lower() not in _HUB:
            return None
        text = f"https://{text}"
    try:
        address = urlsplit(text)
        return (address.hostname or "").lower(), [part for part in address.path.split("/") if part]
    except ValueError:
        return "", []


def _hosts(endpoint: str) -> tuple[str, ...]:
    split = _split(endpoint) if endpoint else None
    return (*_HUB, split[0]) if split is not None else _HUB
