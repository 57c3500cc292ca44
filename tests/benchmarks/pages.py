"""The pages of assets/pages in a headless browser, in the frame that the program opens them in: are they drawn, do they
move, and does nothing leave them?

    python -m tests.benchmarks.pages CHROMIUM [FOLDER]

CHROMIUM is one that runs headless; FOLDER gets the pictures. It is spoken to over two pipes.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

from app.tools.web_pages import write_page
from tests.fixtures import ROOT

WAIT_S = 1.0
ESCAPES = """<!doctype html><title>escapes</title><body><script>
  const out = (name) => "{url}/" + name, tried = [];
  const attempt = (name, act) => {{ tried.push(name); try {{ act(); }} catch (error) {{}} }};
  attempt("fetch", () => fetch(out("fetch")).catch(() => 0));
  attempt("beacon", () => navigator.sendBeacon(out("beacon"), "x"));
  attempt("image", () => {{ new Image().src = out("image"); }});
  const add = (html) => document.body.insertAdjacentHTML("beforeend", html);
  attempt("script", () => {{
    const script = document.createElement("script"); script.src = out("script"); document.body.append(script); }});
  attempt("style", () => add(`<link rel=stylesheet href=${{out("style")}}>`));
  attempt("prefetch", () => add(`<link rel=prefetch href=${{out("prefetch")}}>`));
  attempt("socket", () => new WebSocket(out("socket").replace("http", "ws")));
  attempt("events", () => new EventSource(out("events")));
  attempt("worker", () => new Worker(URL.createObjectURL(new Blob([`fetch("${{out("worker")}}")`]))));
  attempt("frame", () => add(`<iframe src=${{out("frame")}}></iframe>`));
  attempt("window", () => open(out("window")));
  attempt("top", () => {{ top.location = out("top"); }});
  attempt("parent", () => {{ parent.location = out("parent"); }});
  attempt("form", () => {{ add(`<form action=${{out("form")}}></form>`); document.forms[0].submit(); }});
  attempt("storage", () => {{ localStorage.x = 1; document.title = "stored"; }});
  attempt("file", () => fetch("file:///etc/hostname").then(() => {{ document.title = "file read"; }}));
  attempt("self", () => {{ location = out("self"); }});
</script>"""


class Browser:
    """A headless browser with one page."""

    def __init__(self, program: str, profile: str) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        self._in, self._out = os.fdopen(ours_in, "rb"), os.fdopen(ours_out, "wb")
        shell = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            ["bash", "-c", shell, program, *options, "--remote-debugging-pipe"],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._number = 0
        self._session = ""
        target = self.call("Target.createTarget", {"url": "about:blank", "width": 800, "height": 600})["targetId"]
        self._session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One command of the DevTools protocol, and its answer; events in between are left out."""
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters or {}}
        request |= {"sessionId": self._session} if self._session else {}
        self._out.write(json.dumps(request).encode() + b"\0")
        self._out.flush()
        while True:
            line = bytearray()
            while (byte := self._in.read(1)) != b"\0":
                if not byte:
                    raise RuntimeError("the browser has ended")
                line += byte
            answer = json.loads(line)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, path: Path) -> None:
        """Show a file."""
        self.call("Page.navigate", {"url": path.as_uri()})
        time.sleep(WAIT_S)

    def picture(self) -> bytes:
        """What is seen, as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def colours(picture: bytes) -> list[tuple[int, ...]]:
    """The pixels of a PNG."""
    from PIL import Image

    with Image.open(BytesIO(picture)) as image:
        data = image.convert("RGB").tobytes()
    return list(zip(data[::3], data[1::3], data[2::3], strict=True))


def main() -> None:
    """Print what was seen; fails where a page is blank, stands still, or reaches anything."""
    program = shutil.which(sys.argv[1]) or sys.argv[1]
    reached: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reached.append(self.path)
            self.send_response(204)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *arguments: object) -> None:
            """Called for each request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser, out = Browser(program, f"{folder}/profile"), Path(sys.argv[2] if len(sys.argv) > 2 else folder)
        try:
            for page in sorted((ROOT / "assets" / "pages").glob("*.html")):
                browser.open(write_page(page.read_text("utf-8"), Path(folder, "pages")))
                pictures = []
                for number in (1, 2):
                    pictures.append(browser.picture())
                    (out / f"{page.stem}-{number}.png").write_bytes(pictures[-1])
                    time.sleep(WAIT_S)
                first, second = map(colours, pictures)
                drawn, moved = len(set(first)), sum(a != b for a, b in zip(first, second, strict=True))
                print(f"{page.name}: {drawn:,} colours, {moved:,} of {len(first):,} pixels changed in {WAIT_S:g} s")
                assert drawn > 3 and moved > 500
            browser.open(
                write_page(ESCAPES.format(url=f"http://127.0.0.1:{server.server_port}"), Path(folder, "pages"))
            )
            time.sleep(2 * WAIT_S)
            title = browser.call("Runtime.evaluate", {"expression": "document.title"})["result"]["value"]
            ways = ESCAPES.count('attempt("')
            print(f"escapes: {ways} ways tried, reached {reached or 'nothing'}, title {title!r}")
            assert not reached and title == "escapes (by the model)"
        finally:
            browser.close()


if __name__ == "__main__":
    main()
