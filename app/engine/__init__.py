"""The process that owns the model, and the typed events it speaks over a pipe."""
