"""What the screen does, one object a concern."""
