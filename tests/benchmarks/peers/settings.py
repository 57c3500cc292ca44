"""Which engines are compared, in which settings, on which models."""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from app.cli.roofline import bytes_per_token
from mlx_model.transformer.config import ModelConfig
from tests.fixtures import ROOT
from tests.fixtures.checkpoints import PRESETS, write_checkpoint

LLAMA = Path(os.environ.get("LLAMA_CPP") or ROOT / "build" / "llama.cpp")
"""The environment that `make` builds for llama.cpp: its Python, and what CMake left in lib."""

TEXT_IDS = 199_998
"""From here on gpt-oss' vocabulary has special tokens."""


@dataclass(frozen=True)
class Setting:
    """An engine as it is run. `rounds` and `prompts`, where they are given, replace those of the run.

    `dense_bits` are those that decide how many bytes a token needs; an engine that holds the same weights in wider
    numbers reads more, and its share of the bandwidth is then what it makes of it.
    """

    name: str
    engine: str
    setting: str
    python: Path = Path(sys.executable)
    wants_gguf: bool = False
    dense_bits: int = 16
    environment: dict[str, str] = field(default_factory=dict)
    rounds: int | None = None
    prompts: tuple[int, ...] | None = None
    tokens: int | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it is this project."""
        return self.engine == "ours"


def settings(openblas: str | None) -> Iterator[Setting]:
    """Those that can be run here."""
    yield Setting("gptoss-chat", "ours", "16")
    yield Setting("gptoss-chat, dense part at 8 bits", "ours", "8", dense_bits=8)
    python = LLAMA / "bin" / "python"
    if python.is_file():
        libraries = {"LLAMA_CPP_LIB_PATH": str(LLAMA / "built" / "bin")}
        on_gguf = Setting("llama.cpp", "llama_cpp", "repacked", python, wants_gguf=True, environment=libraries)
        yield on_gguf
        if sys.platform != "darwin":
            yield replace(on_gguf, name="llama.cpp, file mapped", setting="mapped")
    if find_spec("mlx_lm") is None:
        return
    if sys.platform == "darwin":
        yield Setting("mlx-lm", "mlx_lm", "stored")
    else:
        best = Setting("mlx-lm, float32", "mlx_lm", "float32", rounds=1)
        if openblas:
            best = replace(best, name=f"{best.name}, OpenBLAS", environment={"LD_PRELOAD": openblas})
        yield best
        # A token takes ten seconds on two cores: once is enough to know its place.
        yield Setting("mlx-lm as it comes", "mlx_lm", "stored", rounds=1, prompts=(8,), tokens=2)


@dataclass(frozen=True)
class Subject:
    """A model on disk, in both layouts."""

    name: str
    folder: Path
    gguf: Path
    config: ModelConfig

    @property
    def vocabulary(self) -> int:
        """Ids below it are text."""
        return min(self.config.vocab_size, TEXT_IDS)

    def path(self, setting: Setting) -> Path:
        """What the engine loads."""
        return self.gguf if setting.wants_gguf else self.folder

    def files(self, setting: Setting) -> list[Path]:
        """Those with the weights."""
        return [self.gguf] if setting.wants_gguf else sorted(self.folder.glob("*.safetensors"))

    def needed_bytes(self, tokens: int, dense_bits: int) -> float:
        """Bytes of weights that a prompt needs to be read once, of one token as of many: the dense part, and the
        experts that so many tokens meet if they choose evenly."""
        dense = bytes_per_token(replace(self.config, num_experts_per_tok=0), dense_bits)
        chosen = bytes_per_token(self.config, dense_bits) - dense
        share = self.config.num_experts_per_tok / self.config.num_local_experts
        return dense + chosen / share * (1 - (1 - share) ** tokens)


def missing(found: Sequence[Setting], openblas: str | None) -> str:
    """What of it could be had, in a line; empty if nothing is."""
    engines = {setting.engine for setting in found}
    lacks = {
        f"llama.cpp ({LLAMA} is not there; make bench-peers builds it)": "llama_cpp" not in engines,
        "mlx-lm (the extra [peers])": "mlx_lm" not in engines,
        "OpenBLAS for mlx-lm (see --help)": "mlx_lm" in engines and not openblas and sys.platform != "darwin",
    }
    absent = [name for name, lacking in lacks.items() if lacking]
    return f"Not here: {', '.join(absent)}." if absent else ""


def subject(name: str, *, with_gguf: bool) -> Subject:
    """The demo model, or a preset of tests/fixtures/checkpoints.py, written into BENCH_DIR if it is not there yet."""
    base = Path(os.environ.get("BENCH_DIR") or Path(tempfile.gettempdir()) / "gptoss-bench").resolve()
    # The full size lies where bench-memory looks for it.
    folder = ROOT / "assets" / "demo" if name == "demo" else base if name == "20b" else base / name
    if not (folder / "config.json").is_file():
        print(f"Writing the {name} checkpoint into {folder}", file=sys.stderr)
        write_checkpoint(folder, PRESETS[name]())
    gguf = base / f"{name}.gguf"
    is_current = gguf.is_file() and gguf.stat().st_mtime >= (folder / "config.json").stat().st_mtime
    if with_gguf and not is_current:
        from tests.peers.gguf_layout import write_gguf

        print(f"Writing {gguf}", file=sys.stderr)
        gguf.parent.mkdir(parents=True, exist_ok=True)
        write_gguf(folder, gguf)
    return Subject(name, folder, gguf, ModelConfig.load(folder))
