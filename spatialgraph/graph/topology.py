"""Topology: which neurons are inputs and outputs and which edges exist, as one value that is changed as a whole."""

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence

import safetensors
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.graph.grids import Grid, Sums
from spatialgraph.graph.listing import LISTED, compressed, expanded
from spatialgraph.graph.projections import fold_complete, fold_within, generations, sorted_by
from spatialgraph.graph.sealed import WHOLE, seal, unseal

__all__ = ["FINGERPRINT_BITS", "Topology", "fingerprint"]

FINGERPRINT_BITS = 64

_GRIDS = ("grid_shapes", "cells")
_KIND = "spatialgraph structure"
_VERSION = 2


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
        all_recurrent: marks the layers whose neurons receive from all others of their layer, shape ``(L,)``, bool;
            empty for a network that is not recurrent.
        listed_sources: sources of all other edges, sorted by target, then source, shape ``(E,)``; int32 where that is
            wide enough. Those within a layer are recurrent.
        listed_pointer: where the edges into each neuron begin among them, shape ``(N + 1,)``.
        grid_shapes: number of cells along each axis of the grid of each layer, 0 for no such axis, shape ``(L, A)``;
            empty where no layer is a grid.
        cells: number of each neuron's cell in the grid of its layer, -1 for none, shape ``(N,)``; empty likewise.

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
    all_recurrent: Tensor
    listed_sources: Tensor
    listed_pointer: Tensor
    grid_shapes: Tensor = dataclasses.field(default_factory=lambda: torch.empty(0, 0, dtype=torch.int64))
    cells: Tensor = dataclasses.field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def __post_init__(self) -> None:
        """Hold edges in the narrowest type that has room for the neurons' numbers."""
        if self.listed_sources.dtype == torch.int64 and self.layer.numel() <= torch.iinfo(torch.int32).max:
            object.__setattr__(self, "listed_sources", self.listed_sources.to(torch.int32))

    @classmethod
    def of(cls, listed_edges: Tensor, **parts: Tensor) -> "Topology":
        """Return the topology of listed edges, sorted by target, then source, and of its other parts.

        Raises:
            TypeError: if the edges are no whole numbers, or a part is missing or unknown.
            ValueError: if they are not sorted, or name other neurons.
        """
        return cls(**parts, **compressed(listed_edges, parts["layer"].numel()))

    @classmethod
    def without_edges(
        cls, layer: Tensor, is_input: Tensor, is_output: Tensor, anchored: Tensor, is_recurrent: bool = False
    ) -> "Topology":
        """Return the topology of neurons without edges; only a recurrent one may have edges within a layer."""
        depth = int(layer.max()) if layer[0] >= 0 else 1
        all_to_all = torch.zeros(depth, dtype=torch.int64)
        all_recurrent = torch.zeros(depth + 1 if is_recurrent else 0, dtype=torch.bool)
        none = torch.empty(0, dtype=torch.int64), torch.zeros(layer.numel() + 1, dtype=torch.int64)
        return cls(layer, is_input, is_output, anchored, all_to_all, all_recurrent, *none)

    def with_grids(self, shapes: Mapping[int, tuple[int, ...]], cells: Tensor | None = None) -> "Topology":
        """Return the same neurons, of which those of some layers are the cells of grids.

        Args:
            shapes: shapes of the grids by the layer's number.
            cells: cell of each neuron, -1 for none, shape ``(N,)``; None where each cell has a neuron, in their order.
        """
        if not shapes:
            return self
        sizes = torch.zeros(int(self.layer.max()) + 1, max(map(len, shapes.values())), dtype=torch.int64)
        places = torch.full_like(self.layer, -1)
        for number, shape in shapes.items():
            sizes[number, : len(shape)] = torch.tensor(shape)
            places[self.layer == number] = torch.arange(int((self.layer == number).sum()))
        return dataclasses.replace(self, grid_shapes=sizes, cells=places if cells is None else cells)

    @property
    def listed_edges(self) -> Tensor:
        """The edges that are not those of all-to-all layers, sorted by target, then source, shape ``(2, E)``."""
        return expanded(self.listed_sources, self.listed_pointer)

    @property
    def grids(self) -> dict[int, tuple[int, ...]]:
        """Shapes of the layers that are grids, by the layer's number."""
        shapes = {number: tuple(filter(None, sizes)) for number, sizes in enumerate(self.grid_shapes.tolist())}
        return {number: shape for number, shape in shapes.items() if shape}

    def grid_cells(self) -> dict[int, Grid]:
        """Return the layers that are grids, by their numbers."""
        return {number: Grid.of(shape, self.cells[self.layer == number]) for number, shape in self.grids.items()}

    def sums(self, group: Tensor) -> Sums:
        """Return which neurons of a group have values of their own, and which sums of those of rows and columns.

        Args:
            group: marks the neurons, all cells of a grid or none, shape ``(N,)``, bool.
        """
        return Sums.of(self.layer, self.cells, self.grids, group)

    def connected(self, edge_index: Tensor) -> "Topology":
        """Return the same neurons with other edges, listed in any order.

        Raises:
            ValueError: if the edges form a cycle.
        """
        all_recurrent = self.all_recurrent
        if self.is_layered:
            is_within = self._is_within(edge_index)
            listed, all_to_all = fold_complete(edge_index[:, ~is_within], self.layer)
            if self.is_recurrent:
                within, all_recurrent = fold_within(edge_index[:, is_within], self.layer)
                listed = torch.cat([listed, within], dim=1)
        else:  # the generations follow from the edges, so that all of them stay listed
            depth = int(generations(edge_index, self.is_input).max())
            listed, all_to_all = edge_index, torch.zeros(depth, dtype=torch.int64)
        edges = self._listing(listed)
        return dataclasses.replace(self, all_to_all=all_to_all, all_recurrent=all_recurrent, **edges)

    def listing(self, edge_index: Tensor) -> "Topology":
        """Return the same network with further edges listed, of layers that have none."""
        listed = torch.cat([self.listed_edges.long(), edge_index], dim=1)
        found = dataclasses.replace(self, **self._listing(listed))
        found.check()
        return found

    def with_all_to_all(self, reaches: Sequence[int]) -> "Topology":
        """Return the same network where some layers, which have no listed edges, receive from all neurons before them.

        Args:
            reaches: for each layer after the first, from how many layers before it; 0 to leave it as it is.
        """
        reach = torch.maximum(self.all_to_all, torch.tensor(reaches))
        return dataclasses.replace(self, all_to_all=reach)

    def with_recurrence(self, all_recurrent: Tensor, edge_index: Tensor) -> "Topology":
        """Return the same recurrent network with edges within its layers added.

        Args:
            all_recurrent: as in :class:`Topology`.
            edge_index: the edges within the other layers, shape ``(2, E)``.
        """
        edges, folded = fold_within(edge_index, self.layer)
        listed = self._listing(torch.cat([self.listed_edges.long(), edges], dim=1))
        return dataclasses.replace(self, all_recurrent=all_recurrent | folded, **listed)

    @property
    def is_recurrent(self) -> bool:
        """Whether neurons may receive from their own layer; settled at the start, as inputs and outputs are."""
        return self.all_recurrent.numel() > 0

    @property
    def is_layered(self) -> bool:
        """Whether the neurons stand in layers."""
        return bool(self.layer[0] >= 0)

    @property
    def synapses(self) -> int:
        """Number of synapses E."""
        count = self.listed_sources.numel()
        sizes = torch.bincount(self.layer).tolist() if self.is_layered else []
        for number, reach in enumerate(self.all_to_all.tolist(), start=1):
            count += sum(sizes[number - reach : number]) * sizes[number] if reach else 0
        for size, is_all in zip(sizes, self.all_recurrent.tolist(), strict=False):
            count += size * (size - 1) if is_all else 0
        return count

    def has_edge(self) -> Tensor:
        """Mark the neurons with an incoming or outgoing edge, shape ``(N,)``, bool."""
        marked = torch.zeros_like(self.is_input)
        marked[self.listed_sources.long()] = True
        marked |= self.listed_pointer.diff() > 0
        for number, reach in enumerate(self.all_to_all.tolist(), start=1):
            if reach:
                marked |= (self.layer >= number - reach) & (self.layer <= number)
        for number in torch.nonzero(self.all_recurrent)[:, 0]:
            marked |= self.layer == number
        return marked

    def equals(self, other: "Topology") -> bool:
        """Tell whether all of it is the same."""
        return all(torch.equal(values, getattr(other, name)) for name, values in vars(self).items())

    def kept(self, neurons: Tensor) -> "Topology":
        """Return the topology of some neurons, numbered anew in their order.

        Args:
            neurons: marks those to keep, all that have edges among them, shape ``(N,)``, bool.
        """
        columns = (values[neurons] for values in (self.layer, self.is_input, self.is_output, self.anchored))
        layer, is_input, is_output, anchored = columns
        bare = Topology.without_edges(layer, is_input, is_output, anchored, self.is_recurrent)
        bare = bare.with_grids(self.grids, self.cells[neurons] if self.grids else None)
        result = bare.connected((neurons.cumsum(0) - 1)[self.listed_edges.long()])
        # What is all-to-all stays so; a listed projection may have become so.
        return dataclasses.replace(
            result,
            all_to_all=torch.maximum(self.all_to_all, result.all_to_all),
            all_recurrent=self.all_recurrent | result.all_recurrent,
        )

    def digest(self) -> bytes:
        """Return bytes that differ where the topology does."""
        digest = hashlib.sha256()
        for name, values in self._held().items():
            digest.update(f"{name} {tuple(values.shape)}".encode())
            digest.update(values.contiguous().numpy().tobytes())
        return digest.digest()

    def split_edges(self) -> tuple[Tensor, Tensor]:
        """Return the listed edges to other layers, and those within a layer, int64."""
        edges = self.listed_edges.long()
        is_within = self._is_within(edges)
        return edges[:, ~is_within], edges[:, is_within]

    def _is_within(self, edge_index: Tensor) -> Tensor:
        """Mark the edges within a layer, shape ``(E,)``, bool."""
        source, target = self.layer[edge_index[0]], self.layer[edge_index[1]]
        return (source == target) & (source >= 0)

    def _listing(self, edge_index: Tensor) -> dict[str, Tensor]:
        """Return how edges are held, by the names of the parts."""
        count = self.layer.numel()
        return compressed(sorted_by(edge_index[1] * count + edge_index[0], edge_index), count)

    # Bytes -----------------------------------------------------------------------------------------------------------

    def encode(self) -> Tensor:
        """Return it as bytes, a tensor of type uint8 with one axis."""
        return torch.frombuffer(bytearray(seal(_KIND, _VERSION, {}, self._held())), dtype=torch.uint8)

    def _held(self) -> dict[str, Tensor]:
        """Return what there is of it by name, with the names and bytes of earlier releases."""
        absent = LISTED if bool(self.grid_shapes.any()) else (*LISTED, *_GRIDS)
        parts = {name: values for name, values in vars(self).items() if name not in absent}
        return parts | {"listed_edges": self.listed_edges}

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
            topology = cls.of(**{name: _long(values) for name, values in tensors.items()})
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
        if self.all_recurrent.dtype != torch.bool or self.all_recurrent.dim() != 1:
            raise TypeError(f"connectivity.all_recurrent must be bool with one axis, got {self.all_recurrent.dtype}")
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
        self.check_grids()
        self._check_edges()

    def check_grids(self) -> None:
        """Raise ``TypeError`` or ``ValueError`` where a layer is no grid, whose neurons have different cells."""
        for name in _GRIDS:
            if getattr(self, name).dtype != torch.int64:
                raise TypeError(f"connectivity.{name} must hold whole numbers, got {getattr(self, name).dtype}")
        if self.grid_shapes.dim() != 2 or (self.grid_shapes < 0).any():
            raise ValueError(
                f"connectivity.grid_shapes must have two axes and no number below 0, got {self.grid_shapes}"
            )
        if not self.grids:
            checks.shape("connectivity.cells", self.cells, (0,))
            return
        checks.shape("connectivity.cells", self.cells, (self.layer.numel(),))
        if not self.is_layered or len(self.grid_shapes) != int(self.layer.max()) + 1:
            raise ValueError("connectivity.grid_shapes must have a row for each layer")
        in_grid = torch.zeros_like(self.is_input)
        for number, shape in self.grids.items():
            members = self.layer == number
            in_grid |= members
            cells, anchored = self.cells[members], self.anchored[members]
            if (cells < 0).any() or (cells >= math.prod(shape)).any() or len(cells.unique()) < len(cells):
                raise ValueError(f"connectivity.cells must be different cells of a grid of shape {shape}, got others")
            if anchored.any() and not anchored.all():
                raise ValueError(
                    f"anchored must mark all cells of the grid of layer {number} or none, got {int(anchored.sum())} of "
                    f"{len(cells)}"
                )
        if (self.cells[~in_grid] != -1).any():
            raise ValueError("connectivity.cells must be -1 for neurons outside grids, got others")

    def _check_edges(self) -> None:
        edges = checks.edge_index(self.listed_edges.long(), self.layer.numel())
        if self.is_input[edges[1]].any() or self.is_output[edges[0]].any():
            raise ValueError("sources of connectivity must not be outputs, nor lead to inputs")
        if self.is_layered:
            checks.layer_order(edges, self.layer, self.is_recurrent)
        edges, within = self.split_edges()
        generation = self.layer if self.is_layered else generations(edges, self.is_input)
        all_to_all = checks.shape("connectivity.all_to_all", self.all_to_all, (int(generation.max()),))
        reachable = torch.arange(1, len(all_to_all) + 1) * int(self.is_layered)
        if (all_to_all < 0).any() or (all_to_all > reachable).any() or all_to_all[generation[edges[1]] - 1].any():
            raise ValueError(f"connectivity.all_to_all must be that of the layers and edges, got {all_to_all.tolist()}")
        if self.is_recurrent:
            self._check_recurrence(within)

    def _check_recurrence(self, within: Tensor) -> None:
        if not self.is_layered:
            raise ValueError("connectivity.all_recurrent must be empty for a network without layers")
        layers = int(self.layer.max()) + 1
        marked = checks.mask("connectivity.all_recurrent", self.all_recurrent, layers)
        if marked[0] or marked[-1] or marked[self.layer[within[1]]].any():
            raise ValueError(
                f"connectivity.all_recurrent must mark hidden layers without listed edges, got {marked.tolist()}"
            )


def fingerprint(digest: bytes, *numbers: float, device: torch.device | str = "cpu") -> Tensor:
    """Return 64 bits that differ where the digest of a topology or one of the numbers does, shape ``(64,)``, bool.

    Example:
        >>> torch.equal(fingerprint(b"topology", 1.0, 0.0), fingerprint(b"topology", 1.0, 0.5))
        False
    """
    both = hashlib.sha256(digest + repr(numbers).encode()).digest()
    bits = int.from_bytes(both[: FINGERPRINT_BITS // 8], "little", signed=True)
    # Spread out on the device, for a copy would wait for it.
    whole = torch.full((), bits, dtype=torch.int64, device=device)
    return whole.bitwise_right_shift(torch.arange(FINGERPRINT_BITS, device=device)).bitwise_and(1).bool()


def _long(values: Tensor) -> Tensor:
    return values.long() if values.dtype in WHOLE else values
