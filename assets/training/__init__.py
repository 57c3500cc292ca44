"""Train, export and evaluate the demo model: a tiny gpt-oss on synthetic conversations."""
