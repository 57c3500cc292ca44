"""What ships with the program beside its code: the demo model, and the package that trains it."""
