"""A local server that speaks the Hub's HTTP API as huggingface_hub uses it, and can fail in the ways the network does.

As on the Hub, small files come from the Hub itself with git's SHA-1 as ETag; large ones (git-lfs) are redirected to a
storage on another host, and known by SHA-256. Not spoken: Xet, whose chunk protocol only hf-xet's own server has; no
file has an X-Xet-Hash, and so every client uses plain HTTP.
"""

import hashlib
import json
import re
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Event, Lock, Thread
from urllib.parse import parse_qs, unquote, urlsplit

_PIECE = 8192  # bytes written at a time


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer: a status instead of it, a connection cut, a wrong byte, no ranges."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Bytes of content that are sent before the connection is closed."""
    wrong: bool = False
    """The first byte sent is another."""
    ignore_range: bool = False
    body: bytes = b""


@dataclass
class Repo:
    """One repository: its commits, newest last, and what the Hub says of it."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    model_type: str | None = "gpt_oss"
    license: str | None = "apache-2.0"

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    def publish(self, files: dict[str, bytes]) -> str:
        """A new commit on main; returns it."""
        content = json.dumps({name: hashlib.sha1(data).hexdigest() for name, data in files.items()}, sort_keys=True)
        commit = hashlib.sha1(content.encode()).hexdigest()
        self.commits[commit] = dict(files)
        return commit


def git_sha1(data: bytes) -> str:
    """The name that git gives a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_large(name: str) -> bool:
    """Whether a file is kept with git-lfs, as the Hub's .gitattributes says."""
    return name.endswith((".safetensors", ".bin")) or name == "tokenizer.json"


class HubServer:
    """The Hub and its storage, on two ports. Give `faults` under a file's name, or "api"; each is used once, in order.

    `requests`: every request, as "GET /path"; `requested`: names of files whose content was asked for, in order;
    `asked`: bytes of content that were asked for, `sent`: that were written. Settings: `pause`, seconds between two
    pieces of 8 KiB; `token`, which the Hub demands if set; `hold` and `release`.
    """

    def __init__(self, repos: dict[str, dict[str, bytes]]) -> None:
        self.repos: dict[str, Repo] = {}
        for name, files in repos.items():
            self.repos[name] = Repo()
            self.repos[name].publish(files)
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.requested: list[str] = []
        self.requests: list[str] = []
        self.asked = 0
        self.leaked: list[str] = []
        """Logins that reached the storage: there must be none."""
        self.sent = 0
        self.pause = 0.0
        self.token: str | None = None
        self.lock = Lock()
        self._held_at: int | None = None
        self._released = Event()
        self.hub = _Server(self, _Hub)
        self.storage = _Server(self, _Storage)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.hub.server_address[1]}"

    def hold(self, at: int) -> None:
        """Send nothing more once so many bytes were sent: downloads stand still, as when the network hangs."""
        self._held_at, self._released = at, Event()

    def release(self) -> None:
        """Cut the connections that stand still, and send on new ones as before."""
        self._held_at = None
        self._released.set()

    def stands_still(self) -> bool:
        """Whether nothing may be sent now; if so, returns only after release()."""
        held = self._held_at is not None and self.sent >= self._held_at
        return held and self._released.wait(30)

    def commit(self, repo: str) -> str:
        return self.repos[repo].head

    def fault(self, name: str) -> Fault:
        with self.lock:
            waiting = self.faults[name]
            return waiting.popleft() if waiting else Fault()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, state: HubServer, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.state = state

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed are no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        state = self.server.state
        with state.lock:
            state.requests.append(f"{self.command} {self.path}")
        self.answer(state)

    def answer(self, state: HubServer) -> None:
        raise NotImplementedError

    def send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def send_file(self, state: HubServer, name: str, data: bytes, headers: Mapping[str, str]) -> None:
        """The content, or the part of it that is asked for."""
        if self.command == "HEAD":
            return self.send(200, data, headers)
        with state.lock:
            state.requested.append(name)
        fault = state.fault(name)
        if fault.status:
            return self.send(fault.status, fault.body, fault.headers)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(asked[1]), int(asked[2] or len(data) - 1)) if asked else (0, len(data) - 1)
        if asked and not fault.ignore_range:
            if start >= len(data):
                return self.send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
        else:
            start, end = 0, len(data) - 1
            self.send_response(200)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(end + 1 - start))
        self.end_headers()
        content = bytearray(data[start : end + 1])
        with state.lock:
            state.asked += len(content)
        if fault.wrong:
            content[0] ^= 1
        if fault.cut_after is not None:
            del content[fault.cut_after :]
            self.close_connection = True
        for begin in range(0, len(content), _PIECE):
            if state.stands_still():
                self.close_connection = True
                return None
            piece = content[begin : begin + _PIECE]
            with state.lock:
                state.sent += len(piece)
            self.wfile.write(piece)
            if state.pause:
                self.wfile.flush()
                time.sleep(state.pause)
        return None

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


