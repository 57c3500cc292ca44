"""Which gpt-oss models are on this computer, in the Hub's cache and in LM Studio's folders; and removing one."""

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlx_model.checkpoint_files import CONFIG, INDEX, read_object
from mlx_model.errors import CheckpointError
from mlx_model.hub.environment import cache_folder
from mlx_model.hub.folder import ModelFolder, is_first_mention, is_verified
from mlx_model.hub.names import Repository, is_complete, needed_files, resolve
from mlx_model.hub.published import DEMO
from mlx_model.memory.sizes import disk_size

_MOST = 1 << 50  # bytes of a model: more than any disk
_LM_STUDIO = ("~/.lmstudio/models", "~/.cache/lm-studio/models")


@dataclass(frozen=True)
class LocalModel:
    """A model on disk, whole or in part."""

    name: str
    """As `--model` takes it: a short name, "org/name", "org/name@commit" or a folder."""
    source: str
    """The program whose folder it lies in: "Hub cache", "LM Studio" or "this program"."""
    folder: Path
    size: int
    """Bytes of its files on disk, unfinished ones included."""
    expected: int | None
    """Bytes of its weights as its index states them; None without an index."""
    complete: bool
    verified: bool
    """Whether this program has read every file and found the digest that the Hub gives."""
    problem: str | None = None
    """Why nothing more is known of it: its folder or its configuration can't be read."""


def local_models() -> list[LocalModel]:
    """All of them, sorted by name. Never asks the network. Raises CheckpointError where a folder can't be read."""
    try:
        return sorted([*_in_cache(), *_in_lm_studio()], key=lambda model: (model.name, model.folder))
    except OSError as error:
        raise CheckpointError(f"{error.filename} can't be read: {error.strerror}; check its permissions") from None


def demo_model() -> LocalModel:
    """The demo, which comes with the program."""
    folder = resolve(DEMO)
    size = sum((folder / file).stat().st_size for file in needed_files(folder))
    return LocalModel(DEMO, "this program", folder, size, None, complete=True, verified=True)


@dataclass(frozen=True)
class Removal:
    """What deleting a model from the Hub's cache means; nothing of it has been done yet."""

    root: Path
    commits: tuple[str, ...]
    """The revisions that go; contents that another one shares stay."""
    everything: bool
    """Whether nothing of the model stays: what was only begun goes, too."""
    size: int
    """Bytes that it frees."""

    def run(self) -> None:
        """Do it. Raises CheckpointError while the model is being downloaded, or where not all of it can be deleted."""
        from huggingface_hub import scan_cache_dir

        with ModelFolder(self.root, self.root).locked():
            try:
                if self.commits:
                    scan_cache_dir(self.root.parent).delete_revisions(*self.commits).execute()
                if self.everything and self.root.is_dir():
                    shutil.rmtree(self.root)
            except OSError as error:
                raise CheckpointError(
                    f"{error.filename or self.root} can't be deleted ({error.strerror}), so a part of the model "
                    "is left; see to that and run the same command again"
                ) from None


def removal(name: str) -> Removal:
    """Deleting a model, or with "@revision" that one alone, from the Hub's cache.

    Raises CheckpointError if it is not there, or lies in another program's folder.
    """
    from huggingface_hub import scan_cache_dir

    repository = Repository.parse(name)
    if repository is None or not repository.cache.is_dir():
        elsewhere = [model for model in local_models() if name in (model.name, str(model.folder))]
        if name == DEMO:
            raise CheckpointError(f"{DEMO} is a part of the program, and can't be removed")
        if elsewhere:
            raise CheckpointError(f"{name} belongs to {elsewhere[0].source}: remove it there")
        raise CheckpointError(f"{name} is not in the Hub's cache; `gptoss-chat models` lists what is")
    root, chosen = repository.cache, repository.snapshot()
    cache = scan_cache_dir(root.parent)
    there = {revision.commit_hash for repo in cache.repos if repo.repo_path == root for revision in repo.revisions}
    if "@" in name and (chosen is None or chosen.name not in there):
        raise CheckpointError(f"{name} is not in the Hub's cache; `gptoss-chat models` lists what is")
    commits = {chosen.name} if "@" in name and chosen is not None else there
    size = cache.delete_revisions(*commits).expected_freed_size
    if commits == there:
        size = max(size, _bytes_of(root.rglob("*")))
    return Removal(root, tuple(commits), commits == there, size)


