"""Spatial networks made from trained dense ones."""
