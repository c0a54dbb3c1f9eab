"""Projections: the bipartite stages in which a network is computed."""

import dataclasses
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.dense_engine import WithoutSelfEngine
from spatialgraph.functional.engine import Engine
from spatialgraph.functional.engines import choose
from spatialgraph.functional.memory import weights_fit
from spatialgraph.graph.blocks import Blocks, side_by_side

__all__ = [
    "Projection",
    "fold_complete",
    "fold_within",
    "generations",
    "live_targets",
    "make_projections",
    "make_recurrent_projections",
    "sorted_by",
    "with_live",
    "without_dead_ends",
]

with warnings.catch_warnings():
    # PyTorch says once a process that compressed rows are in beta and, from 2.11 on, that it does not check them: on
    # the first such tensor.
    for message in ("Sparse CSR tensor support is in beta", "Sparse invariant checks are implicitly disabled"):
        warnings.filterwarnings("ignore", message=message, category=UserWarning)
    torch.sparse_csr_tensor([0, 0], [], [], (1, 1), device="cpu", check_invariants=False)


@dataclasses.dataclass(frozen=True)
class Projection:
    """A bipartite part of the network: the edges into the neurons of one generation, or the recurrent ones within it.

    Activations are kept in blocks: block 0 holds the input neurons, block ``g`` the targets of projection ``g``. The
    sources are always whole blocks side by side, so that a layered network gathers nothing.

    Args:
        sources: numbers of the source neurons, shape ``(n,)``.
        targets: numbers of the target neurons, hidden neurons before outputs, shape ``(m,)``.
        hidden: how many of the targets are hidden neurons.
        blocks: numbers of the blocks that hold the sources.
        engine: what computes it.
        layout: the blocks of the network.
        block: number of the block of its targets.
        is_recurrent: whether its synapses take one time step, within the one block of ``blocks``.
        live: places of the hidden neurons among the targets that a path leads from to an output; None for all.
        n_sources: number of sources n.
        n_targets: number of targets m.
        synapses: number of edges.
    """

    sources: Tensor
    targets: Tensor
    hidden: int
    blocks: tuple[int, ...]
    engine: Engine
    layout: Blocks
    block: int
    is_recurrent: bool = False
    live: Tensor | None = None
    n_sources: int = dataclasses.field(init=False)
    n_targets: int = dataclasses.field(init=False)
    synapses: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Count."""
        object.__setattr__(self, "n_sources", self.sources.numel())
        object.__setattr__(self, "n_targets", self.targets.numel())
        object.__setattr__(self, "synapses", self.engine.synapses)

    def edge_index(self) -> Tensor:
        """List the edges by neuron numbers, shape ``(2, E)``: by target, then source, in the orders of these."""
        return self.engine.edge_index(self.sources, self.targets)

    def of_sources(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the values of its sources from those of the neurons of each block, as the layout cuts them."""
        return side_by_side([parts[block] for block in self.blocks])

    @property
    def is_large(self) -> bool:
        """Whether all pairs have a synapse, and their weights take too much of the memory to be held."""
        return self.engine.edges is None and not weights_fit(self.n_sources, self.n_targets)

    @property
    def is_complete(self) -> bool:
        """Whether every target receives from every source, or in a recurrent projection from every other neuron."""
        return self.synapses >= self.n_sources * (self.n_targets - self.is_recurrent)


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
    generation: Tensor, is_output: Tensor, edge_index: Tensor, all_to_all: Tensor
) -> tuple[Projection, ...]:
    """Cut a network into projections, one for each generation after the inputs.

    Args:
        generation: generation of each neuron, shape ``(N,)``.
        is_output: marks the output neurons, shape ``(N,)``.
        edge_index: edges into the generations that are not all-to-all, shape ``(2, E)``.
        all_to_all: for each generation after the inputs, from how many generations before it its neurons receive
            everything; 0 where the edges are listed. Shape ``(G,)``.

    Returns:
        The projections, in the order of computation.
    """
    layout = Blocks.of(_members(generation, is_output), is_output)
    blocks = layout.members
    place = torch.empty_like(generation)
    listed_into = _by_generation(edge_index, generation)
    projections = []
    for number, reach in enumerate(all_to_all.tolist(), start=1):
        targets, listed = blocks[number], listed_into[number]
        place[targets] = torch.arange(targets.numel(), device=place.device)
        needed = tuple(range(number - reach, number)) if reach else _blocks_of(listed[0], generation)
        sources = torch.cat([blocks[b] for b in needed])
        edges = None if reach else _compress(listed, sources, targets, place)
        hidden = int((~is_output[targets]).sum())
        engine = choose(sources.numel(), targets.numel(), edges)
        projections.append(Projection(sources, targets, hidden, needed, engine, layout, number))
    return tuple(projections)


