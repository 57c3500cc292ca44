"""Names of models and where their files are: the demo, the Hub's cache, a folder. Never asks the network."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path

from mlx_model.checkpoint_files import CONFIG, GENERATION_CONFIG, INDEX, TOKENIZER, TOKENIZER_CONFIG, WEIGHTS
from mlx_model.errors import CheckpointError
from mlx_model.hub.folder import is_verified

DEMO = "demo"
DEFAULT = "gpt-oss-20b"
"""The model that is loaded and downloaded where none is named."""

KNOWN = {DEFAULT: f"openai/{DEFAULT}", "gpt-oss-120b": "openai/gpt-oss-120b"}
"""Short names of the published models."""

SIZES = {KNOWN[DEFAULT]: "13.8 GB", "openai/gpt-oss-120b": "65.2 GB"}

_NEEDED = (CONFIG, GENERATION_CONFIG, TOKENIZER, TOKENIZER_CONFIG, WEIGHTS, "model-*.safetensors", INDEX)
# What the Hub allows (huggingface_hub.utils.validate_repo_id), kept here because importing that takes a third of a
# second, and because both become names of folders.
_REPOSITORY = re.compile(r"(?!.*(--|\.\.))\w([\w.-]*\w)?/\w([\w.-]*\w)?", re.ASCII)
_REVISION = re.compile(r"(?!.*\.\.)\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Repository:
    """A model on the Hub, "org/name", at a branch, tag or commit."""

    name: str
    revision: str = "main"

    @classmethod
    def parse(cls, text: str) -> "Repository | None":
        """Of "gpt-oss-20b", "org/name" or either with "@revision"; None if it can't be one."""
        name, _, revision = text.partition("@")
        name = KNOWN.get(name, name)
        if not _REPOSITORY.fullmatch(name) or not _REVISION.fullmatch(revision or "main"):
            return None
        return cls(name, revision or "main")

    @property
    def cache(self) -> Path:
        """The folder of all its revisions in the Hub's cache, whether it is there or not (HF_HOME, HF_HUB_CACHE)."""
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE).expanduser().absolute() / f"models--{self.name.replace('/', '--')}"

    def snapshot(self) -> Path | None:
        """The folder of this revision in the Hub's cache, complete or not."""
        commit = self.revision
        with suppress(OSError, ValueError):
            if not COMMIT.fullmatch(commit):
                commit = (self.cache / "refs" / commit).read_text(encoding="utf-8").strip()
            folder = self.cache / "snapshots" / commit
            return folder if COMMIT.fullmatch(commit) and folder.is_dir() else None
        return None


def folder_at(name: str | Path) -> Path | None:
    """The folder of this name, None if there is none: a name may be too long for one, or have a NUL in it."""
    with suppress(OSError, ValueError, RuntimeError):
        path = Path(name).expanduser()
        return path if str(name) and path.is_dir() else None
    return None


def resolve(name: str | Path) -> Path:
    """The folder of a model: "demo", a short name, "org/name" or "org/name@revision" in the Hub's cache, or a path.

    Raises CheckpointError, saying how to get the model, if it is not on this computer.
    """
    if name == DEMO:
        return Path(str(files("assets") / "demo"))
    if (path := folder_at(name)) is not None:
        return path
    repository = Repository.parse(str(name))
    if repository is None:
        names = ", ".join([DEMO, *KNOWN])
        raise CheckpointError(f'there is no model "{name}": it is neither a folder, nor org/name, nor one of {names}')
    folder = repository.snapshot()
    if folder is None:
        size = f" ({SIZES[repository.name]})" if repository.name in SIZES else ""
        raise CheckpointError(
            f"{name} is not on this computer, or not all of it; get it with: gptoss-chat download {name}{size}, "
            "or try --model demo"
        )
    return folder


def default_model() -> str:
    """gpt-oss-20b if it is on this computer, complete and verified; else the demo."""
    folder = Repository(KNOWN[DEFAULT]).snapshot()
    return DEFAULT if folder is not None and is_usable(folder) else DEMO


def is_usable(folder: Path) -> bool:
    """Whether a model is complete, and each of its files was once read and found to be what the Hub has."""
    return is_complete(folder) and is_verified(folder, needed_files(folder))


def is_complete(folder: Path) -> bool:
    """Whether configuration, tokenizer and every shard are there; what is in them, the digests and the loader say."""
    return all((folder / name).is_file() for name in (CONFIG, TOKENIZER, *shards(folder)))


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
    with suppress(OSError, ValueError, KeyError, AttributeError, TypeError):
        names = {str(name) for name in json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()}
        return sorted(names)
    return [WEIGHTS]
