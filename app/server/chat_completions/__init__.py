"""The Chat Completions API: a request to what the engine is asked, and what the engine brings to its chunks."""
