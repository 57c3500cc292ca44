"""Names of models and where their files are: the demo, the Hub's cache, a folder. Never asks the network."""

import re
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from metal.files import read_small
from mlx_model.checkpoint_files import (
    CONFIG,
    GENERATION_CONFIG,
    INDEX,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WEIGHTS,
    is_pointer,
    weight_files,
)
from mlx_model.errors import CheckpointError
from mlx_model.hub.environment import cache_folder, endpoint, expanded, missing_disk
from mlx_model.hub.folder import is_verified
from mlx_model.hub.published import DEFAULT, DEMO, KNOWN, SIZES
from mlx_model.hub.spelling import gguf, meant, no_name, unquoted
from mlx_model.memory.sizes import disk_size

_NEEDED = (CONFIG, GENERATION_CONFIG, TOKENIZER, TOKENIZER_CONFIG, WEIGHTS, "model-*.safetensors", INDEX)
# What the Hub allows (huggingface_hub.utils.validate_repo_id), kept here because importing that takes a third of a
# second, and because both become names of folders.
_REPOSITORY = re.compile(r"(?!.*(--|\.\.))\w([\w.-]*\w)?/\w([\w.-]*\w)?", re.ASCII)
_REVISION = re.compile(r"(?!.*\.\.)\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
_LONGEST_REFERENCE = 1024  # bytes


@dataclass(frozen=True)
class Repository:
    """A model on the Hub, "org/name", at a branch, tag or commit."""

    name: str
    revision: str = "main"

    @classmethod
    def parse(cls, text: str) -> "Repository | None":
        """Of "gpt-oss-20b", "org/name" or either with "@revision", or the address of its page; None if it is none."""
        name, _, revision = meant(text, _endpoint(text)).partition("@")
        if not _REPOSITORY.fullmatch(name) or not _REVISION.fullmatch(revision or "main"):
            return None
        return cls(name, revision or "main")

    @property
    def short(self) -> str:
        """As it is typed: "gpt-oss-20b" or "org/name", with "@revision" if that isn't main."""
        name = next((short for short, full in KNOWN.items() if full == self.name), self.name)
        return name if self.revision == "main" else f"{name}@{self.revision}"

    @property
    def cache(self) -> Path:
        """The folder of all its revisions in the Hub's cache, whether it is there or not (HF_HOME, HF_HUB_CACHE)."""
        return cache_folder() / f"models--{self.name.replace('/', '--')}"

    def snapshot(self) -> Path | None:
        """The folder of this revision in the Hub's cache, complete or not."""
        commit = self.revision
        with suppress(OSError, ValueError):
            if not COMMIT.fullmatch(commit):
                commit = read_small(self.cache / "refs" / commit, _LONGEST_REFERENCE).decode().strip()
            folder = self.cache / "snapshots" / commit
            return folder if COMMIT.fullmatch(commit) and folder.is_dir() else None
        return None


def resolve(name: str | Path) -> Path:
    """The folder of a model: "demo", a short name, "org/name" or "org/name@revision" in the Hub's cache, or a path.

    Raises CheckpointError, saying how to get the model, if it is not on this computer.
    """
    if name == DEMO:
        return _demo()
    path = expanded(name)
    if str(name) and path.is_dir():
        return _in_repository(path) or path
    repository = Repository.parse(str(name))
    folder = (repository.snapshot() or _in_other_case(repository)) if repository is not None else None
    if folder is not None:
        return folder
    if str(name) and path.exists() and path.suffix.lower() != ".gguf":
        raise CheckpointError(f"{name} is a file: give the folder of a model, as in --model {path.absolute().parent}")
    if repository is None:
        return _by_another_name(str(name))
    if (what := gguf(str(name))) is not None:
        raise CheckpointError(f"{what}, or --model demo")
    size = f" ({disk_size(SIZES[repository.short])})" if repository.short in SIZES else ""
    raise CheckpointError(
        missing_disk()
        or f"{repository.short} is not on this computer, or not all of it; "
        f"get it with: gptoss-chat download {repository.short}{size}, or try --model demo"
    )


def _demo() -> Path:
    from importlib import resources  # only now: it brings four more modules

    return Path(str(resources.files("assets") / "demo"))


def _by_another_name(name: str) -> Path:
    """What is no name of a repository, without quotes or in another case. Raises CheckpointError, saying what it is."""
    plain = unquoted(name)
    if plain.lower() == DEMO:
        return _demo()
    if plain != name and plain and (path := expanded(plain)).is_dir():
        return path
    what = no_name(name, _endpoint(name))
    if what is not None:
        raise CheckpointError(f"{what}, or --model demo")
    names = ", ".join([DEMO, *KNOWN])
    raise CheckpointError(f'there is no model "{name}": it is neither a folder, nor org/name, nor one of {names}')


def _in_repository(folder: Path) -> Path | None:
    """The revision in a repository's own folder in a Hub cache, as a file manager shows it; None if it isn't one."""
    if not folder.name.startswith("models--") or not (folder / "snapshots").is_dir():
        return None
    with suppress(OSError, ValueError):
        commit = read_small(folder / "refs" / "main", _LONGEST_REFERENCE).decode().strip()
        if COMMIT.fullmatch(commit) and (folder / "snapshots" / commit).is_dir():
            return folder / "snapshots" / commit
    return None


def _in_other_case(repository: Repository) -> Path | None:
    """The Hub takes names in any case, and sends one on to the right one, which the folder has."""
    wanted = repository.cache.name.lower()
    with suppress(OSError):
        names = [path.name for path in cache_folder().iterdir() if path.name.lower() == wanted]
        if len(names) == 1:
            name = names[0].removeprefix("models--").replace("--", "/")
            return Repository(name, repository.revision).snapshot()
    return None


def _endpoint(text: str) -> str:
    """Where the Hub is, if that matters: importing what knows it takes a third of a second."""
    return endpoint() if "://" in text else ""


def default_model() -> str:
    """gpt-oss-20b if it is on this computer, complete and verified; else the demo."""
    folder = Repository(KNOWN[DEFAULT]).snapshot()
    return DEFAULT if folder is not None and is_usable(folder) else DEMO


def is_usable(folder: Path) -> bool:
    """Whether a model is complete, and each of its files was once read and found to be what the Hub has."""
    return is_complete(folder) and is_verified(folder, needed_files(folder))


def is_complete(folder: Path) -> bool:
    """Whether configuration, tokenizer and every shard are there; what is in them, the digests and the loader say."""
    names = (CONFIG, TOKENIZER, *shards(folder))
    return all((folder / name).is_file() and not is_pointer(folder / name) for name in names)


def needed_files(folder: Path) -> list[str]:
    """The names of the files in this folder that the program reads."""
    with suppress(OSError):
        return sorted(path.name for path in folder.iterdir() if is_needed(path.name) and path.is_file())
    return []


def is_needed(name: str) -> bool:
    """Whether the program reads this file of a repository: the same weights lie there twice more, in other layouts.

    Names come from the Hub and are untrusted: none that leads out of the model's own folder is needed.
    """
    return name.isprintable() and "/" not in name and any(fnmatchcase(name, pattern) for pattern in _NEEDED)


def shards(folder: Path) -> list[str]:
    """The weights that the index names, or the one file of a model without an index. An unreadable index: that too."""
    try:
        return weight_files(folder)
    except CheckpointError:
        return [WEIGHTS]
