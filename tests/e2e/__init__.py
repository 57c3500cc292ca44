"""The program as a person runs it: subprocesses and a real terminal."""
