"""A local server that speaks as much of the Hub's HTTP API as huggingface_hub needs to fetch a repository."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """Serves `repos`, {"org/name": {"file": content}}; `requested` lists the paths of GET requests for files."""

    def __init__(self, repos: dict[str, dict[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos = repos
        self.requested: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        for repo, files in self.server.repos.items():
            if path.startswith(f"/api/models/{repo}"):
                listing: object = {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
                if "/tree/" in path:
                    listing = [
                        {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                        for name, data in files.items()
                    ]
                return self._send(200, json.dumps(listing).encode(), body, {"Content-Type": "application/json"})
            for revision in ("main", COMMIT):
                name = path.removeprefix(f"/{repo}/resolve/{revision}/")
                if name in files:
                    if body:
                        self.server.requested.append(name)
                    etag = hashlib.sha1(files[name]).hexdigest()
                    return self._send(200, files[name], body, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
        return self._send(404, b"", body, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})

    def _send(self, status: int, content: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@contextmanager
def serving(repos: dict[str, dict[str, bytes]]) -> Iterator[HubServer]:
    """The server, running while the block does."""
    with HubServer(repos) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
