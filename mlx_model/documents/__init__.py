"""Files of any format as text with its places (pages, sheets, headings), read in a process of its own."""
