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
        self._context, self._model, self._settings = context, model, of_context
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

    def answers(self, prompts: list[list[int]], tokens: int) -> Iterator[list[int]]:
        """See Engine. As llama-batched-bench and llama-server -np do it: a batch with a token of each sequence."""
        self._settings.n_seq_max, self._settings.kv_unified = len(prompts), False
        self._settings.n_ctx = CONTEXT * len(prompts)
        context = llama.llama_init_from_model(self._model, self._settings)
        if context is None:
            raise SystemExit(f"llama.cpp can't make a context of {len(prompts)} sequences")
        try:
            ids, at = prompts, 0
            for _ in range(tokens):
                batch = llama.llama_batch_init(sum(map(len, ids)), 0, 1)
                for row, own in enumerate(ids):
                    for index, token in enumerate(own):
                        place = batch.n_tokens
                        batch.token[place], batch.pos[place] = token, at + index
                        batch.n_seq_id[place], batch.seq_id[place][0] = 1, row
                        batch.logits[place] = index == len(own) - 1
                        batch.n_tokens += 1
                ends = [index for index in range(batch.n_tokens) if batch.logits[index]]
                if llama.llama_decode(context, batch) != 0:
                    raise SystemExit(f"llama.cpp can't compute {batch.n_tokens} tokens")
                llama.llama_batch_free(batch)
                at += len(ids[0])
                rows = (llama.llama_get_logits_ith(context, end) for end in ends)
                ids = [[int(np.ctypeslib.as_array(row, (self._vocabulary,)).argmax())] for row in rows]
                yield [*range(len(prompts))]
        finally:  # who asked may read no further
            llama.llama_free(context)


def _print_errors(level: int, text: bytes, _: object) -> None:
    if level == ERROR:
        sys.stderr.write(text.decode(errors="replace"))
