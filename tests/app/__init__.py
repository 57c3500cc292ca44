"""The app: engine process, terminal UI, text safety."""
