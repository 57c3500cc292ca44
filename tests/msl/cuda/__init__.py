"""Runs the text of the Metal kernels as CUDA C++: compiled here without a GPU, and run where an NVIDIA GPU is.

`make kernels-cuda` dumps the cases (`cases.py`: texts, geometry, how arrays are made), compiles them with NVRTC, and
runs them at small sizes on the CPU bench. What it writes, build/kernels-cuda.pyz, needs Python, numpy and NVIDIA's
driver, and nothing of this checkout: there `on_gpu.py` says which kernels are right against float64, which variants
give the same bits, and how fast each is beside MLX's own kernels through the same shim.

What a run on a GPU proves: the text is right where many threads really run at once; loads are never wider than the
alignment that a variant was built for (an error on NVIDIA, silent on Apple's GPUs); every output is written. With
compute-sanitizer also that nothing is read or written outside of an array, and that threadgroup memory has no races.

What it doesn't: that Apple's compiler takes the text; anything about registers, caches or times of an Apple GPU. simd
operations name all 32 lanes here, so one that some lanes skip is undefined, where Metal has it defined. Ratios between
two kernels say something where there are many waves of threadgroups, as on an Apple GPU: at four times the rows.
"""
