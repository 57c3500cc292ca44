"""Tests that go on for long: random games and kills. `make test` leaves them out, `make torture` runs them."""
