"""How long a question must have been in sight before it can be answered."""

GRACE_S = 0.5
"""Until then a key or a click may have been meant for what was there before."""
