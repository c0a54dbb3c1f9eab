"""Relevance: how much each neuron and synapse contributes to an output, along a path from a baseline to an input."""

import dataclasses
import itertools
from typing import Any

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.connectome.activity.influence import Influence
from spatialgraph.connectome.activity.parts import check_single_call, draws_kept, find_network, uncompiled
from spatialgraph.connectome.activity.paths import spread
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.observer import Sending

__all__ = ["Relevance", "relevance"]


@dataclasses.dataclass(frozen=True, repr=False)
class Relevance:
    """What :func:`relevance` found, in the unit of the output.

    Args:
        neurons: relevance of each neuron for each sample, by its number, shape ``(..., N)``.
        synapses: relevance of each synapse, summed over the samples, in the order of ``graph.edge_index``, shape
            ``(E,)``.
        output: what is to be explained, F(x) - F(baseline), shape ``(...)``.
        residual: ``output`` minus the sum over the input neurons, which would be 0 for infinitely many steps, shape
            ``(...)``.
    """

    neurons: Tensor
    synapses: Tensor
    output: Tensor
    residual: Tensor

    def __repr__(self) -> str:
        """Return the shapes, and how much of the output is missing."""
        total = float(self.output.abs().sum())
        share = float(self.residual.abs().sum()) / total if total else 0.0
        shapes = ", ".join(f"{name}={tuple(getattr(self, name).shape)}" for name in ("neurons", "synapses"))
        return f"Relevance({shapes}, residual={share:.2%} of the output)"


def relevance(
    model: nn.Module,
    x: Tensor,
    target: int | Tensor,
    baseline: Tensor | None = None,
    *,
    steps: int = 50,
    part: str | None = None,
) -> Relevance:
    r"""Return how much each neuron and each synapse contributes to an output, by conductance.

    Along the straight path from a baseline :math:`x'` to :math:`x`, with :math:`F` an output, :math:`a_i` what a neuron
    sends and :math:`z_j` the summed input of a neuron before normalisation and bias,

    .. math::
        R_{ij} = \int \frac{\partial F}{\partial z_j}\, w_{ij}\, \mathrm{d} a_i, \qquad
        R_i = \sum_j R_{ij} = \int \frac{\partial F}{\partial a_i}\, \mathrm{d} a_i

    The relevances of the input neurons, and those of the synapses that leave them, sum to
    :math:`F(x) - F(x')` up to the residual. So do those of each layer's neurons and of each projection's synapses in a
    layered network without skip connections and recurrent synapses. An output neuron has the sum of its synapses. The
    integrals are sums over steps, of differences between the ends of a step times the gradient at its midpoint: exact
    for linear networks, with an error that falls with the square of the number of steps for smooth ones. Steps are
    shorter where the outputs bend (see :func:`~spatialgraph.connectome.activity.paths.spread`).

    With time steps everything is summed over them. A recurrent neuron has the relevance of all that it sends: a signal
    that passes through it again counts again. What it keeps, by a leak, a gate or a potential, is not sent. The
    synapses into the gates of a gated neuron count as parts of the synapse whose neurons they join. For spikes the
    gradient is the surrogate, so that the sums hold as far as ``residual`` says only. Every point of the path gets the
    same random numbers, and afterwards those are as before. Use ``model.eval()`` where layers such as dropout should
    not take part. Recurrent networks that are normalised need a baseline of the size of their inputs, such as the mean
    of the data: near 0 each time step amplifies what the one before has amplified.

    References: `Sundararajan et al. (2017) <https://arxiv.org/abs/1703.01365>`_ for the path, `Dhamdhere et al. (2018)
    <https://arxiv.org/abs/1805.12233>`_ for conductance.

    Args:
        model: a spatial network, or a model that calls one once in a forward pass with the same samples. Of several
            results the first is the output. Parameters and their ``grad`` do not change.
        x: what the model takes, floating point.
        target: number of the output, or one for each sample, int64, shape ``(...)``.
        baseline: where the path starts, of a shape that broadcasts to that of ``x``; None for 0.
        steps: number of steps K along the path. It takes about 4 K passes, one at a time, K of them with gradients.
        part: as in :func:`~spatialgraph.activations`.

    Raises:
        TypeError: if ``model`` neither is nor holds a spatial network, or an argument is of the wrong type.
        ValueError: if an argument has a wrong shape or value, or outputs and samples do not correspond.
        RuntimeError: if no gradient leads from the output to the network.

    Example:
        >>> from spatialgraph import SpatialMLP
        >>> model, x = SpatialMLP([4, 8, 2]).double(), torch.rand(5, 4).double()
        >>> found = relevance(model, x, target=1)
        >>> found.neurons.shape, found.synapses.shape
        (torch.Size([5, 14]), torch.Size([48]))
        >>> hidden = found.neurons[:, model.graph.layer == 1]
        >>> torch.allclose(hidden.sum(1), found.output, rtol=0.01, atol=0.01)
        True
    """
    network = find_network(model, part)
    checks.integer("steps", steps, minimum=1)
    if getattr(network, "read_out", None) == "all":
        raise ValueError("read_out of the network must give one output for all time steps, got 'all'")
    start, x = _ends(x, baseline)
    with torch.inference_mode(False), torch.enable_grad(), uncompiled(model):
        run = _Run(model, network, target)
        influence = Influence(graph_of(network))
        with torch.no_grad():
            ends = spread(lambda place: run.output(torch.lerp(start, x, place)), steps)
            first, sent = run(start)
        influence.start(first.shape, sent)
        last = first
        for before, after in itertools.pairwise(ends):
            middle = torch.lerp(start, x, (before + after) / 2).requires_grad_()
            value, passing = run(middle)
            with torch.no_grad():
                last, sent = run(torch.lerp(start, x, after))
            influence.add(value, passing, sent)
        output = last - first
        neurons, synapses = influence.neurons, influence.synapses()
    residual = output - neurons[..., graph_of(network).inputs].sum(-1)
    return Relevance(neurons, synapses, output, residual)


