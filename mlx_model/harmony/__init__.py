"""The Harmony format: the messages gpt-oss was trained on, to token ids and back. Pure Python, no MLX."""
