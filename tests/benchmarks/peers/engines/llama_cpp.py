"""llama.cpp, through the C functions that llama-cpp-python declares; its own Python class keeps 0.4 GB of logits more.

The setting "repacked" reads the file into memory, where its matrices are laid out for this CPU (llama.cpp's fastest);
"mapped" uses the mapped file as it is.
"""

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

import llama_cpp as llama
import numpy as np

from tests.benchmarks.peers.machine import cores

CONTEXT = 1024
BATCH = 512
ERROR = 4
"""ggml's GGML_LOG_LEVEL_ERROR."""


class Loaded:
    """See Engine."""

    def __init__(self, path: Path, setting: str) -> None:
        # Its log goes to standard error; only what is wrong is of interest.
        self._log = llama.llama_log_callback(_print_errors)
        llama.llama_log_set(self._log, ctypes.c_void_p(0))
        llama.llama_backend_init()
        of_model = llama.llama_model_default_params()
        of_model.n_gpu_layers = 999  # all, where it was built for a GPU
        is_mapped = setting == "mapped"
        of_model.load_mode = llama.LLAMA_LOAD_MODE_MMAP if is_mapped else llama.LLAMA_LOAD_MODE_NONE
        of_model.use_extra_bufts = not is_mapped
        model = llama.llama_model_load_from_file(str(path).encode(), of_model)
        if model is None:
            raise SystemExit(f"llama.cpp can't load {path}")
        of_context = llama.llama_context_default_params()
        of_context.n_ctx, of_context.n_batch, of_context.n_ubatch = CONTEXT, BATCH, BATCH
        of_context.n_threads = of_context.n_threads_batch = cores()
        context = llama.llama_init_from_model(model, of_context)
        if context is None:
            raise SystemExit(f"llama.cpp can't make a context of {CONTEXT} tokens")
        self._context = context
        self._vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        features = llama.llama_print_system_info().decode().replace(" = 1", "").replace(" |", "").strip()
        self.about = f"llama-cpp-python {llama.__version__}, {features}"

    def answer(self, prompt: list[int], tokens: int) -> Iterator[int]:
        """See Engine."""
        llama.llama_memory_clear(llama.llama_get_memory(self._context), False)
        ids = prompt
        for _ in range(tokens):
            ids = [int(self.logits(ids).argmax())]
            yield ids[0]

    def logits(self, ids: list[int]) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
        """Those behind the last of some ids, which join what is in the cache; valid until the next call."""
        array = (llama.llama_token * len(ids))(*ids)
        if llama.llama_decode(self._context, llama.llama_batch_get_one(array, len(ids))) != 0:
            raise SystemExit(f"llama.cpp can't compute {len(ids)} tokens")
        row = llama.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(row, (self._vocabulary,))


def _print_errors(level: int, text: bytes, _: object) -> None:
    if level == ERROR:
        sys.stderr.write(text.decode(errors="replace"))
