"""Independent references in numpy float64, written for clarity, not speed, and builders that tests share."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import networkx as nx
import numpy as np
import torch
from conftest import DEVICE
from torch import nn

from spatialgraph import SpatialSimpleConv
from spatialgraph.functional import all_to_all, edge_weight, sparse, streamed
from spatialgraph.functional import dense_engine as engine_policy
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.laws import (
    Compact,
    Cosine,
    CosineWave,
    Gaussian,
    InverseDistance,
    InversePower,
    Law,
    MexicanHat,
    SineWave,
    Yukawa,
)


class Exponential(Law):
    """A law of one's own that says nothing but its weight."""

    def from_square(self, square):
        return torch.exp(-square.sqrt())


class Rational(Law):
    """A law of one's own with a parameter."""

    def __init__(self, width=1.5):
        super().__init__(softening=0.0)
        self.width = nn.Parameter(torch.tensor(width))

    def from_square(self, square):
        return self.width / (1.0 + square)

    def parameter_slopes(self, square, weight):
        return (1.0 / (1.0 + square),)

    def settings(self):
        return {"width": self.width.item()}


class PlainInverseDistance(InverseDistance):
    """The inverse distance, computed by tensor operations: fused kernels serve the class itself only."""


LAWS = {
    "plain_inverse_distance": PlainInverseDistance,
    "inverse_distance": InverseDistance,
    "soft_inverse_distance": lambda: InverseDistance(softening=0.25),
    "inverse_power": lambda: InversePower(exponent=1.5),
    "learnable_power": lambda: InversePower(exponent=2.5, learnable=True),
    "gaussian": lambda: Gaussian(sigma=1.25),
    "yukawa": lambda: Yukawa(screening=2.0, softening=1e-2),
    "cosine": lambda: Cosine(wavenumber=1.5),
    "learnable_cosine": lambda: Cosine(wavenumber=1.5, learnable=True),
    "sine_wave": lambda: SineWave(wavenumber=2.5),
    "learnable_sine_wave": lambda: SineWave(wavenumber=0.75, learnable=True),
    "cosine_wave": lambda: CosineWave(wavenumber=1.5, softening=1e-2),
    "learnable_cosine_wave": lambda: CosineWave(wavenumber=0.5, learnable=True),
    "mexican_hat": lambda: MexicanHat(sigma=0.75, surround=1.5, strength=0.75),
    "learnable_mexican_hat": lambda: MexicanHat(learnable=True),
    "compact": lambda: Compact(radius=2.0),
    "exponential": Exponential,
    "rational": Rational,
}


def law_weight(law, square):
    """Weight at a softened squared length, from each law's published formula."""
    settings = law.settings()
    rho = np.sqrt(square)
    match law:
        case InverseDistance():
            return 1.0 / rho
        case InversePower():
            return rho ** -settings["exponent"]
        case Gaussian():
            return np.exp(-square / (2.0 * settings["sigma"] ** 2))
        case Yukawa():
            return np.exp(-rho / settings["screening"]) / rho
        case Cosine():
            return np.cos(settings["wavenumber"] * rho)
        case SineWave():
            return np.sin(settings["wavenumber"] * rho) / rho
        case CosineWave():
            return np.cos(settings["wavenumber"] * rho) / rho
        case MexicanHat():
            center, surround = (np.exp(-square / (2.0 * width**2)) for width in _widths(settings))
            return center - settings["strength"] * surround
        case Compact():
            share = np.minimum(rho / settings["radius"], 1.0)
            return 1.0 - 10.0 * share**2 + 20.0 * share**3 - 15.0 * share**4 + 4.0 * share**5
        case Exponential():
            return np.exp(-rho)
        case Rational():
            return settings["width"] / (1.0 + square)
    raise NotImplementedError(law)


