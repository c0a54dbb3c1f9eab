"""The base of engines with listed synapses, and the engine for projections with few of them."""

import torch
from torch import Tensor

from spatialgraph.devices import has_compressed
from spatialgraph.functional import composed
from spatialgraph.functional.compressed import edge_weight, sparse
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.engine import Engine, Synapses
from spatialgraph.functional.precision import in_single
from spatialgraph.functional.row_blocks import dense

__all__ = ["CompressedEngine", "ListedEngine"]


class ListedEngine(Engine):
    """Base class of engines with listed synapses."""

    edges: CompressedEdges

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Map activations ``(..., n)`` to ``(..., m)``, with weights of shape ``(E,)``."""
        return sparse(x, weight, self.edges, bias, rectify)

    def dense(self, weight: Tensor) -> Tensor:
        """Return the weights of all pairs, shape ``(m, n)``; 0 where there is no synapse."""
        return self.edges.matrix(weight).to_dense() if has_compressed(weight.device) else dense(weight, self.edges)

    def edge_index(self, sources: Tensor, targets: Tensor) -> Tensor:
        """List the synapses, shape ``(2, E)``."""
        return torch.stack([sources[self.edges.sources], targets[self.edges.targets]])

    def sources_of(self, targets: Tensor, unmasked: Tensor | None = None) -> Tensor:
        """Mark the sources with a synapse to a marked target."""
        marked = torch.zeros(self.n_sources, dtype=torch.bool, device=targets.device)
        chosen = targets[self.edges.targets]
        marked[self.edges.sources[chosen if unmasked is None else chosen & unmasked].long()] = True
        return marked

    def restricted(self, sources: Tensor, targets: Tensor) -> Engine:
        """Return an engine of the same kind for the marked sources and targets only."""
        source, target = self.edges.sources, self.edges.targets
        remaining = sources[source] & targets[target]
        ends = torch.stack([sources.cumsum(0)[source[remaining]] - 1, targets.cumsum(0)[target[remaining]] - 1])
        counts = int(sources.sum()), int(targets.sum())
        return type(self)(*counts, CompressedEdges.from_edges(ends, *counts))


class CompressedEngine(ListedEngine):
    """Multiplies by a matrix in compressed rows that holds the listed synapses only."""

    @classmethod
    def serves(cls, n_sources: int, n_targets: int, edges: CompressedEdges | None) -> bool:
        """Tell whether the synapses are given as a list."""
        return edges is not None

    def lengths(self, source_pos: Tensor, target_pos: Tensor) -> Tensor:
        """Return the length of each synapse, shape ``(E,)``."""
        lengths = composed.edge_length(in_single(source_pos), in_single(target_pos), self.edges)
        return lengths.to(source_pos.dtype)

    def law_weight(self, synapses: Synapses) -> Tensor:
        """Return scale times the law's weight of each synapse, shape ``(E,)``."""
        return edge_weight(*synapses.geometry, self.edges)