def make_recurrent_projections(
    layout: Blocks, generation: Tensor, edge_index: Tensor, all_recurrent: Tensor
) -> tuple[Projection, ...]:
    """Cut the recurrent edges of a network into projections, one for each generation that has some.

    Args:
        layout: the blocks of the network.
        generation: generation of each neuron, shape ``(N,)``.
        edge_index: the edges within generations, without those of ``all_recurrent``, shape ``(2, E)``.
        all_recurrent: marks the generations whose neurons receive from all others of it, shape ``(G,)``.
    """
    place = torch.empty_like(generation)
    listed_into = _by_generation(edge_index, generation)
    projections = []
    for number, neurons in enumerate(layout.members[: len(all_recurrent)]):
        count, listed = neurons.numel(), listed_into[number]
        if all_recurrent[number]:
            engine: Engine = WithoutSelfEngine(count, count)
        elif listed.shape[1]:
            place[neurons] = torch.arange(count, device=place.device)
            engine = choose(count, count, _compress(listed, neurons, neurons, place))
        else:
            continue
        projections.append(Projection(neurons, neurons, count, (number,), engine, layout, number, is_recurrent=True))
    return tuple(projections)


def live_targets(projections: Sequence[Projection], sources_of: Callable[[int, Tensor], Tensor]) -> list[Tensor]:
    """Mark the targets of each projection that are outputs, or that a path leads from to an output.

    Where fewer than two hidden neurons of a projection are marked, all are: fewer cannot be normalised.

    Args:
        projections: the projections of a network without recurrent synapses, in the order of computation.
        sources_of: from a projection's number and marked targets, shape ``(m,)``, to marks of the sources with a
            synapse to one of them, shape ``(n,)``.

    Returns:
        Tensors of shape ``(m,)``, bool.
    """
    count = 1 + max(int(neurons.max()) for p in projections for neurons in (p.sources, p.targets))
    needed = torch.zeros(count, dtype=torch.bool, device=projections[0].targets.device)
    marks = []
    for number in reversed(range(len(projections))):
        projection = projections[number]
        is_live = needed[projection.targets]
        is_live[projection.hidden :] = True
        is_live |= is_live[: projection.hidden].sum() < 2
        if projection.blocks != (0,):  # nothing follows for inputs
            needed[projection.sources[sources_of(number, is_live)]] = True
        marks.append(is_live)
    return marks[::-1]


def with_live(projections: tuple[Projection, ...]) -> tuple[Projection, ...]:
    """Return projections that know which of their hidden neurons a path leads from to an output."""
    marks = live_targets(projections, lambda number, targets: projections[number].engine.sources_of(targets))
    return tuple(
        projection
        if bool(is_live.all())
        else dataclasses.replace(projection, live=torch.nonzero(is_live[: projection.hidden])[:, 0])
        for projection, is_live in zip(projections, marks, strict=True)
    )


def without_dead_ends(projections: tuple[Projection, ...]) -> tuple[Projection, ...]:
    """Return projections without the hidden neurons that no path leads from to an output, and without their edges.

    Nothing that a network without normalisation computes depends on them. At 784-2048-10 with 5 % of the synapses they
    are two thirds of the hidden neurons.

    Args:
        projections: the projections of a network, in the order of computation.

    Returns:
        The same ones if all neurons have a path to an output.

    Example:
        >>> from spatialgraph.graph.connectivity import Connectivity
        >>> edges = torch.tensor([[0, 0, 0, 1, 2], [1, 2, 3, 4, 4]])
        >>> layer = torch.tensor([0, 1, 1, 1, 2])
        >>> [p.synapses for p in without_dead_ends(Connectivity(torch.zeros(5, 2), edges, layer, None).projections)]
        [2, 2]
    """
    if all([projection.live is None for projection in projections]):
        return projections
    count = 1 + max(int(neurons.max()) for p in projections for neurons in (p.sources, p.targets))
    dropped = torch.zeros(count, dtype=torch.bool, device=projections[0].targets.device)
    for projection in projections:
        if projection.live is not None:
            hidden = projection.targets[: projection.hidden]
            dropped[hidden] = True
            dropped[hidden[projection.live]] = False
    before = projections[0].layout
    is_output = torch.zeros_like(dropped)
    for projection in projections:
        is_output[projection.targets[projection.hidden :]] = True
    layout = Blocks.of([numbers[~dropped[numbers]] for numbers in before.members], is_output)
    return tuple(_without(projection, dropped, layout) for projection in projections)


