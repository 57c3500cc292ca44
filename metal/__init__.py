"""Metal kernels and how MLX launches them."""
