"""Test sets for language models from documents: items are asked of a model, checked, kept or dropped, and written."""