def _without(projection: Projection, dropped: Tensor, layout: Blocks) -> Projection:
    """Drop neurons, and the edges that lead to them, from a projection; no edge from them is left by then."""
    sources, targets = ~dropped[projection.sources], ~dropped[projection.targets]
    return Projection(
        projection.sources[sources],
        projection.targets[targets],
        int(targets[: projection.hidden].sum()),
        projection.blocks,
        projection.engine.restricted(sources, targets),
        layout,
        projection.block,
    )


def fold_complete(edge_index: Tensor, generation: Tensor) -> tuple[Tensor, Tensor]:
    """Tell which generations receive from all neurons of generations before them, and drop these edges from the list.

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
    all_to_all = torch.zeros(len(sizes) - 1, dtype=torch.int64, device=edge_index.device)
    for number, (into, _) in enumerate(_by_generation(edge_index, generation)[1:], start=1):
        first = _blocks_of(into, generation)[0]
        if into.numel() == sum(sizes[first:number]) * sizes[number]:
            all_to_all[number - 1] = number - first
    return edge_index[:, all_to_all[generation[edge_index[1]] - 1] == 0], all_to_all


def fold_within(edge_index: Tensor, layer: Tensor) -> tuple[Tensor, Tensor]:
    """Tell in which layers each neuron receives from all others, and drop these edges from the list.

    Args:
        edge_index: distinct edges within layers, shape ``(2, E)``.
        layer: layer of each neuron, shape ``(N,)``.

    Returns:
        The edges that remain listed, and a mark for each layer, shape ``(L,)``, bool.

    Example:
        >>> fold_within(torch.tensor([[1, 2], [2, 1]]), torch.tensor([0, 1, 1, 2]))
        (tensor([], size=(2, 0), dtype=torch.int64), tensor([False,  True, False]))
    """
    size = torch.bincount(layer)
    of_edge, is_self = layer[edge_index[1]], edge_index[0] == edge_index[1]
    count = torch.bincount(of_edge, minlength=len(size))
    folded = (count == size * (size - 1)) & (count > 0)
    folded[of_edge[is_self]] = False
    return edge_index[:, ~folded[of_edge]], folded


def _members(generation: Tensor, is_output: Tensor) -> tuple[Tensor, ...]:
    """Return the neurons of each generation, outputs last."""
    key = 2 * generation + is_output
    is_sorted = bool((key[1:] >= key[:-1]).all())  # as in networks of layers, where sorting would take most of the time
    order = torch.arange(key.numel(), device=key.device) if is_sorted else torch.argsort(key, stable=True)
    return torch.split(order, torch.bincount(generation).tolist())


def _by_generation(edge_index: Tensor, generation: Tensor) -> tuple[Tensor, ...]:
    """Return the edges into each generation, in their order."""
    of_target = generation[edge_index[1]]
    counts = torch.bincount(of_target, minlength=int(generation.max()) + 1).tolist()
    return torch.split(sorted_by(of_target, edge_index), counts, dim=1)


def sorted_by(keys: Tensor, edge_index: Tensor) -> Tensor:
    """Sort edges by a key of each, shape ``(E,)``; edges of equal keys keep their order.

    Most lists are sorted already, and sorting takes ten times as long as finding out.
    """
    if bool((keys[1:] >= keys[:-1]).all()):
        return edge_index
    return edge_index[:, torch.argsort(keys, stable=True)]


def _blocks_of(sources: Tensor, generation: Tensor) -> tuple[int, ...]:
    """Return the generations the sources belong to; the inputs where there is no source at all."""
    return tuple(torch.nonzero(torch.bincount(generation[sources]))[:, 0].tolist()) or (0,)


def _compress(listed: Tensor, sources: Tensor, targets: Tensor, place: Tensor) -> CompressedEdges:
    local = torch.empty_like(place)
    local[sources] = torch.arange(sources.numel(), device=place.device)
    rows, columns = place[listed[1]], local[listed[0]]
    edges = sorted_by(rows * sources.numel() + columns, torch.stack([columns, rows]))
    return CompressedEdges.from_edges(edges, sources.numel(), targets.numel())
