"""Engines that multiply by dense matrices, for projections with all or many of the possible synapses."""

import torch
import torch.nn.functional as F
from torch import Tensor

from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.compressed_engine import ListedEngine
from spatialgraph.functional.delays import delayed
from spatialgraph.functional.dense import all_to_all
from spatialgraph.functional.engine import Engine, Matrix, Prepared, Recomputed, Synapses
from spatialgraph.functional.fast_sums import FastSums
from spatialgraph.functional.pairs import pairwise_length, pairwise_weight
from spatialgraph.functional.precision import in_single

__all__ = ["DenseEngine", "MaskedEngine", "WithoutSelfEngine"]

# Share of pairs with a synapse above which a masked dense product is faster than a sparse one, by the kind of device.
# On the CPU, training steps of 784-2048-10 with batch 600 are equally fast between 25 % and 30 %. On accelerators
# nothing was measured: dense products on tensor cores are commonly as fast as vendors' sparse ones at about 5 %, but
# below 10 % the weights of all pairs take more than three times the memory of a list of synapses.
MASKED_FROM = {"cpu": 0.25, "accelerator": 0.1}


class DenseEngine(Engine):
    """Builds the weights of all pairs and multiplies; or sums on a grid, where a tolerance allows it."""

    def __init__(self, n_sources: int, n_targets: int, edges: CompressedEdges | None = None) -> None:
        super().__init__(n_sources, n_targets, None)
        self.shape = (n_targets, n_sources)
        self.fast_sums = FastSums()

    @classmethod
    def serves(cls, n_sources: int, n_targets: int, edges: CompressedEdges | None) -> bool:
        """Tell whether every pair has a synapse."""
        return edges is None or edges.count == n_sources * n_targets

    def lengths(self, source_pos: Tensor, target_pos: Tensor) -> Tensor:
        """Return the length of each synapse, shape ``(m, n)``."""
        return pairwise_length(source_pos, target_pos)

    def law_weight(self, synapses: Synapses) -> Tensor:
        """Return scale times the law's weight of each synapse, shape ``(m, n)``."""
        return pairwise_weight(*synapses.geometry)

    def send(self, x: Tensor, synapses: Synapses, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Send activations through the projection, with weights and product in one operation if possible."""
        masked = synapses.masked
        if _needs_weights(synapses) or isinstance(masked, Tensor):
            return super().send(x, synapses, bias, rectify)
        y = self.fast_sums.send(x, synapses, bias)
        if y is None:
            return all_to_all(x, *synapses.geometry, bias, None, masked, rectify)
        return F.relu(y) if rectify else y

    def prepared(self, synapses: Synapses) -> Prepared:
        """Return the projection with its weights, or without them where it sums on a grid."""
        return Recomputed(self, synapses) if self.fast_sums.serves(synapses) else super().prepared(synapses)

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Map activations ``(..., n)`` to ``(..., m)``, with weights of shape ``(m, n)``."""
        y = F.linear(x, weight, bias)
        return F.relu(y, inplace=True) if rectify else y

    def edge_index(self, sources: Tensor, targets: Tensor) -> Tensor:
        """List every pair."""
        return torch.stack([sources.repeat(self.n_targets), targets.repeat_interleave(self.n_sources)])

    def dense(self, weight: Tensor) -> Tensor:
        """Return the weights."""
        return weight

    def carrier(self, weight: Tensor) -> Tensor:
        """Return the weights."""
        return weight

    def sources_of(self, targets: Tensor, unmasked: Tensor | None = None) -> Tensor:
        """Mark all sources with an unmasked synapse to a marked target."""
        return targets.any().expand(self.n_sources) if unmasked is None else unmasked[targets].any(0)

    def restricted(self, sources: Tensor, targets: Tensor) -> Engine:
        """Return an engine for the marked sources and targets only."""
        return type(self)(int(sources.sum()), int(targets.sum()))


class MaskedEngine(ListedEngine):
    """Builds the weights of all pairs, masks those without a synapse, and multiplies."""

    def __init__(self, n_sources: int, n_targets: int, edges: CompressedEdges) -> None:
        super().__init__(n_sources, n_targets, edges)
        self.mask = edges.mask()

    @classmethod
    def serves(cls, n_sources: int, n_targets: int, edges: CompressedEdges | None) -> bool:
        """Tell whether the share of pairs with a synapse is at least that of :data:`MASKED_FROM` for their device.

        A network that moves to another kind of device is asked again there.
        """
        if edges is None:
            return False
        kind = "cpu" if edges.sources.device.type == "cpu" else "accelerator"
        return edges.count >= MASKED_FROM[kind] * n_sources * n_targets

    def lengths(self, source_pos: Tensor, target_pos: Tensor) -> Tensor:
        """Return the length of each synapse, shape ``(E,)``."""
        return self._at_edges(pairwise_length(source_pos, target_pos))

    def law_weight(self, synapses: Synapses) -> Tensor:
        """Return scale times the law's weight of each synapse, shape ``(E,)``."""
        return self._at_edges(pairwise_weight(*synapses.geometry))

    def send(self, x: Tensor, synapses: Synapses, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Send activations through the projection, with weights and product in one operation if possible."""
        masked = synapses.masked
        if _needs_weights(synapses) or isinstance(masked, Tensor):
            return super().send(x, synapses, bias, rectify)
        return all_to_all(x, *synapses.geometry, bias, self.mask, masked, rectify)

    def dense(self, weight: Tensor) -> Tensor:
        """Return the weights of all pairs, shape ``(m, n)``; 0 where there is no synapse."""
        return weight.new_zeros(self.mask.shape).masked_scatter(self.mask, weight)

    def precomputed(self, weight: Tensor) -> Matrix:
        """Return the projection with the weights of all pairs."""
        return Matrix(DenseEngine(self.n_sources, self.n_targets), self.dense(weight))

    def _at_edges(self, matrix: Tensor) -> Tensor:
        return matrix.flatten().index_select(0, self.edges.targets * self.n_sources + self.edges.sources)


class WithoutSelfEngine(Engine):
    """Builds the weights of all pairs of one population, and leaves out those of a neuron with itself.

    Example:
        >>> WithoutSelfEngine(3, 3).dense(torch.arange(1.0, 7.0))
        tensor([[0., 1., 2.],
                [3., 0., 4.],
                [5., 6., 0.]])
    """

    def __init__(self, n_sources: int, n_targets: int, edges: CompressedEdges | None = None) -> None:
        super().__init__(n_sources, n_targets, None)
        self.synapses = n_targets * (n_targets - 1)
        self.shape = (self.synapses,)

    @classmethod
    def serves(cls, n_sources: int, n_targets: int, edges: CompressedEdges | None) -> bool:
        """Return False: sources and targets must be the same neurons, which their numbers do not tell."""
        return False

    def lengths(self, source_pos: Tensor, target_pos: Tensor) -> Tensor:
        """Return the length of each synapse, shape ``(E,)``."""
        return self._without_self(pairwise_length(source_pos, target_pos))

    def law_weight(self, synapses: Synapses) -> Tensor:
        """Return scale times the law's weight of each synapse, shape ``(E,)``."""
        matrix = pairwise_weight(*synapses.geometry)
        return self._without_self(matrix)

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Map activations ``(..., n)`` to ``(..., n)``."""
        y = F.linear(x, self.dense(weight), bias)
        return F.relu(y) if rectify else y

    def dense(self, weight: Tensor) -> Tensor:
        """Return the weights of all pairs, 0 on the diagonal."""
        n = self.n_targets
        if n == 1:
            return weight.new_zeros(1, 1)
        # After the first entry of the matrix, the diagonal is the last column of n - 1 rows of n + 1.
        return F.pad(F.pad(weight.view(n - 1, n), (0, 1)).flatten(), (1, 0)).view(n, n)

    def edge_index(self, sources: Tensor, targets: Tensor) -> Tensor:
        """List every pair of different neurons."""
        pairs = sources.expand(self.n_targets, -1), targets[:, None].expand(-1, self.n_sources)
        return torch.stack([self._without_self(numbers) for numbers in pairs])

    def sources_of(self, targets: Tensor, unmasked: Tensor | None = None) -> Tensor:
        """Mark the other neurons of those that are marked."""
        if unmasked is not None:
            return self.dense(unmasked.float())[targets].any(0)
        return ~targets & targets.any() if int(targets.sum()) < 2 else torch.ones_like(targets)

    def restricted(self, sources: Tensor, targets: Tensor) -> Engine:
        """Return an engine for the marked neurons only."""
        if torch.equal(sources, targets):
            return type(self)(int(sources.sum()), int(targets.sum()))
        mask = ~torch.eye(self.n_targets, dtype=torch.bool, device=targets.device)[targets][:, sources]
        return MaskedEngine(mask.shape[1], mask.shape[0], CompressedEdges.from_mask(mask))

    def precomputed(self, weight: Tensor) -> Matrix:
        """Return the projection with the weights of all pairs."""
        return Matrix(DenseEngine(self.n_sources, self.n_targets), self.dense(weight))

    def send_delayed(self, x: Tensor, weight: Tensor, delay: Tensor, line: Tensor | None = None) -> Tensor:
        """Send a time series with delays."""
        return delayed(x, self.dense(weight), self.dense(delay), None, line)

    def _without_self(self, matrix: Tensor) -> Tensor:
        n = self.n_targets
        return matrix.flatten()[1:].view(n - 1, n + 1)[:, :n].flatten() if n > 1 else matrix.new_empty(0)


def _needs_weights(synapses: Synapses) -> bool:
    """Tell whether weights must be computed before the product: for factors, and where rounding makes weights equal.

    Weights in half precision are masked after they are rounded, so that those that are sent are those of ``weight``.
    """
    is_half = in_single(synapses.source_pos).dtype != synapses.source_pos.dtype
    return synapses.factor is not None or (is_half and synapses.has_masked)
