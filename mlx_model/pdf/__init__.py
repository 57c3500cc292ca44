"""The text of PDF files, read in a process of its own: they may be damaged or hostile. Knows no model."""
