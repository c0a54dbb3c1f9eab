"""Projections: the bipartite stages in which a network is computed, and their edges in compressed rows."""

import dataclasses
import warnings

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks

__all__ = [
    "DENSE_FROM",
    "CompressedEdges",
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
class CompressedEdges:
    """The edges of one projection in compressed rows, by target and by source.

    Edge ``e`` of the list is entry ``e`` of the rows by target, so values need no permutation on the way forward. The
    tensors are checked here, and belong to these edges from then on. Kernels look at indices again before they follow
    them, in each call, so that not even a tensor that was written to leads them out of an array.

    Args:
        target_pointer: where each target's edges begin, shape ``(m + 1,)``.
        sources: source of each edge, sorted by target, then source, shape ``(E,)``.
        targets: target of each edge, shape ``(E,)``.
        source_pointer: where each source's edges begin in ``by_source``, shape ``(n + 1,)``.
        by_source: the edges' numbers sorted by source, then target, shape ``(E,)``.
        n_sources: number of sources n.
        n_targets: number of targets m.
        count: number of edges E.

    Raises:
        TypeError: if a tensor is not int64.
        ValueError: if the tensors do not describe the same edges.
    """

    target_pointer: Tensor
    sources: Tensor
    targets: Tensor
    source_pointer: Tensor
    by_source: Tensor
    n_sources: int = dataclasses.field(init=False)
    n_targets: int = dataclasses.field(init=False)
    count: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Check that the tensors describe the same edges, and count them."""
        count = checks.indices("sources", self.sources).shape[0]
        checks.indices("targets", self.targets, count)
        checks.indices("by_source", self.by_source, count)
        for name in ("target_pointer", "source_pointer"):
            checks.indices(name, getattr(self, name))
        for name in ("target_pointer", "targets", "source_pointer", "by_source"):
            checks.beside(name, getattr(self, name), self.sources)
        # Numbers of their own, for a tracer records even the shape of a tensor.
        object.__setattr__(self, "n_sources", self.source_pointer.numel() - 1)
        object.__setattr__(self, "n_targets", self.target_pointer.numel() - 1)
        object.__setattr__(self, "count", count)
        if checks.has_values(self.sources):
            checks.within("by_source", self.by_source, count)
            _check_rows("target", self.target_pointer, self.targets, self.sources)
            _check_rows("source", self.source_pointer, self.sources[self.by_source], self.by_source)
            if bool((self.by_source.sort().values.diff() != 1).any()):
                raise ValueError("by_source must name each edge once")

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of targets and sources."""
        return self.n_targets, self.n_sources

    @classmethod
    def from_edges(cls, edges: Tensor, n_sources: int, n_targets: int) -> "CompressedEdges":
        """Compress a list of local edges that is sorted by target, then source.

        Args:
            edges: source and target of each edge, shape ``(2, E)``.
            n_sources: number of sources.
            n_targets: number of targets.

        Raises:
            TypeError: if the edges are not int64.
            ValueError: if they are not sorted, or lead from or to neurons that do not exist.

        Example:
            >>> CompressedEdges.from_edges(torch.tensor([[0, 1, 0], [0, 0, 1]]), 2, 2).target_pointer
            tensor([0, 2, 3])
        """
        if checks.tensor("edges", edges).dim() != 2 or edges.shape[0] != 2:
            raise ValueError(f"edges must have shape (2, edges), got {tuple(edges.shape)}")
        sources, targets = edges.clone(memory_format=torch.contiguous_format)  # the caller may go on to change its own
        for name, indices, size in (("sources", sources, n_sources), ("targets", targets, n_targets)):
            checks.indices(name, indices)
            if checks.has_values(indices):
                checks.within(name, indices, checks.integer(f"n_{name}", size, minimum=0))
        return cls(
            target_pointer=_pointer(targets, n_targets),
            sources=sources,
            targets=targets,
            source_pointer=_pointer(sources, n_sources),
            by_source=torch.argsort(sources, stable=True),
        )

    @classmethod
    def from_mask(cls, mask: Tensor) -> "CompressedEdges":
        """Compress the pairs that a mask of shape ``(m, n)`` marks, targets by rows.

        Example:
            >>> CompressedEdges.from_mask(torch.tensor([[True, False], [True, True]])).sources
            tensor([0, 0, 1])
        """
        targets, sources = torch.nonzero(mask, as_tuple=True)
        return cls.from_edges(torch.stack([sources, targets]), mask.shape[1], mask.shape[0])

    def turned(self) -> "CompressedEdges":
        """Return the edges the other way round; edge ``e`` of the result is edge ``by_source[e]`` of these.

        Example:
            >>> CompressedEdges.from_edges(torch.tensor([[1, 0], [0, 1]]), 2, 2).turned().sources
            tensor([1, 0])
        """
        return CompressedEdges(
            target_pointer=self.source_pointer,
            sources=self.targets[self.by_source],
            targets=self.sources[self.by_source],
            source_pointer=self.target_pointer,
            by_source=torch.argsort(self.by_source),
        )

    def matrix(self, weight: Tensor) -> Tensor:
        """Return the ``(m, n)`` matrix in compressed rows whose entries are the edges' weights."""
        self._check_again()
        return torch.sparse_csr_tensor(self.target_pointer, self.sources, weight, self.shape, check_invariants=False)

    def mask(self) -> Tensor:
        """Return which pairs have an edge, shape ``(m, n)``, bool."""
        return torch.zeros(self.shape, dtype=torch.bool, device=self.sources.device).index_put(
            (self.targets, self.sources), torch.ones((), dtype=torch.bool, device=self.sources.device)
        )

    def _check_again(self) -> None:
        """Check what PyTorch's product follows unchecked; on an accelerator that would wait."""
        if self.sources.device.type == "cpu":
            checks.pointer("target_pointer", self.target_pointer, self.count)
            checks.within("sources", self.sources, self.n_sources)


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


def _check_rows(end: str, pointer: Tensor, rows: Tensor, columns: Tensor) -> None:
    """Check that edges are sorted by the neurons at one end, then the other, and that the pointer says the same."""
    checks.pointer(f"{end}_pointer", pointer, rows.shape[0])
    if not torch.equal(rows, torch.repeat_interleave(pointer.diff())):
        raise ValueError(f"{end}_pointer must count the edges of each {end}, sorted by {end}, got other edges")
    falls = torch.nonzero((rows[1:] == rows[:-1]) & (columns[1:] < columns[:-1]))[:, 0]
    if falls.numel():
        row = int(rows[falls[0]])
        raise ValueError(f"edges of a {end} must be sorted, got {columns[rows == row].tolist()[:10]} for {end} {row}")


def _pointer(indices: Tensor, count: int) -> Tensor:
    pointer = indices.new_zeros(count + 1)
    torch.cumsum(torch.bincount(indices, minlength=count), 0, out=pointer[1:])
    return pointer
