"""Files as part of a prompt."""
