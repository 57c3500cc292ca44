"""The tools of the chat: which there are, what the person allows, and where their files are."""
