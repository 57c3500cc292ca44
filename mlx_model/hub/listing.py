"""What the Hub says of a model: the files of one revision with their digests, and its licence. All of it untrusted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from metal.files import parse_json
from mlx_model.errors import CheckpointError
from mlx_model.hub.client import ask, errors
from mlx_model.hub.environment import endpoint
from mlx_model.hub.explain import error_code, explain
from mlx_model.hub.folder import File
from mlx_model.hub.names import COMMIT, Repository, is_needed
from mlx_model.hub.published import KNOWN
from mlx_model.text import clean

_MOST = 4 << 20  # bytes of the answer: gpt-oss's has 10 KB
_LARGEST = 1 << 50  # bytes of a file: more than any disk


@dataclass(frozen=True)
class Listing:
    """One revision on the Hub."""

    commit: str
    files: tuple[File, ...]
    license: str | None
    """As its publisher states it, e.g. "apache-2.0"; None if unknown."""


class NoModel(CheckpointError):
    """The name is none of a model of gpt-oss: to ask again is of no use."""


class NoRevision(NoModel):
    """The Hub has the model, but not that branch, tag or commit."""


def list_files(repository: Repository, revision: str, *, kept: bool) -> Listing:
    """Ask the Hub, in one request. `kept`: something of the model was fetched before.

    Raises NoRevision, NoModel if it isn't gpt-oss as safetensors, and CheckpointError if the Hub can't be asked.
    """
    hub = endpoint()
    try:
        url = f"{hub}/api/models/{repository.name}/revision/{quote(revision, safe='')}?blobs=true"
        return _listing(repository, parse_json(ask(url, _MOST)))
    except CheckpointError:
        raise
    except errors() as error:
        kind = NoRevision if error_code(error) == "RevisionNotFound" else CheckpointError
        raise kind(clean(explain(error, repository.name, revision, hub, kept=kept))) from None
    except (ValueError, TypeError, LookupError, AttributeError) as error:  # not as the Hub says it
        raise CheckpointError(clean(explain(error, repository.name, revision, hub, kept=kept))) from None


def _listing(repository: Repository, info: Mapping[str, Any]) -> Listing:
    """The commit and the digests become names of files, so they must be what they say.

    Raises NoModel if it isn't gpt-oss, ValueError, TypeError, KeyError or AttributeError if it isn't as the
    Hub says it.
    """
    entries = {str(entry["rfilename"]): entry for entry in info["siblings"]}
    files = tuple(_file(name, entry) for name, entry in entries.items() if is_needed(name))
    if not COMMIT.fullmatch(info["sha"]):
        raise ValueError("no commit")
    kind = (info.get("config") or {}).get("model_type")
    if kind not in (None, "gpt_oss") or not any(file.name.endswith(".safetensors") for file in files):
        what = f"is a model of another kind, {kind}" if kind not in (None, "gpt_oss") else _other_files(entries)
        raise NoModel(
            clean(f"{repository.name} {what}; this program runs gpt-oss: try {' or '.join(KNOWN)}. Nothing was fetched")
        )
    license = (info.get("cardData") or {}).get("license")
    return Listing(info["sha"], files, clean(str(license))[:80] if license else None)


def _file(name: str, entry: Mapping[str, Any]) -> File:
    large = entry.get("lfs")
    file = File(name, entry["size"], large["sha256"] if large else entry["blobId"])
    if type(file.size) is not int or not 0 <= file.size <= _LARGEST or not file.has_digest():
        raise ValueError("no size or no digest")
    return file


def _other_files(names: Mapping[str, Any]) -> str:
    """What a repository without weights as safetensors has instead."""
    if "adapter_config.json" in names:
        return "is a LoRA adapter, not a model"
    if any(name.lower().endswith(".gguf") for name in names):
        return "has GGUF, llama.cpp's format, and no weights as safetensors"
    return "has no weights as safetensors"
