"""Where a model's files are: the demo, the Hub's cache, a folder; and fetching them from the Hub."""

import json
from importlib.resources import files
from pathlib import Path

from mlx_model.errors import CheckpointError

DEMO = "demo"
KNOWN = {"gpt-oss-20b": "openai/gpt-oss-20b", "gpt-oss-120b": "openai/gpt-oss-120b"}
"""Short names of the published models."""

SIZES = {"openai/gpt-oss-20b": "13.8 GB", "openai/gpt-oss-120b": "65.2 GB"}

_NEEDED = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
]
"""Of the Hub's repository only this is used: the same weights lie there twice more, in other layouts."""


def resolve(name: str | Path) -> Path:
    """The folder of a model: "demo", a short name, "org/repo" in the Hub's cache, or a path.

    Never asks the network. Raises CheckpointError, saying how to get the model, if it is not on this computer.
    """
    if name == DEMO:
        return Path(str(files("assets") / "demo"))
    path = Path(name).expanduser()
    if str(name) and path.is_dir():
        return path
    repo = _repo(str(name))
    if repo is None:
        names = ", ".join([DEMO, *KNOWN])
        raise CheckpointError(f'there is no model "{name}": it is neither a folder, nor org/name, nor one of {names}')
    folder = _cached(repo)
    if folder is None:
        size = f" ({SIZES[repo]})" if repo in SIZES else ""
        raise CheckpointError(
            f"{name} is not on this computer; get it with: gptoss-chat download {name}{size}, or try --model demo"
        )
    return folder


def default_model() -> str:
    """gpt-oss-20b if it is complete on this computer, else the demo."""
    folder = _cached(KNOWN["gpt-oss-20b"])
    return "gpt-oss-20b" if folder is not None and is_complete(folder) else DEMO


def is_complete(folder: Path) -> bool:
    """Whether config and every file that the index names are there; what is in them is checked when loading."""
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        return (folder / "config.json").is_file() and all(
            (folder / file).is_file() for file in set(index["weight_map"].values())
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def download(name: str) -> Path:
    """Fetches a model into the Hub's cache, resuming what is there, and returns its folder.

    Raises CheckpointError saying what to do when the Hub refuses, the network fails or the disk is full.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repo = _repo(name)
    if repo is None:
        raise CheckpointError(f'"{name}" is no model on the Hub: try {" or ".join(KNOWN)}, or org/name')
    try:
        return Path(snapshot_download(repo, allow_patterns=_NEEDED))
    except LocalEntryNotFoundError:
        raise CheckpointError(
            "the Hub can't be reached; what was fetched so far is kept, so try the same command again when online"
        ) from None
    except HFValidationError:
        raise CheckpointError(f'"{name}" is no repository name of the Hub; it looks like org/name') from None
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"downloading {repo} failed: {reason}. What was fetched is kept; try again") from None


def _repo(name: str) -> str | None:
    """The Hub's name of a model, None if it can't be one."""
    if name in KNOWN:
        return KNOWN[name]
    return name if name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith("/") else None


def _cached(repo: str) -> Path | None:
    """The newest snapshot of a repository in the Hub's cache, complete or not."""
    # Imported late: it takes a third of a second, and `--model demo` has no use for it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, allow_patterns=_NEEDED, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None
