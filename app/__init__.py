"""What a person runs: the command, the engine process, the terminal UI."""
