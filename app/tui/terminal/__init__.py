"""What speaks with the terminal and the system around it."""
