"""What speaks with the terminal and the system around it: clipboard, editor, pasted text, hang-up, notifications, title."""
