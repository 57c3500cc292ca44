"""Products with weights as they are stored, compiled by numba; every function here is called by all threads of a team."""