def _bytes_of(paths: Iterable[Path]) -> int:
    """Of the plain files among these; one that a download puts into its place meanwhile counts for nothing."""
    size = 0
    for path in paths:
        with suppress(FileNotFoundError):
            status = path.lstat()
            size += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return size


def _in_cache() -> Iterator[LocalModel]:
    for root in sorted(cache_folder().glob("models--*--*")):
        name = root.name.removeprefix("models--").replace("--", "/")
        try:
            yield from list(_in_repository(root, name))
        except OSError as error:  # that one must not take the others away
            if "gpt-oss" in name.lower():
                problem = f"{error.filename or root} can't be read: {error.strerror}; check its permissions"
                yield LocalModel(Repository(name).short, "Hub cache", root, 0, None, False, False, problem)


def _in_repository(root: Path, name: str) -> Iterator[LocalModel]:
    snapshots = [folder for folder in sorted((root / "snapshots").glob("*")) if folder.is_dir()]
    main = Repository(name).snapshot()
    unfinished = _bytes_of(root.rglob("*.incomplete"))
    if not snapshots and unfinished and "gpt-oss" in name.lower():
        yield LocalModel(Repository(name).short, "Hub cache", root, unfinished, None, complete=False, verified=False)
    for folder in snapshots:
        plain = folder == main or len(snapshots) == 1
        model = _model(Repository(name).short if plain else f"{name}@{folder.name}", "Hub cache", folder, name)
        if model is not None:
            yield model if model.complete else replace(model, size=model.size + unfinished)


def _in_lm_studio() -> Iterator[LocalModel]:
    for top in _LM_STUDIO:
        for configuration in sorted(Path(top).expanduser().glob(f"*/*/{CONFIG}")):
            folder = configuration.parent
            model = _model(str(folder), "LM Studio", folder, folder.name)
            if model is not None:
                yield model


def _model(name: str, source: str, folder: Path, repository: str) -> LocalModel | None:
    """What a folder holds; None if it isn't gpt-oss. Before the configuration is there, the name decides."""
    fields, problem = _read(folder / CONFIG)
    if fields is None and "gpt-oss" not in repository.lower():
        return None
    if fields is not None and fields.get("model_type") != "gpt_oss":
        return None
    names = needed_files(folder)
    complete = problem is None and is_complete(folder)
    metadata = (_read(folder / INDEX)[0] or {}).get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    return LocalModel(
        name=name,
        source=source,
        folder=folder,
        size=sum((folder / file).stat().st_size for file in names),
        expected=total if type(total) is int and 0 <= total <= _MOST else None,
        complete=complete,
        verified=complete and is_verified(folder, names),
        problem=problem,
    )


def _read(path: Path) -> tuple[dict[str, Any] | None, str | None]:
    """The object in a JSON file; or None, and what is wrong with the file if it is there."""
    try:
        return read_object(path), None
    except CheckpointError as error:
        return None, str(error) if os.path.lexists(path) else None


def unverified(name: str) -> str | None:
    """What to say, once, of a model in the Hub's cache that is complete, but was put there by another program.

    None if there is nothing to say, or it was said before.
    """
    try:
        folder = resolve(name)
        names = needed_files(folder)
        if not ModelFolder.of(folder).in_cache or not is_complete(folder) or is_verified(folder, names):
            return None
        size = sum((folder / file).stat().st_size for file in names)
    except (CheckpointError, OSError):
        return None
    if not is_first_mention(folder):
        return None
    return (
        f"another program downloaded {name}, and its files were never verified; "
        f"to verify them (reads {disk_size(size)}): gptoss-chat download {name}"
    )