class _Run:
    """Passes of a model, all with the same random numbers.

    Args:
        model: the model.
        network: its network.
        target: as in :func:`relevance`.
    """

    def __init__(self, model: nn.Module, network: nn.Module, target: int | Tensor) -> None:
        self.model, self.network, self.target = model, network, target

    def __call__(self, x: Tensor) -> tuple[Tensor, list[Sending]]:
        """Return the wanted output of each sample and what the network's projections carried."""
        with graph_of(self.network).observed() as observer:
            output = self.output(x)
        return output, observer.sendings

    def output(self, x: Tensor) -> Tensor:
        """Return the wanted output of each sample."""
        samples: list[torch.Size] = []

        def count(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401 - of any model
            check_single_call(len(samples) + 1)
            samples.append(_values(output).shape[:-1])

        handle = self.network.register_forward_hook(count)
        try:
            with draws_kept(self.model):
                values = _values(self.model(x))
        finally:
            handle.remove()
        check_single_call(len(samples))
        if values.shape[:-1] != samples[0]:
            raise ValueError(
                f"model must return outputs of shape {(*samples[0], 'outputs')} for the samples of its network, got "
                f"{tuple(values.shape)}"
            )
        return _chosen(values, self.target)


def _ends(x: Tensor, baseline: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the ends of the path."""
    if not checks.tensor("x", x).is_floating_point():
        raise TypeError(f"x must be floating point, got {x.dtype}")
    checks.finite("x", x)
    if baseline is None:
        return torch.zeros_like(x), x.detach()
    if checks.tensor("baseline", baseline).dtype != x.dtype:
        raise TypeError(f"baseline must have the dtype of x ({x.dtype}), got {baseline.dtype}")
    checks.same_device("baseline", baseline, x)
    try:
        start = checks.finite("baseline", baseline).expand_as(x)
    except RuntimeError:
        raise ValueError(
            f"baseline must have a shape that broadcasts to {tuple(x.shape)}, got {tuple(baseline.shape)}"
        ) from None
    return start.detach(), x.detach()


def _values(output: Any) -> Tensor:  # noqa: ANN401 - of any model
    """Return the outputs of a model, the first of several results."""
    values = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(values, Tensor) or not values.dim():
        raise TypeError(f"model must return a tensor of shape (..., outputs), got {type(values).__name__}")
    return values


def _chosen(values: Tensor, target: int | Tensor) -> Tensor:
    """Return one output of each sample."""
    count = values.shape[-1]
    if not isinstance(target, Tensor):
        number = checks.integer("target", target, minimum=0)
        if number >= count:
            raise ValueError(f"target must be between 0 and the number of outputs - 1 ({count - 1}), got {number}")
        return values[..., number]
    if target.dtype != torch.int64:
        raise TypeError(f"target must be int64, got {target.dtype}")
    checks.shape("target", target, tuple(values.shape[:-1]))
    checks.same_device("target", target, values)
    checks.within("target", target, count)
    return values.gather(-1, target[..., None])[..., 0]
