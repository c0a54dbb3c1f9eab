"""Synapses: the lengths of edges, and what an edge may have of its own, a free weight or a free delay."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.functional.dense import pairwise_length
from spatialgraph.functional.precision import in_single
from spatialgraph.graph.projections import Projection

__all__ = ["DELAYS", "WEIGHTS", "FreeSynapses", "projection_lengths"]

WEIGHTS = ("law", "free", "both")
DELAYS = ("length", "free")


class FreeSynapses(nn.Module):
    """Learnable numbers that belong to single edges, in the order of ``edge_index``; by default there are none.

    Args:
        weights: ``"law"`` (no free weights), ``"free"`` or ``"both"``.
        velocity: length units that a spike travels in a time step; None for no delays.
        delays: ``"length"`` (no free delays) or ``"free"``.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if a name is unknown, the velocity is not above 0, or free delays have none to start from.

    Example:
        >>> FreeSynapses("law", None, "length").weight is None
        True
    """

    weight: nn.Parameter | None
    delay: nn.Parameter | None

    def __init__(self, weights: str, velocity: float | None, delays: str) -> None:
        super().__init__()
        self.weight_kind = checks.choice("weights", weights, WEIGHTS)
        self.delay_kind = checks.choice("delays", delays, DELAYS)
        self.velocity = None if velocity is None else checks.positive("velocity", velocity)
        if delays == "free" and velocity is None:
            raise ValueError("velocity must be given for delays='free', whose first values are those of the lengths")
        self.register_parameter("weight", None)
        self.register_parameter("delay", None)

    @torch.no_grad()
    def reset(self, edge_index: Tensor, lengths: Tensor, generator: torch.Generator | None = None) -> None:
        r"""Give every edge its first values.

        Free weights are drawn from :math:`U(-1/\sqrt{n_j}, 1/\sqrt{n_j})`, where :math:`n_j` is the number of edges
        into the target, as in ``nn.Linear``; beside a law they are factors and start at 1. Free delays start as those
        of the lengths.
        """
        if self.weight_kind != "law":
            self.weight = _written(self.weight, self._first_weights(edge_index, lengths, generator))
        if self.delay_kind == "free":
            self.delay = _written(self.delay, self.delays_of(lengths, None))

    @property
    def is_any(self) -> bool:
        """Whether there are free weights or free delays."""
        return self.weight_kind != "law" or self.delay_kind == "free"

    @property
    def follow_positions(self) -> bool:
        """Whether a weight or a delay depends on positions."""
        return self.weight_kind != "free" or (self.velocity is not None and self.delay_kind == "length")

    @torch.no_grad()
    def follow(self, before: Tensor, after: Tensor, lengths: Tensor, generator: torch.Generator | None) -> None:
        """Keep the values of edges that stay when edges change, and give new edges their first values."""
        if not self.is_any:
            return
        own = {"weight": self.weight, "delay": self.delay}
        kept = {name: values.detach().clone() for name, values in own.items() if values is not None}
        self.reset(after, lengths, generator)
        for name, values in kept.items():
            self.restore(name, values, before, after)

    @torch.no_grad()
    def restore(self, name: str, values: Tensor, theirs: Tensor, own: Tensor) -> None:
        """Take over ``"weight"`` or ``"delay"`` of those edges that are in another list, of values in its order."""
        if theirs.numel() == 0 or own.numel() == 0:
            return
        count = int(max(theirs.max(), own.max())) + 1
        keys, order = torch.sort(theirs[0] * count + theirs[1])
        wanted = own[0] * count + own[1]
        place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        found = keys[place] == wanted
        parameter = getattr(self, name)
        parameter[found] = values.to(parameter)[order[place[found]]]

    def delays_of(self, lengths: Tensor, free: Tensor | None) -> Tensor:
        """Return delays in time steps from lengths, or from the free values of the same edges."""
        if self.velocity is None:
            return torch.zeros_like(lengths)
        return lengths / self.velocity if free is None else free.abs()

    def split(self, values: Tensor | None, projections: Sequence[Projection]) -> list[Tensor | None]:
        """Cut values of all edges by projection: matrices ``(m, n)`` where all-to-all, else one for each edge."""
        if values is None:
            return [None] * len(projections)
        parts = torch.split(values, [projection.synapses for projection in projections])
        return [
            part if projection.edges is not None else part.view(projection.n_targets, projection.n_sources)
            for part, projection in zip(parts, projections, strict=True)
        ]

    def _first_weights(self, edge_index: Tensor, like: Tensor, generator: torch.Generator | None) -> Tensor:
        if self.weight_kind == "both":
            return torch.ones_like(like)
        fan_in = torch.bincount(edge_index[1])[edge_index[1]].to(like)
        drawn = torch.rand(like.shape, generator=generator, dtype=like.dtype).to(like.device)
        return (2 * drawn - 1) / fan_in.sqrt()

    def make_room(self, synapses: int) -> None:
        """Let the parameters have as many elements as there are synapses; they stay the same objects."""
        for parameter in self.parameters():
            if len(parameter) != synapses:
                parameter.grad = None
                parameter.data = parameter.new_empty(synapses)


def _written(parameter: nn.Parameter | None, values: Tensor) -> nn.Parameter:
    """Write into a parameter, which stays the same object, so that an optimiser goes on with it."""
    if parameter is None:
        return nn.Parameter(values.clone())
    if parameter.shape == values.shape:
        parameter.copy_(values)
    else:
        parameter.grad, parameter.data = None, values.to(parameter)
    return parameter


def projection_lengths(pos: Tensor, projection: Projection) -> Tensor:
    """Return the lengths of a projection's synapses, ``(m, n)`` where all-to-all, else ``(E,)``, differentiable.

    Args:
        pos: positions of all neurons, shape ``(N, d)``, in length units.
        projection: the projection.
    """
    exact = in_single(pos)
    source_pos, target_pos = exact[projection.source_index], exact[projection.target_index]
    edges = projection.edges
    if edges is None:
        lengths = pairwise_length(source_pos, target_pos)
    else:
        lengths = torch.linalg.vector_norm(source_pos[edges.sources] - target_pos[edges.targets], dim=-1)
    return lengths.to(pos.dtype)
