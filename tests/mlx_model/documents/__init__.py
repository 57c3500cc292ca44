"""Tests for mlx_model/pdf."""
