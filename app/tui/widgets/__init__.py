"""The widgets of the screen, each with the help for its keys; they know neither parts nor screens."""
