"""Which kernels are used on this machine: each is verified, timed, and the result remembered."""
