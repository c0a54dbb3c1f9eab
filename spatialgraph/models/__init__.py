"""Whole networks with a forward pass."""
