"""Changes of which synapses exist: removal and regrowth."""
