"""Tools for people who write tests; `make test` runs none of them."""
