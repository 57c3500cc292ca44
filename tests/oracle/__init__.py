"""Reference logits of transformers' GptOssForCausalLM: the script that writes them, and the file it wrote."""
