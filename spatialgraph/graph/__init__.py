"""What a network is: neurons, synapses, projections, and how activations cross them."""
