"""A network of whole numbers of 32 bits, defined to the bit: the exported C code computes the same."""

import dataclasses

import numpy as np
from torch import Tensor

from spatialgraph.deploy.c.law_table import LawTable
from spatialgraph.deploy.c.layers import IntegerLayer
from spatialgraph.deploy.c.responses import Response, shifted
from spatialgraph.wiring.edges import random
from spatialgraph.wiring.wirings import Random

__all__ = ["IntegerNetwork", "IntegerStage", "Synapses", "check_inputs", "squared_distances"]


@dataclasses.dataclass(frozen=True)
class Synapses:
    """The synapses from one layer to the next.

    Args:
        source: the layer of the sources.
        target: that of the targets.
        wiring: the seeded wiring; None for others.
        edges: the edges by source, then target, shape ``(2, E)``; None where they follow from a seed or are all.
    """

    source: IntegerLayer
    target: IntegerLayer
    wiring: Random | None
    edges: np.ndarray | None

    @property
    def gap(self) -> int:
        """Square of how far the layers stand apart, in units."""
        return round((self.target.height - self.source.height) ** 2)

    def squares(self) -> np.ndarray:
        """Return the squared distances of all pairs, in units, int64, shape ``(targets, sources)``."""
        return squared_distances(self.source, self.target) + self.gap

    def exact_squares(self) -> np.ndarray:
        """Return them with a gap that is not rounded, float64."""
        return squared_distances(self.source, self.target) + (self.target.height - self.source.height) ** 2

    def exists(self) -> np.ndarray:
        """Mark the pairs with a synapse, shape ``(targets, sources)``."""
        shape = (self.target.count, self.source.count)
        if self.edges is None and self.wiring is None:
            return np.ones(shape, dtype=bool)
        marked = np.zeros(shape, dtype=bool)
        sources, targets = self.listed()
        marked[targets, sources] = True
        return marked

    def listed(self) -> np.ndarray:
        """Return the edges by source, then target, those of a seed too, shape ``(2, E)``; none where all exist."""
        if self.wiring is None:
            return np.empty((2, 0), dtype=np.int64) if self.edges is None else self.edges
        counts = self.source.count, self.target.count
        edges: np.ndarray = random(*counts, self.wiring.density, seed=self.wiring.seed).numpy()
        return edges


@dataclasses.dataclass(frozen=True)
class IntegerStage:
    """The synapses from one layer to the next, and what the targets make of what they receive.

    Args:
        synapses: the synapses.
        table: the law, the same for all stages.
        shift: bits that products of activations and polarities lose.
        response: of hidden neurons; None for outputs, to whose sums
        bias: times the codes of biases is added, with
        bias_shift: so many further bits.
    """

    synapses: Synapses
    table: LawTable
    shift: int
    response: Response | None
    bias: int = 0
    bias_shift: int = 0

    @property
    def source(self) -> IntegerLayer:
        """The layer of the sources."""
        return self.synapses.source

    @property
    def target(self) -> IntegerLayer:
        """The layer of the targets."""
        return self.synapses.target

    def weights(self) -> np.ndarray:
        """Return the weights without polarities, int64, shape ``(targets, sources)``; 0 without a synapse."""
        exists, squares = self.synapses.exists(), self.synapses.squares()
        return np.where(exists, self.table(np.where(exists, squares, self.table.start)), 0)

    def outputs(self, sums: np.ndarray) -> np.ndarray:
        """Return sums with biases, for outputs."""
        biases = shifted(self.target.biases.astype(np.int64) * self.bias, self.bias_shift)
        return np.asarray(sums + biases)

    def sends(self, activations: np.ndarray) -> np.ndarray:
        """Return what sources send, activations times the codes of polarities with fewer bits, int64."""
        products = activations.astype(np.int64) * self.source.polarities.summed().reshape(-1)
        return shifted(products, self.shift)


def squared_distances(source: IntegerLayer, target: IntegerLayer) -> np.ndarray:
    """Return the squared distances of all pairs without the height, in units, int64, shape ``(targets, sources)``."""
    square = np.zeros((target.count, source.count), dtype=np.int64)
    for one, other in zip(source.positions().T, target.positions().T, strict=True):
        square += (one[None, :] - other[:, None]) ** 2
    return square


def check_inputs(inputs: np.ndarray | Tensor, count: int) -> np.ndarray:
    """Return inputs that are bytes for so many neurons.

    Raises:
        ValueError: if they are not of type uint8, or not of shape ``(batch, count)``.

    Example:
        >>> check_inputs(np.zeros((5, 4), dtype=np.uint8), 4).shape
        (5, 4)
    """
    values = np.asarray(inputs)
    if values.dtype != np.uint8 or values.ndim != 2 or values.shape[1] != count:
        raise ValueError(f"inputs must be uint8 of shape (batch, {count}), got {values.dtype} of shape {values.shape}")
    return values


@dataclasses.dataclass(frozen=True)
class IntegerNetwork:
    """A perceptron or spiking network of whole numbers.

    :func:`~spatialgraph.deploy.c.building.integer_network` makes it.

    Args:
        stages: from layer to layer.
        output_unit: what one step of an output stands for.
        bits: number of bits of a code.
    """

    stages: tuple[IntegerStage, ...]
    output_unit: float
    bits: int

    def __call__(self, inputs: np.ndarray | Tensor) -> np.ndarray:
        """Return the outputs, int64 that fit 32 bits, shape ``(batch, outputs)``.

        Args:
            inputs: bytes, uint8, shape ``(batch, inputs)``.
        """
        values = check_inputs(inputs, self.stages[0].source.count)
        for stage in self.stages:
            # Double precision holds all whole numbers of 32 bits, and BLAS multiplies it fast.
            sums = (stage.sends(values).astype(np.float64) @ stage.weights().T.astype(np.float64)).astype(np.int64)
            values = stage.outputs(sums) if stage.response is None else stage.response(sums, stage.target.biases)
        return values
