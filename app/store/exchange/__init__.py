"""Conversations to files and back: JSON, Markdown, exports of ChatGPT and Claude."""
