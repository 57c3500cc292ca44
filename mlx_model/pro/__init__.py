"""Several answers to one request: what of them can be compared, how they are counted, and how one is made of them."""
