"""The engine for projections with so many synapses that their weights would fill the memory."""

import torch.nn.functional as F
from torch import Tensor

from spatialgraph.functional import memory
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.dense_engine import DenseEngine
from spatialgraph.functional.engine import Engine, Prepared, Recomputed, Synapses
from spatialgraph.functional.streaming import streamed

__all__ = ["StreamedEngine"]


class StreamedEngine(DenseEngine):
    """Computes weights for a part of the targets at a time, multiplies, and drops them.

    It serves projections with all synapses whose weights would take more than a sixteenth of the memory. Factors and
    masks of single synapses need all weights.
    """

    @classmethod
    def serves(cls, n_sources: int, n_targets: int, edges: CompressedEdges | None) -> bool:
        """Tell whether every pair has a synapse, and their weights would take too much of the memory."""
        return DenseEngine.serves(n_sources, n_targets, edges) and not memory.weights_fit(n_sources, n_targets)

    def lengths(self, source_pos: Tensor, target_pos: Tensor) -> Tensor:
        """Return the length of each synapse, shape ``(m, n)``."""
        self._check_fits("lengths", 4)
        return super().lengths(source_pos, target_pos)

    def law_weight(self, synapses: Synapses) -> Tensor:
        """Return scale times the law's weight of each synapse, shape ``(m, n)``."""
        self._check_fits("weights", 2)
        return super().law_weight(synapses)

    def edge_index(self, sources: Tensor, targets: Tensor) -> Tensor:
        """List every pair."""
        self._check_fits("numbers", 8)
        return super().edge_index(sources, targets)

    def send(self, x: Tensor, synapses: Synapses, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Send activations through the projection, without holding its weights."""
        if _needs_all(synapses):
            return super().send(x, synapses, bias, rectify)
        y = self.fast_sums.send(x, synapses, bias)
        y = streamed(x, *synapses.geometry, bias) if y is None else y
        return F.relu(y) if rectify else y

    def prepared(self, synapses: Synapses) -> Prepared:
        """Return the projection without its weights, which are computed anew in each pass."""
        return super().prepared(synapses) if _needs_all(synapses) else Recomputed(self, synapses)

    def restricted(self, sources: Tensor, targets: Tensor) -> Engine:
        """Return an engine for the marked sources and targets only."""
        kept = int(sources.sum()), int(targets.sum())
        return (DenseEngine if memory.weights_fit(*kept) else type(self))(*kept)

    def _check_fits(self, name: str, singles: int) -> None:
        """Check that all values fit into the memory, which take so many numbers of single precision while computed."""
        memory.check_fits(f"{name} of all synapses", self.synapses, 4 * singles)


def _needs_all(synapses: Synapses) -> bool:
    return synapses.factor is not None or synapses.has_masked
