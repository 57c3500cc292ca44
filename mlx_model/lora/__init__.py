"""Fine-tuning by LoRA: conversations of a file to an adapter, on a model whose own weights stay as they are."""
