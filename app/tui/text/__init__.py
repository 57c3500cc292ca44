"""What is shown, worked out as plain text and data, at most as Textual's Content; no widgets, no processes."""