class _Hub(_Handler):
    def answer(self, state: HubServer) -> None:
        path = unquote(urlsplit(self.path).path)
        if state.token and self.headers.get("Authorization") != f"Bearer {state.token}":
            return self.send(401, b"", {"X-Error-Message": "Invalid username or password."})
        for name, repo in state.repos.items():
            if match := re.fullmatch(rf"/api/models/{re.escape(name)}(?:/(revision|tree)/([^/]+))?", path):
                return self._describe(state, name, repo, match[1], match[2])
            if match := re.fullmatch(rf"/{re.escape(name)}/resolve/([^/]+)/(.+)", path):
                return self._resolve(state, repo, match[1], match[2])
        return self.send(404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})

    def _files(self, repo: Repo, revision: str | None) -> tuple[str, dict[str, bytes]] | None:
        commit = repo.head if revision in (None, "main") else revision
        if commit in repo.commits:
            return commit, repo.commits[commit]
        self.send(404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
        return None

    def _describe(self, state: HubServer, name: str, repo: Repo, kind: str | None, revision: str | None) -> None:
        fault = state.fault("api")
        if fault.status:
            return self.send(fault.status, fault.body, fault.headers)
        found = self._files(repo, revision)
        if found is None:
            return None
        commit, files = found
        if kind == "tree":
            listing: object = [
                {"type": "file", "path": file, "size": len(data), "oid": git_sha1(data)}
                | ({"lfs": {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 135}})
                if is_large(file)
                else {"type": "file", "path": file, "size": len(data), "oid": git_sha1(data)}
                for file, data in files.items()
            ]
        else:
            blobs = "blobs" in parse_qs(urlsplit(self.path).query)
            siblings = [_sibling(file, data) if blobs else {"rfilename": file} for file, data in files.items()]
            listing = {"id": name, "sha": commit, "siblings": siblings, "tags": []}
            if repo.license:
                listing["cardData"] = {"license": repo.license}
            if repo.model_type:
                listing["config"] = {"model_type": repo.model_type}
        return self.send(200, json.dumps(listing).encode(), {"Content-Type": "application/json"})

    def _resolve(self, state: HubServer, repo: Repo, revision: str, name: str) -> None:
        found = self._files(repo, revision)
        if found is None:
            return None
        commit, files = found
        headers = {"X-Repo-Commit": commit}
        if name not in files:
            return self.send(404, b"", {**headers, "X-Error-Code": "EntryNotFound"})
        data = files[name]
        if not is_large(name):
            return self.send_file(state, name, data, {**headers, "ETag": f'"{git_sha1(data)}"'})
        digest = hashlib.sha256(data).hexdigest()
        storage = f"http://localhost:{state.storage.server_address[1]}/{digest}/{name}"
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data)), "Location": storage}
        return self.send(302, b"", {**headers, **linked})


class _Storage(_Handler):
    def answer(self, state: HubServer) -> None:
        if "Authorization" in self.headers:
            state.leaked.append(self.headers["Authorization"])
        _, digest, name = self.path.split("/", 2)
        for repo in state.repos.values():
            for files in repo.commits.values():
                if name in files and hashlib.sha256(files[name]).hexdigest() == digest:
                    return self.send_file(state, name, files[name], {})
        return self.send(404, b"", {})


def _sibling(name: str, data: bytes) -> dict[str, object]:
    plain = {"rfilename": name, "size": len(data), "blobId": git_sha1(data)}
    if not is_large(name):
        return plain
    return plain | {"lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 135}}


@contextmanager
def serving(repos: dict[str, dict[str, bytes]]) -> Iterator[HubServer]:
    """The server, running while the block does."""
    state = HubServer(repos)
    servers = (state.hub, state.storage)
    threads = [Thread(target=server.serve_forever, args=(0.01,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield state
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()


def gpt_oss(shard_bytes: int = 100_000, seed: int = 0) -> dict[str, bytes]:
    """A repository laid out as OpenAI's, three shards of noise, and the weights twice more in other layouts."""
    random = Random(seed)
    shards = {f"model-{number:05}-of-00002.safetensors": random.randbytes(shard_bytes) for number in range(3)}
    index = {
        "metadata": {"total_size": 3 * shard_bytes},
        "weight_map": {f"tensor.{number}": name for number, name in enumerate(shards)},
    }
    return shards | {
        "config.json": b'{"model_type": "gpt_oss"}',
        "generation_config.json": b'{"eos_token_id": [200002]}',
        "model.safetensors.index.json": json.dumps(index).encode(),
        "tokenizer.json": random.randbytes(5000),
        "tokenizer_config.json": b"{}",
        "README.md": b"hi",
        "original/model.safetensors": b"x" * 1000,
        "metal/model.bin": b"x" * 1000,
    }
