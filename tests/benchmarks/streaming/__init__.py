"""Experts read from the disk under hard limits of memory: `__main__` says what is measured."""
