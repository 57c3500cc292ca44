"""LoRA adapters by their names: those that `gptoss-chat finetune` has made, or a folder anywhere."""

from app.lines import one_line, similar
from app.paths import adapter_folder, adapter_folders
from metal.files import expanded
from mlx_model.errors import CheckpointError

CONFIG = "adapter_config.json"
"""What a folder has that is an adapter."""
OFF = "off"
"""The name that stands for none."""


def adapter_names() -> list[str]:
    """Those that this program has made."""
    try:
        return sorted(path.name for path in adapter_folders().iterdir() if (path / CONFIG).is_file())
    except OSError:
        return []


def adapters_here() -> str:
    """A sentence on those."""
    names = ", ".join(map(one_line, adapter_names())) or "none; `gptoss-chat finetune` makes one"
    return f"Adapters here: {names}."


def find_adapter(name: str) -> str:
    """The folder of an adapter: one by name, else one by its path. Raises CheckpointError where there is none."""
    if "/" not in name and name not in ("", ".", "..") and (adapter_folder(name) / CONFIG).is_file():
        return str(adapter_folder(name))
    try:
        folder = expanded(name).absolute()
        if (folder / CONFIG).is_file():
            return str(folder)
    except (OSError, ValueError):  # too long for a name, or with a NUL in it
        pass
    names = adapter_names()
    meant = similar(name, names)
    known = f" (did you mean {meant}?)" if meant else f"; there are {', '.join(names)}" if names else ""
    raise CheckpointError(f'there is no adapter "{name}"{known}. `gptoss-chat finetune` makes one')
