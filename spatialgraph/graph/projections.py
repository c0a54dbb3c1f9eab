"""Projections: the bipartite stages in which a network is computed, and their edges in compressed rows."""

import dataclasses
import warnings

import numpy as np
import torch
from torch import Tensor

from spatialgraph.functional.compressed_edges import CompressedEdges

__all__ = [
    "DENSE_FROM",
    "Projection",
    "fold_complete",
    "generations",
    "make_projections",
    "without_dead_ends",
]

# Share of the pairs that have an edge, from which on a dense product with holes takes less time than one edge by edge:
# measured for training steps at 784-2048-10, batch 600, where both take the same time between a quarter and 30 %.
DENSE_FROM = 0.25


with warnings.catch_warnings():
    # PyTorch says once a process that compressed rows are in beta: to whoever makes the first such tensor.
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta", category=UserWarning)
    torch.sparse_csr_tensor([0, 0], [], [], (1, 1), device="cpu", check_invariants=False)


@dataclasses.dataclass(frozen=True)
class Projection:
    """One stage of the computation: all edges into the neurons of one generation.

    Activations are kept in blocks: block 0 holds the input neurons, block ``g`` the targets of projection ``g``. The
    sources are always whole blocks side by side, so that a layered network gathers nothing.

    Args:
        sources: numbers of the source neurons, shape ``(n,)``.
        targets: numbers of the target neurons, hidden neurons before outputs, shape ``(m,)``.
        hidden: how many of the targets are hidden neurons.
        blocks: numbers of the blocks that hold the sources.
        edges: the edges, or None for all-to-all.
        mask: where the edges are many, which pairs have one, for a dense product with holes; else None.
        source_index: the same neurons as ``sources``, as a slice where they follow each other.
        target_index: the same neurons as ``targets``, as a slice where they follow each other.
        n_sources: number of sources n.
        n_targets: number of targets m.
        synapses: number of edges.
    """

    sources: Tensor
    targets: Tensor
    hidden: int
    blocks: tuple[int, ...]
    edges: CompressedEdges | None
    mask: Tensor | None = None
    source_index: slice | Tensor = dataclasses.field(init=False)
    target_index: slice | Tensor = dataclasses.field(init=False)
    n_sources: int = dataclasses.field(init=False)
    n_targets: int = dataclasses.field(init=False)
    synapses: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Find the slices and count."""
        n, m = self.sources.numel(), self.targets.numel()
        object.__setattr__(self, "source_index", _as_slice(self.sources))
        object.__setattr__(self, "target_index", _as_slice(self.targets))
        object.__setattr__(self, "n_sources", n)
        object.__setattr__(self, "n_targets", m)
        object.__setattr__(self, "synapses", n * m if self.edges is None else self.edges.count)

    def edge_index(self) -> Tensor:
        """List the edges by neuron numbers, sorted by target, then source, shape ``(2, E)``."""
        if self.edges is not None:
            return torch.stack([self.sources[self.edges.sources], self.targets[self.edges.targets]])
        n, m = self.n_sources, self.n_targets
        return torch.stack([self.sources.repeat(m), self.targets.repeat_interleave(n)])


def generations(edge_index: Tensor, is_input: Tensor) -> Tensor:
    """Return the topological generation of each neuron, the length of the longest path that leads to it.

    Inputs are generation 0. Other neurons are at least generation 1, also when no edge leads to them.

    Args:
        edge_index: directed edges, shape ``(2, E)``.
        is_input: marks the input neurons, shape ``(N,)``.

    Returns:
        Tensor of shape ``(N,)``, int64.

    Raises:
        ValueError: if the edges form a cycle.

    Example:
        >>> generations(torch.tensor([[0, 0, 1], [1, 2, 2]]), torch.tensor([True, False, False]))
        tensor([0, 1, 2])
    """
    source, target = edge_index.cpu().numpy()
    order = np.argsort(source, kind="stable")
    target_by_source = target[order]
    count = is_input.numel()
    pointer = np.searchsorted(source[order], np.arange(count + 1))
    waiting = np.bincount(target, minlength=count)
    generation = np.where(is_input.cpu().numpy(), 0, 1)
    front = np.flatnonzero(waiting == 0)
    settled = 0
    while front.size:
        settled += front.size
        lengths = pointer[front + 1] - pointer[front]
        starts = np.repeat(pointer[front] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
        reached = target_by_source[starts + np.arange(lengths.sum())]
        np.maximum.at(generation, reached, np.repeat(generation[front] + 1, lengths))
        np.subtract.at(waiting, reached, 1)
        front = np.unique(reached[waiting[reached] == 0])
    if settled < count:
        stuck = np.flatnonzero(waiting > 0)[:5].tolist()
        raise ValueError(f"edge_index must not contain a cycle, got one among or before the neurons {stuck}")
    return torch.from_numpy(generation).to(edge_index.device)


def make_projections(
    generation: Tensor, is_output: Tensor, edge_index: Tensor, all_to_all: Tensor, dense_from: float = DENSE_FROM
) -> tuple[Projection, ...]:
    """Cut a network into projections, one for each generation after the inputs.

    Args:
        generation: generation of each neuron, shape ``(N,)``.
        is_output: marks the output neurons, shape ``(N,)``.
        edge_index: edges into the generations that are not all-to-all, shape ``(2, E)``.
        all_to_all: for each generation after the inputs, how many generations back its targets hear every neuron;
            0 where the edges are listed. Shape ``(G,)``.
        dense_from: share of the pairs that have an edge, from which on a projection gets a mask.

    Returns:
        The projections, in the order of computation.
    """
    blocks = [_members(generation == 0, is_output)]
    place = torch.empty_like(generation)
    projections = []
    for number, reach in enumerate(all_to_all.tolist(), start=1):
        targets = _members(generation == number, is_output)
        place[targets] = torch.arange(targets.numel(), device=place.device)
        listed = edge_index[:, generation[edge_index[1]] == number]
        needed = tuple(range(number - reach, number)) if reach else _blocks_of(listed[0], generation)
        sources = torch.cat([blocks[b] for b in needed])
        edges = None if reach else _compress(listed, sources, targets, place)
        hidden = int((~is_output[targets]).sum())
        is_dense = edges is not None and listed.shape[1] >= dense_from * sources.numel() * targets.numel()
        mask = edges.mask() if edges is not None and is_dense else None
        projections.append(Projection(sources, targets, hidden, needed, edges, mask))
        blocks.append(targets)
    return tuple(projections)


def without_dead_ends(projections: tuple[Projection, ...]) -> tuple[Projection, ...]:
    """Return projections without the hidden neurons that no path leads from to an output, and without their edges.

    Nothing that a network without normalisation computes depends on them. At 784-2048-10 with 5 % of the synapses they
    are two thirds of the hidden neurons.

    Args:
        projections: the projections of a network, in the order of computation.

    Returns:
        The same ones if there is no dead end. A block keeps one neuron at least.

    Example:
        >>> from spatialgraph.graph.connectivity import Connectivity
        >>> edges = torch.tensor([[0, 0, 1], [1, 2, 3]])
        >>> layer = torch.tensor([0, 1, 1, 2])
        >>> [p.synapses for p in without_dead_ends(Connectivity(torch.zeros(4, 2), edges, layer, None).projections)]
        [1, 1]
    """
    count = 1 + max(int(p.targets.max()) for p in projections)
    heard = torch.zeros(max(count, 1 + int(projections[0].sources.max())), dtype=torch.bool)
    heard = heard.to(projections[0].targets.device)
    dropped = torch.zeros_like(heard)
    for projection in reversed(projections):
        is_live = heard[projection.targets]
        is_live[projection.hidden :] = True
        is_live[0] |= ~is_live.any()
        dropped[projection.targets[~is_live]] = True
        edges = projection.edges
        heard[projection.sources if edges is None else projection.sources[edges.sources[is_live[edges.targets]]]] = True
    return tuple(_without(projection, dropped) for projection in projections) if dropped.any() else projections


def _without(projection: Projection, dropped: Tensor) -> Projection:
    """Drop neurons, and the edges that lead to them, from a projection; no edge from them is left by then."""
    sources, targets = ~dropped[projection.sources], ~dropped[projection.targets]
    edges, mask = projection.edges, projection.mask
    if edges is not None:
        kept = targets[edges.targets]
        source, target = sources.cumsum(0)[edges.sources[kept]] - 1, targets.cumsum(0)[edges.targets[kept]] - 1
        edges = CompressedEdges.from_edges(torch.stack([source, target]), int(sources.sum()), int(targets.sum()))
    return Projection(
        projection.sources[sources],
        projection.targets[targets],
        int(targets[: projection.hidden].sum()),
        projection.blocks,
        edges,
        None if mask is None else mask[targets][:, sources],
    )


def fold_complete(edge_index: Tensor, generation: Tensor) -> tuple[Tensor, Tensor]:
    """Tell which generations hear all neurons of the generations before them, and drop these edges from the list.

    Args:
        edge_index: distinct edges, shape ``(2, E)``.
        generation: generation of each neuron, shape ``(N,)``.

    Returns:
        The edges that remain listed, and ``all_to_all`` as :func:`make_projections` takes it.

    Example:
        >>> fold_complete(torch.tensor([[0, 1], [2, 2]]), torch.tensor([0, 0, 1]))
        (tensor([], size=(2, 0), dtype=torch.int64), tensor([1]))
    """
    sizes = torch.bincount(generation).tolist()
    of_target = generation[edge_index[1]]
    all_to_all = torch.zeros(len(sizes) - 1, dtype=torch.int64, device=edge_index.device)
    for number in range(1, len(sizes)):
        into = edge_index[0, of_target == number]
        first = _blocks_of(into, generation)[0]
        if into.numel() == sum(sizes[first:number]) * sizes[number]:
            all_to_all[number - 1] = number - first
    return edge_index[:, all_to_all[of_target - 1] == 0], all_to_all


def _members(mask: Tensor, is_output: Tensor) -> Tensor:
    return torch.cat([torch.nonzero(mask & ~is_output)[:, 0], torch.nonzero(mask & is_output)[:, 0]])


def _blocks_of(sources: Tensor, generation: Tensor) -> tuple[int, ...]:
    """Return the generations the sources belong to; the inputs where there is no source at all."""
    return tuple(torch.unique(generation[sources]).tolist()) or (0,)


def _compress(listed: Tensor, sources: Tensor, targets: Tensor, place: Tensor) -> CompressedEdges:
    local = torch.empty_like(place)
    local[sources] = torch.arange(sources.numel(), device=place.device)
    rows, columns = place[listed[1]], local[listed[0]]
    order = torch.argsort(rows * sources.numel() + columns)
    edges = torch.stack([columns[order], rows[order]])
    return CompressedEdges.from_edges(edges, sources.numel(), targets.numel())


def _as_slice(numbers: Tensor) -> slice | Tensor:
    first, count = int(numbers[0]), numbers.numel()
    consecutive = torch.equal(numbers, torch.arange(first, first + count, device=numbers.device))
    return slice(first, first + count) if consecutive else numbers
