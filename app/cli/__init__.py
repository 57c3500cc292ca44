"""The command line: a file a subcommand, its arguments and its work."""
