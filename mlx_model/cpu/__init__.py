"""The transformer on a CPU: compiled kernels over the weights as they lie in their files, and threads that run them.

numba compiles what is here, on Linux, and only when a model is computed on the CPU: nothing else imports it.
"""
