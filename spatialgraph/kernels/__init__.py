"""Compiled CPU kernels on plain arrays."""
