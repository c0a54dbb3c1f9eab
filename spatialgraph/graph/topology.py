"""Topology: which neurons are inputs and outputs and which edges exist, as one value that is changed as a whole."""

import dataclasses
import hashlib

import safetensors
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.graph.projections import fold_complete, generations
from spatialgraph.graph.sealed import WHOLE, seal, unseal

__all__ = ["FINGERPRINT_BITS", "Topology"]

FINGERPRINT_BITS = 64

_KIND = "spatialgraph structure"
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Topology:
    """The structure of a network: neuron numbers and edges, on the CPU.

    It is never averaged, broadcast or cast as parameters are; a ``state_dict`` holds it as bytes with a checksum.
    Networks with the same synapses have the same topology, however their edges were listed.

    Args:
        layer: layer of each neuron, shape ``(N,)``; -1 where the network has no layers.
        is_input: marks the input neurons, shape ``(N,)``, bool.
        is_output: marks the output neurons, shape ``(N,)``, bool.
        anchored: marks the neurons that never move, shape ``(N,)``, bool.
        all_to_all: as in :func:`~spatialgraph.graph.projections.make_projections`, shape ``(G,)``.
        listed_edges: the edges of all other generations, sorted by target, then source, shape ``(2, E)``; int32 where
            that is wide enough.

    Example:
        >>> layer = torch.tensor([0, 0, 1])
        >>> none = torch.zeros(3, dtype=torch.bool)
        >>> neurons = Topology.without_edges(layer, layer == 0, layer == 1, none)
        >>> topology = neurons.connected(torch.tensor([[1, 0], [2, 2]]))
        >>> topology.all_to_all, topology.synapses
        (tensor([1]), 2)
        >>> topology.equals(Topology.decode(topology.encode()))
        True
    """

    layer: Tensor
    is_input: Tensor
    is_output: Tensor
    anchored: Tensor
    all_to_all: Tensor
    listed_edges: Tensor

    def __post_init__(self) -> None:
        """Hold edges in the narrowest type that has room for the neurons' numbers."""
        if self.listed_edges.dtype == torch.int64 and self.layer.numel() <= torch.iinfo(torch.int32).max:
            object.__setattr__(self, "listed_edges", self.listed_edges.to(torch.int32))

    @classmethod
    def without_edges(cls, layer: Tensor, is_input: Tensor, is_output: Tensor, anchored: Tensor) -> "Topology":
        """Return the topology of neurons without edges."""
        depth = int(layer.max()) if layer[0] >= 0 else 1
        none = torch.empty(2, 0, dtype=torch.int64)
        return cls(layer, is_input, is_output, anchored, torch.zeros(depth, dtype=torch.int64), none)

    def connected(self, edge_index: Tensor) -> "Topology":
        """Return the same neurons with other edges, listed in any order.

        Raises:
            ValueError: if the edges form a cycle.
        """
        if self.is_layered:
            listed, all_to_all = fold_complete(edge_index, self.layer)
        else:  # the generations follow from the edges, so that all of them stay listed
            depth = int(generations(edge_index, self.is_input).max())
            listed, all_to_all = edge_index, torch.zeros(depth, dtype=torch.int64)
        order = torch.argsort(listed[1] * self.layer.numel() + listed[0])
        return dataclasses.replace(self, all_to_all=all_to_all, listed_edges=listed[:, order])

    def all_connected(self, reach: str) -> "Topology":
        """Return the same layers, each receiving from all of the layer before, or of ``"all"`` layers before."""
        numbers = torch.arange(1, int(self.layer.max()) + 1)
        all_to_all = numbers if reach == "all" else torch.ones_like(numbers)
        return dataclasses.replace(self, all_to_all=all_to_all, listed_edges=self.listed_edges[:, :0])

    @property
    def is_layered(self) -> bool:
        """Whether the neurons stand in layers."""
        return bool(self.layer[0] >= 0)

    @property
    def synapses(self) -> int:
        """Number of synapses E."""
        count = self.listed_edges.shape[1]
        sizes = torch.bincount(self.layer).tolist() if self.is_layered else []
        for number, reach in enumerate(self.all_to_all.tolist(), start=1):
            count += sum(sizes[number - reach : number]) * sizes[number] if reach else 0
        return count

    def has_edge(self) -> Tensor:
        """Mark the neurons with an incoming or outgoing edge, shape ``(N,)``, bool."""
        marked = torch.zeros_like(self.is_input)
        marked[self.listed_edges.flatten().long()] = True
        for number, reach in enumerate(self.all_to_all.tolist(), start=1):
            if reach:
                marked |= (self.layer >= number - reach) & (self.layer <= number)
        return marked

    def equals(self, other: "Topology") -> bool:
        """Tell whether all of it is the same."""
        return all(torch.equal(values, getattr(other, name)) for name, values in vars(self).items())

    def kept(self, neurons: Tensor) -> "Topology":
        """Return the topology of some neurons, numbered anew in their order.

        Args:
            neurons: marks those to keep, all that have edges among them, shape ``(N,)``, bool.
        """
        columns = [values[neurons] for values in (self.layer, self.is_input, self.is_output, self.anchored)]
        result = Topology.without_edges(*columns).connected((neurons.cumsum(0) - 1)[self.listed_edges.long()])
        # What is all-to-all stays so; a listed projection may have become so.
        return dataclasses.replace(result, all_to_all=torch.maximum(self.all_to_all, result.all_to_all))

    def fingerprint(self, gain: float) -> Tensor:
        """Return 64 bits that differ where the topology or the gain does, shape ``(64,)``, bool."""
        digest = hashlib.sha256(repr(gain).encode())
        for name, values in vars(self).items():
            digest.update(f"{name} {tuple(values.shape)}".encode())
            digest.update(values.contiguous().numpy().tobytes())
        number = int.from_bytes(digest.digest()[: FINGERPRINT_BITS // 8], "little")
        return torch.tensor([bool(number >> bit & 1) for bit in range(FINGERPRINT_BITS)])

    # Bytes -----------------------------------------------------------------------------------------------------------

    def encode(self) -> Tensor:
        """Return it as bytes, a tensor of type uint8 with one axis."""
        return torch.frombuffer(bytearray(seal(_KIND, _VERSION, {}, vars(self))), dtype=torch.uint8)

    @classmethod
    def decode(cls, state: Tensor) -> "Topology":
        """Read what :meth:`encode` wrote, and check that it keeps the rules.

        Args:
            state: the bytes, also as floats; whole as they were.

        Raises:
            ValueError: if they are others, as the mean of two networks' bytes is, or break a rule of
                :class:`~spatialgraph.SpatialGraph`.
        """
        checks.tensor("state", state)
        values = state.detach().cpu()
        is_whole = values.dtype == torch.uint8 or torch.equal(values, values.to(torch.uint8).to(values.dtype))
        try:
            if not is_whole:
                raise ValueError("got numbers that are no bytes")
            _, tensors = unseal(_KIND, _VERSION, values.to(torch.uint8).numpy().tobytes())
            topology = cls(**{name: _long(values) for name, values in tensors.items()})
        except (safetensors.SafetensorError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                "the structure must be as state_dict() returned it, which is not a mean of others: take that of one "
                f"network and average the other entries only ({error})"
            ) from error
        topology.check()
        return topology

    def check(self) -> None:
        """Raise ``TypeError`` or ``ValueError`` where it is no valid structure of a network."""
        neurons = self.layer.numel()
        for name in ("is_input", "is_output", "anchored"):
            checks.mask(f"connectivity.{name}", getattr(self, name), neurons)
        for name in ("layer", "all_to_all"):
            if getattr(self, name).dtype != torch.int64:
                raise TypeError(f"connectivity.{name} must hold whole numbers, got {getattr(self, name).dtype}")
        if not neurons or int(self.layer.max()) >= neurons:
            raise ValueError(f"connectivity.layer must be below the number of neurons ({neurons})")
        if self.is_layered:
            layer = checks.layers(self.layer, neurons)
            roles = layer == 0, layer == layer.max()
        elif not self.is_input.any() or not self.is_output.any():
            raise ValueError("connectivity must have inputs and outputs, got none")
        else:
            roles = self.is_input & ~self.is_output, self.is_output
        for name, expected in zip(("is_input", "is_output"), roles, strict=True):
            if not torch.equal(getattr(self, name), expected):
                raise ValueError(f"connectivity.{name} must mark neurons that can have this role, got others")
        self._check_edges()

    def _check_edges(self) -> None:
        if self.listed_edges.dtype not in checks.INDICES:
            raise TypeError(f"edge_index must be int64, got {self.listed_edges.dtype}")
        edges = checks.edge_index(self.listed_edges.long(), self.layer.numel())
        if self.is_input[edges[1]].any() or self.is_output[edges[0]].any():
            raise ValueError("sources of connectivity must not be outputs, nor lead to inputs")
        if self.is_layered:
            checks.layer_order(edges, self.layer)
        generation = self.layer if self.is_layered else generations(edges, self.is_input)
        all_to_all = checks.shape("connectivity.all_to_all", self.all_to_all, (int(generation.max()),))
        reachable = torch.arange(1, len(all_to_all) + 1) * int(self.is_layered)
        if (all_to_all < 0).any() or (all_to_all > reachable).any() or all_to_all[generation[edges[1]] - 1].any():
            raise ValueError(f"connectivity.all_to_all must be that of the layers and edges, got {all_to_all.tolist()}")


def _long(values: Tensor) -> Tensor:
    return values.long() if values.dtype in WHOLE else values
