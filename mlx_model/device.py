"""Where the model runs, and what differs there: activation dtype, prefill chunk, streams, memory figures."""

import os
import resource
import sys

import mlx.core as mx

CPU_STREAMS = min(4, os.cpu_count() or 1)
"""Streams an expert layer is spread over on the CPU: MLX runs one thread a stream, and four experts make four parts."""


def on_gpu() -> bool:
    """Whether MLX's default device is a GPU."""
    return mx.default_device().type == mx.DeviceType.gpu


def activation_dtype() -> mx.Dtype:
    """bfloat16, as gpt-oss was trained; float32 on the CPU, where MLX's bfloat16 is 16 times slower (measured)."""
    return mx.bfloat16 if on_gpu() else mx.float32


def prefill_chunk() -> int:
    """Prompt tokens computed at once; between two chunks an answer can be cancelled."""
    return 2048 if on_gpu() else 64


def peak_memory_bytes() -> int:
    """The most memory held so far: MLX's own count on a GPU, the process's peak resident set on the CPU."""
    if on_gpu():
        return mx.get_peak_memory()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
