"""What speaks with the terminal and the system around it: clipboard, editor, pasted text, notifications, hang-up."""
