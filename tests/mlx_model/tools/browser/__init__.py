"""Tests for mlx_model/tools/browser."""
