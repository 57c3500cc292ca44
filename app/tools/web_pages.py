"""A web page that a model has written, in a file that a browser can open: it may compute and draw, and reach nothing.

The page stands in a frame of a page of ours. The frame has no origin, so it reads no file and no other page, keeps
nothing, opens no window and leaves for no other address. The policy above it lets nothing be fetched or sent.
"""

import hashlib
import html
import re
from pathlib import Path

from metal.files import replace_file
from mlx_model.errors import RequestError

MOST_CHARACTERS = 4_000_000
KEPT = 20
"""Pages that stay; the oldest go."""
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "media-src data: blob:; font-src data:; worker-src 'none'; frame-src 'none'; form-action 'none'; base-uri 'none'; "
    "webrtc 'block'"
)
_TITLE = re.compile(r"<title[^>]*>([^<]{1,200})", re.IGNORECASE)
# A game wants the keys at once. What a page writes of itself goes nowhere: no message is listened to.
_FRAME = """<!doctype html>
<html>
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer">
<meta http-equiv="x-dns-prefetch-control" content="off">
<title>{title}</title>
<style>
html, body {{ margin: 0; height: 100% }}
iframe {{ border: 0; width: 100%; height: 100%; display: block }}
</style>
</head>
<body>
<iframe sandbox="allow-scripts" referrerpolicy="no-referrer" srcdoc="{page}"></iframe>
<script>const frame = document.querySelector("iframe"); frame.onload = () => frame.focus();</script>
</body>
</html>
"""


def framed(page: str) -> str:
    """The page of ours around a model's page."""
    title = _TITLE.search(page)
    named = " ".join(html.unescape(title[1]).split()) if title else "a page"
    return _FRAME.format(policy=POLICY, title=html.escape(f"{named} (by the model)"), page=html.escape(page))


def write_page(page: str, folder: Path) -> Path:
    """The file to open, in a folder that only the person can read. Raises RequestError for a page that is too long,
    OSError."""
    if len(page) > MOST_CHARACTERS:
        raise RequestError(f"the page has more than {MOST_CHARACTERS:,} characters")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    content = framed(page).encode("utf-8", "replace")
    path = folder / f"page-{hashlib.sha256(content).hexdigest()[:12]}.html"
    replace_file(path, content, private=True)
    others = sorted(
        (each for each in folder.glob("page-*.html") if each != path), key=lambda each: each.stat().st_mtime
    )
    for old in others[: 1 - KEPT]:
        old.unlink(missing_ok=True)
    return path
