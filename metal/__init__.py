"""The decode step's operations: weights, MLX's definition of each operation, Metal kernels and their launches."""
