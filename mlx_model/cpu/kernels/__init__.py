"""Products with weights as they are stored, compiled by numba, and how the threads of a team share them."""
