"""Spiking neurons: state in, state out, over a whole run of time steps."""

from spatialgraph.neurons.leaky import (
    FastSigmoid,
    Leaky,
    LeakyIntegrator,
    Neuron,
    Recording,
    SnnTorchNeuron,
    State,
    make_surrogate,
)

__all__ = [
    "FastSigmoid",
    "Leaky",
    "LeakyIntegrator",
    "Neuron",
    "Recording",
    "SnnTorchNeuron",
    "State",
    "make_surrogate",
]
