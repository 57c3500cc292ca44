"""Conversations to files and back: JSON, Markdown, ChatGPT's exports."""
