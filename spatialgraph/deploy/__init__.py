"""A model leaves Python."""
