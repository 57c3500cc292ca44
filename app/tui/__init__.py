"""The Textual terminal UI; the only place that imports Textual."""
