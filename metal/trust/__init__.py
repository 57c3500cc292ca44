"""Which kernels are used on this machine: tried, timed, remembered."""
