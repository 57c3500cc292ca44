"""Runs the model, in a process of its own or in this one, behind one protocol of typed events."""
