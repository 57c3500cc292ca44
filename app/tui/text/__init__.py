"""What is shown, worked out as plain text and data; free of widgets."""
