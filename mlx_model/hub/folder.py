"""The files of one model on disk: the Hub cache's layout or a plain folder, and which of them have been verified.

The cache's layout is huggingface_hub's own ("Understand caching" in its documentation), so that every tool finds what
this program fetched, and the other way round: contents lie in blobs/ under their digest, snapshots/<commit>/ has links
to them, refs/<branch> names a commit. Where links can't be made (Windows, exFAT, some network disks) the files lie in
the snapshot themselves. In a plain folder the files lie under their own names. What is not finished, and the record of
what was verified, lie in .gptoss-chat/ beside them: who deletes the model deletes those too.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from metal.files import parse_json, read_small, replace_file
from mlx_model.errors import CheckpointError
from mlx_model.hub.explain import explain_disk
from mlx_model.text import clean

_OWN = ".gptoss-chat"
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_READ = 4 << 20  # bytes hashed at a time

# What systems say of disks that can't lock files (NFS without its lock manager, some SMB), and can't link them.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

_LONGEST_CLAIM = 1024  # bytes
_BUSY = "this model is being downloaded by another gptoss-chat: let that one finish, or end it and try again"


@dataclass(frozen=True)
class File:
    """A file as the Hub describes it. `digest`: SHA-256 of a large file, git's SHA-1 of a small one, in hex."""

    name: str
    size: int
    digest: str

    def has_digest(self) -> bool:
        """Whether the digest is one, and so can be the name of a file."""
        return _DIGEST.fullmatch(self.digest) is not None


