"""From a prompt to an answer: sessions, the runner, sampling, stop strings."""
