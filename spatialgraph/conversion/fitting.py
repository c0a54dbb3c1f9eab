"""The fit of positions and polarities to given weights."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["best_factors", "fit_", "minimise"]

RATE = 0.1


def fit_(graph: SpatialGraph, weights: Sequence[Tensor], steps: int, rescale: bool) -> tuple[list[Tensor], list[float]]:
    r"""Fit positions, parameters of the law and polarities of a network of layers to weights, in place.

    The loss is the sum over the layers of :math:`\lVert W - \hat W \rVert^2 / \lVert W \rVert^2`. Positions are learned
    by Adam; for given positions the best polarities follow from least squares, source by source (variable projection:
    `Golub and Pereyra, 1973 <https://doi.org/10.1137/0710036>`_).

    Args:
        graph: layers all-to-all, with graded polarities and without free weights, in double precision.
        weights: for each projection the weights to fit, shape ``(targets, sources)``.
        steps: number of steps of Adam, with a rate that decays from 0.1 to 0 as a cosine.
        rescale: whether inputs of hidden neurons are fitted up to a positive factor for each neuron.

    Returns:
        For each projection these factors, shape ``(targets,)``, 1 for outputs; and for each projection
        :math:`1 - \lVert W - \hat W \rVert^2 / \lVert W \rVert^2`.

    Example:
        >>> graph = SpatialGraph.layered([2, 1], dtype=torch.float64)
        >>> scales, explained = fit_(graph, [torch.tensor([[1.0, -2.0]]).double()], steps=0, rescale=False)
        >>> round(explained[0], 6)  # two polarities for two weights
        1.0
    """
    logs = [torch.zeros(len(weight), dtype=weight.dtype, device=weight.device) for weight in weights]
    parameters: list[Tensor] = [*graph.positions.parameters(), *graph.law.parameters()]
    if rescale:
        parameters += [log.requires_grad_() for log in logs[:-1]]
    minimise(parameters, steps, lambda: torch.stack([error for _, error in _parts(graph, weights, logs)]).sum())
    with torch.no_grad():
        logs = [log - log.mean() for log in logs]  # a factor that a layer has in common, polarities have as well
        parts = _parts(graph, weights, logs)
        _set_polarities(graph, [polarity for polarity, _ in parts], logs)
        return [log.exp() for log in logs], [1.0 - float(error) for _, error in parts]


@torch.enable_grad()
def minimise(parameters: Sequence[Tensor], steps: int, loss: Callable[[], Tensor]) -> None:
    """Minimise a loss by Adam, with a rate that decays from 0.1 to 0 as a cosine; nothing without parameters.

    Example:
        >>> x = torch.ones(1, requires_grad=True)
        >>> minimise([x], 500, lambda: (x - 2.0).square().sum())
        >>> round(float(x.detach()), 2)
        2.0
    """
    if not parameters:
        return
    optimizer = torch.optim.Adam(parameters, RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for _ in range(steps):
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss(), parameters), strict=True):
            parameter.grad = gradient
        optimizer.step()
        schedule.step()
    optimizer.zero_grad()


def _parts(graph: SpatialGraph, weights: Sequence[Tensor], logs: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return the best polarities of each projection's sources, and its relative squared error."""
    transmission = graph.transmission()
    parts = []
    for number, (weight, log) in enumerate(zip(weights, logs, strict=True)):
        scale = weight.new_full((weight.shape[1],), graph.gain)
        unsigned = transmission.weight(number, scale) * log.exp()[:, None]
        # The error does not change with the best polarities to first order, so that they need no gradient.
        polarity = best_factors((weight * unsigned.detach()).sum(0), unsigned.detach().square().sum(0))
        error = (weight - unsigned * polarity).square().sum()
        parts.append((polarity, error / _norm(weight.square().sum())))
    return parts


def best_factors(products: Tensor, squares: Tensor) -> Tensor:
    r"""Return the least-squares solution of :math:`w \approx s u` from sums of :math:`w u` and :math:`u^2`.

    Example:
        >>> best_factors(torch.tensor([6.0, 0.0]), torch.tensor([3.0, 0.0]))
        tensor([2., 0.])
    """
    return products / _norm(squares)


def _norm(square: Tensor) -> Tensor:
    """Return a sum of squares that can be divided by, where what is divided is 0 if it is."""
    return square.clamp(min=torch.finfo(square.dtype).tiny)


def _set_polarities(graph: SpatialGraph, polarities: list[Tensor], logs: list[Tensor]) -> None:
    everywhere = polarities[0].new_zeros(graph.neurons)
    before = [torch.zeros_like(polarities[0]), *logs[:-1]]
    for projection, polarity, log in zip(graph.projections, polarities, before, strict=True):
        everywhere[projection.sources] = polarity * log.exp()
    graph.raw_polarity.copy_(everywhere[graph.connectivity.located.senders])
