"""Tests of a model over several computers."""
