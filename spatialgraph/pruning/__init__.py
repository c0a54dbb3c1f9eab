"""Pruning and regrowth of synapses."""
