"""Spiking neurons, surrogate gradients and input coding."""

from spatialgraph.neurons.leaky import Leaky, LeakyIntegrator
from spatialgraph.neurons.neuron import Neuron, Recording, State
from spatialgraph.neurons.snntorch import SnnTorchNeuron
from spatialgraph.neurons.surrogates import FastSigmoid, make_surrogate

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
