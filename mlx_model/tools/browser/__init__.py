"""The browser tool: pages as the model reads them, and what it cites of them."""