@dataclass(frozen=True)
class ModelFolder:
    """`root` holds everything, `folder` the files of one revision; in a plain folder the two are the same."""

    root: Path
    folder: Path

    @classmethod
    def of(cls, folder: Path) -> "ModelFolder":
        """Of the folder with a model's files: a snapshot in the Hub's cache, or a folder by itself."""
        folder = folder.absolute()
        repository = folder.parent.parent
        in_cache = folder.parent.name == "snapshots" and repository.name.startswith("models--")
        return cls(repository if in_cache else folder, folder)

    @property
    def in_cache(self) -> bool:
        return self.root != self.folder

    def path(self, file: File) -> Path:
        """Where the whole content of a file is, or goes."""
        own = self.folder / file.name
        in_blobs = self.in_cache and (own.is_symlink() or not own.is_file())
        return self.root / "blobs" / file.digest if in_blobs else own

    def partial(self, file: File) -> Path:
        """Where a file grows until it is whole. Named by content, too: a revision that changes it starts anew."""
        return self.root / _OWN / f"{file.digest[:16]}.{file.name}.incomplete"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from fetching or removing this model; the system ends it with the process, however.

        On a disk without locks a file says who is at it. Raises CheckpointError if another is, or the folder can't be
        written.
        """
        try:
            (self.root / _OWN).mkdir(parents=True, exist_ok=True)
            lock = os.open(self.root / _OWN / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise CheckpointError(clean(explain_disk(error))) from None
        try:
            with nullcontext() if _lock(lock) else self._claimed():
                yield
        finally:
            os.close(lock)

    @contextmanager
    def _claimed(self) -> Iterator[None]:
        """The same by a file that only one can make, with the computer and the process in it."""
        claim = self.root / _OWN / "claim"
        me = f"{socket.gethostname()} {os.getpid()}"
        try:
            if not _make(claim, me):
                self._dismiss(claim)
                if not _make(claim, me):
                    raise CheckpointError(_BUSY)
        except OSError as error:
            raise CheckpointError(clean(explain_disk(error))) from None
        try:
            yield
        finally:
            with suppress(OSError):
                claim.unlink()

    def _dismiss(self, claim: Path) -> None:
        """Remove what a process left that was killed. Raises CheckpointError if it may be at work."""
        host, _, process = read_small(claim, _LONGEST_CLAIM).decode("utf-8", "replace").partition(" ")
        if host == socket.gethostname() and process.isdecimal() and not _is_alive(int(process)):
            claim.unlink(missing_ok=True)
            return
        raise CheckpointError(
            f"{_BUSY}. (Its disk has no locks; if none is at work on {clean(host) or 'any computer'}, delete {claim})"
        )

    def found(self, name: str) -> File | None:
        """The file as it lies here, with the digest it should have; None if it is missing or no digest is known."""
        path = self.folder / name
        with suppress(OSError):
            size = path.stat().st_size
            is_link = self.in_cache and path.is_symlink()
            file = File(name, size, (path.readlink().name if is_link else Record(self.root).digest(path)) or "")
            # Loading follows the link, wherever it leads; what was verified is the blob.
            return file if file.has_digest() and path.samefile(self.path(file)) else None
        return None

    def take(self, file: File) -> None:
        """Give a complete, verified partial file its name. Raises OSError."""
        path, partial = self.path(file), self.partial(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("rb") as content:
            os.fsync(content.fileno())  # the name must not outlive the content when the power fails
        partial.replace(path)

    def link(self, file: File) -> None:
        """Make the file visible in the snapshot, relative, as huggingface_hub does; where it lies there, it stays.

        On a disk without links it is moved there, as huggingface_hub does, too. Raises OSError.
        """
        pointer, path = self.folder / file.name, self.path(file)
        if path == pointer:
            return
        target = Path(os.path.relpath(path, pointer.parent))
        if pointer.is_symlink() and pointer.readlink() == target:
            return
        pointer.parent.mkdir(parents=True, exist_ok=True)
        pointer.unlink(missing_ok=True)
        try:
            pointer.symlink_to(target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            path.replace(pointer)

    def name_revision(self, revision: str) -> None:
        """Let a branch or tag mean this snapshot from now on. Raises OSError."""
        if self.in_cache and revision != self.folder.name:
            reference = self.root / "refs" / revision
            replace_file(reference, self.folder.name.encode(), durable=True)

    def clear_partials(self) -> None:
        """Remove partial files: those that are left belong to a revision that has been replaced."""
        for partial in (self.root / _OWN).glob("*.incomplete"):
            partial.unlink(missing_ok=True)


class Record:
    """Which files under `root` were read and had the digest that the Hub gives, and have not changed since.

    One small JSON file, written whole; a record that can't be read counts as empty. Safe to use from several threads.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / _OWN / "verified.json"
        self._lock = Lock()
        self._entries: dict[str, dict[str, object]] = {}
        with suppress(OSError, ValueError, AttributeError):
            entries = parse_json(read_small(self._path))
            self._entries = {key: value for key, value in entries.items() if isinstance(value, dict)}

    def holds(self, path: Path, digest: str | None = None) -> bool:
        """Whether this file was verified (against this digest, if given) and has the same size and time since."""
        entry = self._entries.get(self._key(path))
        if entry is None or (digest is not None and entry.get("digest") != digest):
            return False
        try:
            status = path.stat()
        except OSError:
            return False
        return (entry.get("size"), entry.get("mtime_ns")) == (status.st_size, status.st_mtime_ns)

    def digest(self, path: Path) -> str | None:
        """The digest that the file had when it was verified."""
        digest = self._entries.get(self._key(path), {}).get("digest")
        return digest if isinstance(digest, str) else None

    def add(self, path: Path, digest: str) -> None:
        """Note that this file has been read and has this digest. Raises OSError."""
        status = path.stat()
        with self._lock:
            self._entries[self._key(path)] = {
                "digest": digest,
                "size": status.st_size,
                "mtime_ns": status.st_mtime_ns,
            }
            replace_file(self._path, json.dumps(self._entries, indent=1).encode(), durable=True)

    def _key(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def copies(repository: Path, file: File) -> Iterator[Path]:
    """Files in a repository's folder in the Hub's cache that may have this content, without reading them."""
    blob = repository / "blobs" / file.digest
    snapshots = sorted((repository / "snapshots").glob("*"))
    for path in (blob, *(snapshot / file.name for snapshot in snapshots)):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink() and path.stat().st_size == file.size:
                yield path


def is_first_mention(folder: Path) -> bool:
    """Whether that a model's files were never verified is said for the first time; always where no note can be left."""
    note = ModelFolder.of(folder).root / _OWN / "unverified"
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        return _make(note, "that these files were never verified was said\n")
    except OSError:
        return True


def _lock(descriptor: int) -> bool:
    """Lock an open file; false where the disk has no locks. Raises CheckpointError if another process has it locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CheckpointError(_BUSY) from None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise CheckpointError(clean(explain_disk(error))) from None
    return True


def _make(path: Path, text: str) -> bool:
    """Make a file with this text; false if it is there. Raises OSError."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def is_intact(path: Path, digest: str, on_read: Callable[[int], None]) -> bool:
    """Read a whole file; whether its digest is this one. `on_read` gets the bytes read so far. Raises OSError.

    64 hex digits: SHA-256 of the content, as git-lfs names it; 40: SHA-1 with git's header for a blob.
    """
    with path.open("rb", buffering=0) as content:
        hashed = hashlib.sha256() if len(digest) == 64 else hashlib.sha1(usedforsecurity=False)
        if len(digest) == 40:
            hashed.update(b"blob %d\0" % os.fstat(content.fileno()).st_size)
        done = 0
        while piece := content.read(_READ):
            hashed.update(piece)
            done += len(piece)
            on_read(done)
    return hashed.hexdigest() == digest


def is_verified(folder: Path, names: list[str]) -> bool:
    """Whether every one of these files of a model's folder is in the record and unchanged since."""
    model = ModelFolder.of(folder)
    record = Record(model.root)
    for name in names:
        file = model.found(name)
        if file is None or not record.holds(model.path(file), file.digest):
            return False
    return True
