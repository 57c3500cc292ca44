"""The mathematics of gpt-oss: token ids to logits, to read in a sitting."""