def law_scale(law, square):
    """Largest size that a weight may have at a softened squared length: rounding errors are a share of it."""
    match law:
        case Cosine() | Compact():
            return np.ones_like(square)
        case SineWave() | CosineWave():
            return 1.0 / np.sqrt(square)
        case MexicanHat():
            center, surround = (np.exp(-square / (2.0 * width**2)) for width in _widths(law.settings()))
            return center + law.strength * surround
    return np.abs(law_weight(law, square))


def _widths(settings):
    return settings["sigma"], settings["sigma"] * settings["surround"]


def _sine_wave_slope(wavenumber, rho):
    """From the power series of sin(x) / x near 0, in which no nearly equal numbers are subtracted."""
    x = np.asarray(wavenumber * rho, dtype=np.float64)
    exact = (x * np.cos(x) - np.sin(x)) / (2.0 * rho**3)
    terms = [(-1.0) ** n * n * x ** (2 * n - 2) / math.factorial(2 * n + 1) for n in range(1, 12)]
    return np.where(x < 1.0, wavenumber**3 * sum(terms), exact)


def law_slope(law, square):
    """Derivative of the weight by the softened squared length."""
    settings = law.settings()
    rho = np.sqrt(square)
    match law:
        case InverseDistance():
            return -0.5 / rho**3
        case InversePower():
            return -0.5 * settings["exponent"] * rho ** (-settings["exponent"] - 2.0)
        case Gaussian():
            return -np.exp(-square / (2.0 * settings["sigma"] ** 2)) / (2.0 * settings["sigma"] ** 2)
        case Yukawa():
            reach = settings["screening"]
            return -np.exp(-rho / reach) * (1.0 / (reach * rho) + 1.0 / rho**2) / (2.0 * rho)
        case Cosine():
            return -settings["wavenumber"] * np.sin(settings["wavenumber"] * rho) / (2.0 * rho)
        case SineWave():
            return _sine_wave_slope(settings["wavenumber"], rho)
        case CosineWave():
            phase = settings["wavenumber"] * rho
            return -(phase * np.sin(phase) + np.cos(phase)) / (2.0 * rho**3)
        case MexicanHat():
            center, surround = (-np.exp(-square / (2.0 * width**2)) / (2.0 * width**2) for width in _widths(settings))
            return center - settings["strength"] * surround
        case Compact():
            share = np.minimum(rho / settings["radius"], 1.0)
            return -10.0 * (1.0 - share) ** 3 / settings["radius"] ** 2
        case Exponential():
            return -np.exp(-rho) / (2.0 * rho)
        case Rational():
            return -settings["width"] / (1.0 + square) ** 2
    raise NotImplementedError(law)


def law_parameter_slope(law, square):
    """Derivative of the weight by the law's only parameter."""
    match law:
        case InversePower():
            return -0.5 * np.log(square) * law_weight(law, square)
        case Cosine():
            return -np.sqrt(square) * np.sin(law.settings()["wavenumber"] * np.sqrt(square))
        case SineWave():
            return np.cos(law.settings()["wavenumber"] * np.sqrt(square))
        case CosineWave():
            return -np.sin(law.settings()["wavenumber"] * np.sqrt(square))
        case MexicanHat():
            sigma, strength, (center, surround) = law.sigma.item(), law.strength, _widths(law.settings())
            outer = strength * square / surround**2 * np.exp(-square / (2.0 * surround**2))
            return (square / center**2 * np.exp(-square / (2.0 * center**2)) - outer) / sigma
        case Rational():
            return 1.0 / (1.0 + square)
    raise NotImplementedError(law)


def softened_squares(source_pos, target_pos, softening):
    """Squared lengths (m, n), one pair after the other."""
    square = np.empty((len(target_pos), len(source_pos)))
    for j, q in enumerate(target_pos):
        for i, p in enumerate(source_pos):
            square[j, i] = sum((a - b) ** 2 for a, b in zip(q, p, strict=True)) + softening**2
    return square


