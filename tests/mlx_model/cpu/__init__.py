"""Tests of the compiled CPU path."""
