"""The conversations on disk: one SQLite database, in WAL mode, that several programs may have open."""