@dataclass
class Product:
    """What an engine returns, and its gradients."""

    value: np.ndarray
    x: np.ndarray
    source_pos: np.ndarray
    target_pos: np.ndarray
    scale: np.ndarray
    law: list[np.ndarray]

    def items(self):
        named = [(name, getattr(self, name)) for name in ("value", "x", "source_pos", "target_pos", "scale")]
        return named + [("law", gradient) for gradient in self.law]


def product(x, source_pos, target_pos, scale, law, grad_y, magnitude=lambda terms: terms):
    """Brute force over all pairs; ``magnitude=numpy.abs`` sums absolute terms, which bound rounding."""
    arrays = (np.asarray(a, dtype=np.float64) for a in (x, source_pos, target_pos, scale, grad_y))
    x, source_pos, target_pos, scale, grad_y = arrays
    square = softened_squares(source_pos, target_pos, law.softening)
    difference = magnitude(target_pos[:, None, :] - source_pos[None, :, :])
    weight, slope = magnitude(law_weight(law, square)), magnitude(law_slope(law, square))
    x, scale, grad_y = magnitude(x), magnitude(scale), magnitude(grad_y)
    signed = weight * scale
    grad_weight = grad_y.T @ x
    pull = (2.0 * grad_weight * scale * slope)[:, :, None] * difference
    has_parameter = next(law.parameters(), None) is not None
    return Product(
        value=x @ signed.T,
        x=grad_y @ signed,
        source_pos=magnitude(-pull.sum(0)),
        target_pos=pull.sum(1),
        scale=(grad_weight * weight).sum(0),
        law=[(grad_weight * scale * magnitude(law_parameter_slope(law, square))).sum()] if has_parameter else [],
    )


def complete_edges(n, m):
    """All edges from n sources to m targets, sorted by target, then source."""
    return torch.tensor([[i for _ in range(m) for i in range(n)], [j for j in range(m) for _ in range(n)]])


def on_device(engine):
    """Let an engine work on the device of this session; operands and results are on the CPU, but for the law."""

    def run(x, source_pos, target_pos, scale, law):
        moved = [values.to(DEVICE) for values in (x, source_pos, target_pos, scale)]
        if any(parameter.device.type != DEVICE.type for parameter in law.parameters()):
            law.to(DEVICE)
        return engine(*moved, law).cpu()

    run.__name__ = engine.__name__
    return run


@on_device
def dense_engine(x, source_pos, target_pos, scale, law):
    return all_to_all(x, source_pos, target_pos, scale, law)


@on_device
def sparse_engine(x, source_pos, target_pos, scale, law):
    n, m = len(source_pos), len(target_pos)
    edges = CompressedEdges.from_edges(complete_edges(n, m).to(DEVICE), n, m)
    return sparse(x, edge_weight(source_pos, target_pos, scale, law, edges), edges)


@on_device
def message_engine(x, source_pos, target_pos, scale, law):
    edges = complete_edges(len(source_pos), len(target_pos)).to(DEVICE)
    features = x.t(), x.new_zeros(len(target_pos), len(x))
    return SpatialSimpleConv(law)(features, (source_pos, target_pos), edges, polarity=scale).t()


@on_device
def streamed_engine(x, source_pos, target_pos, scale, law):
    return streamed(x, source_pos, target_pos, scale, law)


ENGINES = {
    "all_to_all": dense_engine,
    "sparse": sparse_engine,
    "streamed": streamed_engine,
    "messages": message_engine,
}


def assert_close(actual, expected, tolerance):
    """Largest deviation, relative to the largest expected number."""
    actual = actual.detach().cpu().to(torch.float64).numpy() if isinstance(actual, torch.Tensor) else np.asarray(actual)
    expected = expected.detach().cpu().numpy() if isinstance(expected, torch.Tensor) else np.asarray(expected)
    assert actual.shape == expected.shape
    if actual.size:
        deviation = np.abs(actual - expected).max()
        assert deviation <= tolerance * max(np.abs(expected).max(), 1e-30), (
            deviation,
            np.abs(expected).max(),
        )


