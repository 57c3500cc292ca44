"""Names what a file is that no conversations can be read from: most often another file of the same export."""

from typing import Any

_STARTS = (
    (b"%PDF-", "a PDF document"),
    (b"PK", "a zip archive; give its name, or unpack it"),
    (b"\x1f\x8b", "packed with gzip; unpack it first"),
    (b"SQLite format 3\0", "a database; export the conversations from the program that made it"),
    (b"<", "a web page; the conversations of the same export are in conversations.json"),
    (b"{\\rtf", "a text document (RTF)"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\xd0\xcf\x11\xe0", "an office document"),
)

_PROGRAMS: tuple[tuple[set[str], str], ...] = (
    ({"chat", "user_id"}, "an export of Open WebUI, which this program does not read"),
    ({"messages", "tokenCount"}, "a conversation of LM Studio, which this program does not read"),
    ({"messages", "usePerChatPredictionConfig"}, "a conversation of LM Studio, which this program does not read"),
    ({"header", "products"}, "Google's record of activities (Takeout), which this program does not read"),
    ({"role", "content"}, "a list of messages (role, content), which this program does not read"),
    ({"messages"}, "a conversation of another program, which this program does not read"),
    ({"conversation_id", "is_anonymous"}, "the list of shared links of a ChatGPT export; take its conversations.json"),
    ({"rating", "conversation_id"}, "the feedback of a ChatGPT export; take its conversations.json"),
    ({"email", "phone_number"}, "the account of a ChatGPT export; take its conversations.json"),
    ({"uuid", "full_name"}, "the accounts of a Claude export; take its conversations.json"),
    ({"uuid", "docs"}, "the projects of a Claude export; take its conversations.json"),
)


def kind_of(start: bytes) -> str | None:
    """What a file that is not JSON is, by its first bytes; None if unknown."""
    if not start:
        return "empty"
    text = start.lstrip()
    return next((kind for beginning, kind in _STARTS if text.startswith(beginning)), None)


def program_of(item: Any) -> str | None:
    """What JSON is whose first item is this; None if unknown."""
    if not isinstance(item, dict):
        return None
    return next((kind for keys, kind in _PROGRAMS if keys <= item.keys()), None)
