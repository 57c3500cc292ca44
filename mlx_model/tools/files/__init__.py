"""Files in one folder that a person opened: read, listed, searched, and changed by patches that can be undone."""
