"""Constants of a network in C: arrays of codes, of the law and of edges, with the bytes that they take."""

import dataclasses
import textwrap
from collections.abc import Iterable

import numpy as np

from spatialgraph.deploy.c.network import IntegerNetwork, IntegerStage
from spatialgraph.deploy.c.responses import Leaking

__all__ = ["Array", "Names", "arrays_of"]

_TYPES = (np.uint8, np.uint16, np.uint32)


@dataclasses.dataclass(frozen=True)
class Names:
    """What begins the names of functions and of constants.

    Example:
        >>> Names("digits").function("run"), Names("digits").constant("inputs")
        ('digits_run', 'DIGITS_INPUTS')
    """

    prefix: str

    def function(self, name: str) -> str:
        """Return the name of a function."""
        return f"{self.prefix}_{name}"

    def constant(self, name: str) -> str:
        """Return the name of a constant."""
        return f"{self.prefix}_{name}".upper()


@dataclasses.dataclass(frozen=True)
class Array:
    """A constant array.

    Args:
        name: its name in C.
        values: its values, of a type that C has.
    """

    name: str
    values: np.ndarray

    @property
    def bytes(self) -> int:
        """Bytes that it takes."""
        return self.values.nbytes

    def source(self) -> str:
        r"""Return its definition.

        Example:
            >>> Array("LAW", np.array([1, -2], dtype=np.int16)).source()
            'static const int16_t LAW[2] = {\n    1, -2\n};'
        """
        suffix = "f" if self.values.dtype == np.float32 else ""
        numbers = textwrap.fill(
            ", ".join(f"{value}{suffix}" for value in self.values.tolist()), 110, initial_indent="    "
        )
        numbers = numbers.replace("\n", "\n    ")
        kind = "float" if suffix else f"{self.values.dtype.name}_t"
        return f"static const {kind} {self.name}[{len(self.values)}] = {{\n{numbers}\n}};"


def arrays_of(network: IntegerNetwork, names: Names, law: Array) -> list[Array]:
    """Return all constant arrays of a network.

    Args:
        network: the network.
        names: what begins their names.
        law: the table of the law.
    """
    stages, found = network.stages, []
    layers = [stages[0].source, *(stage.target for stage in stages)]
    for number, layer in enumerate(layers):
        found.append(_codes(layer.coordinates.values, network.bits, names.constant(f"coordinates_{number}")))
        if layer.cells is not None:
            found.append(_smallest(layer.cells, names.constant(f"cells_{number}")))
        if number < len(stages):
            found.append(_codes(layer.polarities.values, network.bits, names.constant(f"polarities_{number}")))
        if number:
            found.append(_codes(layer.biases, network.bits, names.constant(f"biases_{number}")))
    for number, stage in enumerate(stages):
        if stage.synapses.edges is not None:
            found += _edges(stage, number, names)
    if isinstance(stages[0].response, Leaking) and law.values.dtype != np.float32:
        found.append(_smallest(np.array(stages[0].response.shares), names.constant("shares")))
    found.append(_smallest(layers[0].multipliers, names.constant("multipliers")))
    return [*found, law]


def _codes(values: np.ndarray, bits: int, name: str) -> Array:
    """Return codes as bytes, of 4 bits and less two in each, the first one in the lower half."""
    flat = values.reshape(-1)
    if bits > 4:
        return Array(name, flat.astype(np.int8))
    shifted = np.pad(flat.astype(np.int64) + 8, (0, len(flat) % 2)).astype(np.uint8)
    return Array(name, shifted[0::2] | (shifted[1::2] << 4))


def _edges(stage: IntegerStage, number: int, names: Names) -> Iterable[Array]:
    """Return the targets of each source one after the other, and where those of each source begin."""
    sources, targets = stage.synapses.listed()
    first = np.searchsorted(sources, np.arange(stage.source.count + 1))
    yield _smallest(first, names.constant(f"first_{number}"))
    yield _smallest(targets if len(targets) else np.zeros(1, dtype=np.int64), names.constant(f"targets_{number}"))


def _smallest(values: np.ndarray, name: str) -> Array:
    """Return whole numbers of at least 0 in the smallest type that has room for them."""
    largest = int(values.max(initial=0))
    return Array(name, values.astype(next(kind for kind in _TYPES if largest <= np.iinfo(kind).max)))
