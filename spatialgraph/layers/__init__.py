"""Layers for any PyTorch model, without a SpatialGraph."""
