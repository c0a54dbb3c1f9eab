"""A survey of a network: its strongest synapses, and sums over all synapses of each neuron, without a list of all."""

import dataclasses

import torch
from torch import Tensor, nn

from spatialgraph.connectome.strongest import strongest_synapses
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.projections import Projection

__all__ = ["Survey"]


@dataclasses.dataclass(frozen=True)
class Survey:
    """The strongest synapses of a network, and what all synapses of each neuron sum up to.

    Args:
        source: numbers of the sources, strongest synapses first, shape ``(K,)``.
        target: numbers of the targets, shape ``(K,)``.
        weight: signed weights, shape ``(K,)``.
        length: lengths, shape ``(K,)``, in length units.
        fan_in: number of synapses into each neuron, shape ``(N,)``.
        fan_out: number of synapses out of each neuron, shape ``(N,)``.
        strength: sum of the absolute weights of all synapses into and out of each neuron, shape ``(N,)``.
    """

    source: Tensor
    target: Tensor
    weight: Tensor
    length: Tensor
    fan_in: Tensor
    fan_out: Tensor
    strength: Tensor

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        network: nn.Module,
        *,
        min_weight: float | None = None,
        top: int | None = None,
        fraction: float | None = None,
        scope: str = "global",
    ) -> "Survey":
        """Return the survey of a graph, or of the one of a model, projection by projection.

        Args:
            network: the graph or the model.
            min_weight: keep only synapses of at least this absolute weight.
            top: keep only so many synapses, those of the largest absolute weights.
            fraction: keep only this share of the synapses, those of the largest absolute weights.
            scope: ``"global"`` to choose from all synapses together, ``"projection"`` to choose ``top`` or ``fraction``
                of each projection.

        Returns:
            Tensors on the CPU, weights, lengths and strengths in float64.

        Raises:
            TypeError: if ``network`` is neither a graph nor a model that has one.
            ValueError: if more than one of the three is given, one is out of range, ``scope`` is unknown, or a weight
                is infinite or NaN.

        Example:
            >>> from spatialgraph import SpatialGraph
            >>> survey = Survey.of(SpatialGraph.layered([4, 3, 2]), top=5)
            >>> survey.weight.shape, survey.fan_in.tolist()
            (torch.Size([5]), [0, 0, 0, 0, 4, 4, 4, 3, 3])
        """
        graph = graph_of(network)
        edges, weight = strongest_synapses(graph, min_weight=min_weight, top=top, fraction=fraction, scope=scope)
        weight = weight.cpu().double()
        order = torch.sort(weight.abs(), descending=True, stable=True).indices
        source, target = edges.cpu()[:, order]
        pos = graph.positions().detach().cpu().double()
        length = torch.linalg.vector_norm(pos[source] - pos[target], dim=1)
        transmission, sums = graph.transmission(), _Sums(graph.neurons)
        for number, projection in enumerate(graph.projections):
            sums.add(projection, transmission.weight(number))
        return cls(source, target, weight[order], length, sums.fan_in, sums.fan_out, sums.strength)


class _Sums:
    """Numbers of synapses and sums of absolute weights by neuron."""

    def __init__(self, neurons: int) -> None:
        self.fan_in = torch.zeros(neurons, dtype=torch.int64)
        self.fan_out = torch.zeros(neurons, dtype=torch.int64)
        self.strength = torch.zeros(neurons, dtype=torch.float64)

    def add(self, projection: Projection, weight: Tensor) -> None:
        sources, targets, size = projection.sources.cpu(), projection.targets.cpu(), weight.cpu().abs()
        if weight.dim() == 2:
            self.fan_in[targets] += len(sources)
            self.fan_out[sources] += len(targets)
            self.strength[targets] += size.sum(1, dtype=torch.float64)
            self.strength[sources] += size.sum(0, dtype=torch.float64)
            return
        source, target = projection.edge_index().cpu()
        size = size.double()
        self.fan_in += torch.bincount(target, minlength=len(self.fan_in))
        self.fan_out += torch.bincount(source, minlength=len(self.fan_out))
        self.strength.index_add_(0, source, size).index_add_(0, target, size)