def assert_same(graph, other):
    """Two graphs agree to the bit in all that they are."""
    assert repr(graph) == repr(other)
    assert (graph.gain, graph.polarity_mode, graph.spacing) == (
        other.gain,
        other.polarity_mode,
        other.spacing,
    )
    assert type(graph.law) is type(other.law) and graph.law.settings() == other.law.settings()
    assert torch.equal(graph.layer, other.layer)
    parameters, others = dict(graph.named_parameters()), dict(other.named_parameters())
    assert parameters.keys() == others.keys()
    for name, parameter in parameters.items():
        assert parameter.dtype == others[name].dtype, name
        assert torch.equal(parameter, others[name]), name
    for name in ("pos", "edge_index", "polarity", "bias", "inputs", "outputs"):
        assert torch.equal(getattr(graph, name), getattr(other, name)), name
    assert torch.equal(graph.weights(), other.weights()) and torch.equal(graph.lengths(), other.lengths())
    assert torch.equal(graph.positions.anchored, other.positions.anchored)


def with_masked_from(graph, share):
    """Let the masked engine serve this graph's projections from this share of the pairs on."""
    usual, engine_policy.MASKED_FROM = engine_policy.MASKED_FROM, dict.fromkeys(engine_policy.MASKED_FROM, share)
    try:
        graph.connectivity._locate()
    finally:
        engine_policy.MASKED_FROM = usual
    return graph


def engines_of(graph):
    return [type(projection.engine) for projection in graph.projections]


def random_dag(neurons, density, seed):
    """Distinct edges of a random directed acyclic graph with at least one edge; numbers tell no order."""
    rng = np.random.default_rng(seed)
    source, target = np.nonzero(np.triu(rng.random((neurons, neurons)) < density, k=1))
    if not len(source):
        source, target = np.array([0]), np.array([neurons - 1])
    number, order = rng.permutation(neurons), rng.permutation(len(source))
    return torch.from_numpy(np.stack([number[source], number[target]])[:, order].copy())


def randomise(graph):
    """Give a graph positions, polarities and biases that no part of it could have by default."""
    with torch.no_grad():
        for parameter in graph.parameters():
            if parameter.dim():
                parameter.add_(torch.rand_like(parameter))
    return graph


def neuron_by_neuron(graph, x, activation):
    """Run any graph for a batch x, one neuron after the other in topological order, without normalisation."""
    pos, polarity, bias = (
        values.detach().numpy().astype(np.float64) for values in (graph.pos, graph.polarity, graph.bias)
    )
    inputs, outputs = graph.inputs.tolist(), graph.outputs.tolist()
    network = nx.DiGraph()
    network.add_nodes_from(range(graph.neurons))
    network.add_edges_from(graph.edge_index.t().tolist())
    active = {}
    for neuron in nx.topological_sort(network):
        if neuron in inputs:
            active[neuron] = np.asarray(x, dtype=np.float64)[:, inputs.index(neuron)]
            continue
        total = np.full(len(x), bias[neuron])
        for source in network.predecessors(neuron):
            square = ((pos[source] - pos[neuron]) ** 2).sum() + graph.law.softening**2
            total = total + graph.gain * polarity[source] * law_weight(graph.law, square) * active[source]
        active[neuron] = total if neuron in outputs else activation(total)
    return np.stack([active[neuron] for neuron in outputs], axis=1)


def linear_twin(layer):
    """An ``nn.Linear`` with the same weights."""
    twin = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, dtype=layer.weight.dtype)
    with torch.no_grad():
        twin.weight.copy_(layer.weight)
        if layer.bias is not None:
            twin.bias.copy_(layer.bias)
    return twin


def in_threads(*tasks):
    """Run functions at the same time; raise what one of them raised."""
    with ThreadPoolExecutor(len(tasks)) as pool:
        for future in [pool.submit(task) for task in tasks]:
            future.result()
