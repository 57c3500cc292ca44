"""What every chat shares, on the screen or without: no Textual, no SQLite."""
