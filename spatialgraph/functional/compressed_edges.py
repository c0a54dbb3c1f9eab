"""Compressed edges: the existing edges of one projection, by target and by source."""

import dataclasses
import functools

import torch
from torch import Tensor

from spatialgraph import checks

__all__ = ["CompressedEdges"]


@dataclasses.dataclass(frozen=True)
class CompressedEdges:
    """The edges of one projection in compressed rows, by target and by source.

    Edge ``e`` of the list is entry ``e`` of the rows by target, so the forward pass needs no permutation.
    :meth:`from_edges` makes tensors of shape ``(E,)`` int32 if that is wide enough, else int64. All tensors are checked
    here and must not be modified afterwards. Kernels check the indices again in each call, so that a tensor modified in
    place cannot cause an access outside of an array.

    Args:
        target_pointer: where each target's edges begin, shape ``(m + 1,)``.
        sources: source of each edge, sorted by target, then source, shape ``(E,)``.
        source_pointer: where each source's edges begin in ``by_source``, shape ``(n + 1,)``.
        by_source: the edges' numbers sorted by source, then target, shape ``(E,)``.
        targets_by_source: target of each edge in the order of ``by_source``, shape ``(E,)``.

    Attributes:
        n_sources: number of sources n.
        n_targets: number of targets m.
        count: number of edges E.

    Raises:
        TypeError: if a tensor is neither int32 nor int64.
        ValueError: if a tensor has another shape, indices are out of range or not sorted, or the tensors describe
            different edges.
    """

    target_pointer: Tensor
    sources: Tensor
    source_pointer: Tensor
    by_source: Tensor
    targets_by_source: Tensor
    n_sources: int = dataclasses.field(init=False)
    n_targets: int = dataclasses.field(init=False)
    count: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Check that the tensors describe the same edges, and set the numbers of sources, targets and edges."""
        count = checks.indices("sources", self.sources).shape[0]
        checks.indices("by_source", self.by_source, count)
        checks.indices("targets_by_source", self.targets_by_source, count)
        for name in ("target_pointer", "source_pointer"):
            checks.indices(name, getattr(self, name))
        for name in ("target_pointer", "source_pointer", "by_source", "targets_by_source"):
            checks.same_device(name, getattr(self, name), self.sources)
        # Stored as numbers, because a tracer records even the shape of a tensor.
        object.__setattr__(self, "n_sources", self.source_pointer.numel() - 1)
        object.__setattr__(self, "n_targets", self.target_pointer.numel() - 1)
        object.__setattr__(self, "count", count)
        if checks.has_values(self.sources):
            checks.within("by_source", self.by_source, count)
            checks.pointer("target_pointer", self.target_pointer, count)
            checks.pointer("source_pointer", self.source_pointer, count)
            _check_rows("target", self.targets, self.sources, self.target_pointer)
            _check_rows("source", self.sources[self.by_source], self.targets_by_source, self.source_pointer)
            if bool((self.by_source.sort().values.diff() != 1).any()):
                raise ValueError("by_source must name each edge once")
            if not torch.equal(self.targets[self.by_source], self.targets_by_source):
                raise ValueError("targets_by_source must be the targets of the same edges, got others")

    @property
    def targets(self) -> Tensor:
        """Target of each edge, sorted as ``sources``, shape ``(E,)``, int64; computed on access."""
        ends = self.target_pointer[1:-1]
        marks = ends.new_zeros(self.length + 1).scatter_add(0, ends, torch.ones_like(ends))
        return marks[:-1].cumsum(0)

    @property
    def length(self) -> int:
        """Number of edges, which a compiler takes for a variable; it takes ``count`` for a constant."""
        return self.sources.shape[0] if torch.compiler.is_dynamo_compiling() else self.count

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of targets and sources."""
        return self.n_targets, self.n_sources

    @classmethod
    def from_edges(cls, edges: Tensor, n_sources: int, n_targets: int) -> "CompressedEdges":
        """Compress a list of edges that is sorted by target, then source.

        Args:
            edges: source and target of each edge, shape ``(2, E)``.
            n_sources: number of sources.
            n_targets: number of targets.

        Raises:
            TypeError: if the edges are neither int32 nor int64.
            ValueError: if the shape is not ``(2, E)``, an index is out of range, or the edges are not sorted.

        Example:
            >>> CompressedEdges.from_edges(torch.tensor([[0, 1, 0], [0, 0, 1]]), 2, 2).target_pointer
            tensor([0, 2, 3])
        """
        if checks.tensor("edges", edges).dim() != 2 or edges.shape[0] != 2:
            raise ValueError(f"edges must have shape (2, edges), got {tuple(edges.shape)}")
        sources, targets = edges
        for name, indices, size in (("sources", sources, n_sources), ("targets", targets, n_targets)):
            checks.indices(name, indices)
            if checks.has_values(indices):
                checks.within(name, indices, checks.integer(f"n_{name}", size, minimum=0))
        if checks.has_values(targets) and bool((targets[1:] < targets[:-1]).any()):
            raise ValueError(f"edges must be sorted by target, then source, got the targets {targets[:10].tolist()}")
        narrow = _index_dtype(sources.numel(), n_sources, n_targets)
        by_source = torch.argsort(sources, stable=True)
        return cls(
            target_pointer=_pointer(targets, n_targets),
            sources=sources.to(narrow, copy=True),
            source_pointer=_pointer(sources, n_sources),
            by_source=by_source.to(narrow),
            targets_by_source=targets[by_source].to(narrow),
        )

    @classmethod
    def from_checked(cls, edges: Tensor, n_sources: int, n_targets: int) -> "CompressedEdges":
        """Do as :meth:`from_edges` without reading a value, which would wait for an accelerator.

        Indices must be in range and targets sorted: nothing else checks them.

        Example:
            >>> CompressedEdges.from_checked(torch.tensor([[0, 1, 0], [0, 0, 1]]), 2, 2).target_pointer
            tensor([0, 2, 3])
        """
        sources, targets = edges
        narrow = _index_dtype(sources.numel(), n_sources, n_targets)
        by_source = torch.argsort(sources, stable=True)
        return cls._trusted(
            target_pointer=_counted(targets, n_targets),
            sources=sources.to(narrow, copy=True),
            source_pointer=_counted(sources, n_sources),
            by_source=by_source.to(narrow),
            targets_by_source=targets[by_source].to(narrow),
            n_sources=n_sources,
            n_targets=n_targets,
            count=sources.numel(),
        )

    @classmethod
    def _trusted(cls, **values: Tensor | int) -> "CompressedEdges":
        """Return edges of which these are known to be the attributes."""
        trusted = object.__new__(cls)
        vars(trusted).update(values)
        return trusted

    @classmethod
    def from_mask(cls, mask: Tensor) -> "CompressedEdges":
        """Compress the pairs marked by a mask of shape ``(m, n)``, whose rows are targets.

        Example:
            >>> CompressedEdges.from_mask(torch.tensor([[True, False], [True, True]])).sources
            tensor([0, 0, 1], dtype=torch.int32)
        """
        targets, sources = torch.nonzero(mask, as_tuple=True)
        return cls.from_edges(torch.stack([sources, targets]), mask.shape[1], mask.shape[0])

    def turned(self) -> "CompressedEdges":
        """Return the reversed edges; edge ``e`` of the result is edge ``by_source[e]`` of these.

        Example:
            >>> CompressedEdges.from_edges(torch.tensor([[1, 0], [0, 1]]), 2, 2).turned().sources
            tensor([1, 0], dtype=torch.int32)
        """
        return self._turned

    @functools.cached_property
    def _turned(self) -> "CompressedEdges":
        numbers = torch.arange(self.count, dtype=self.by_source.dtype, device=self.by_source.device)
        return self._trusted(  # what these have shown needs no second check
            target_pointer=self.source_pointer,
            sources=self.targets_by_source,
            source_pointer=self.target_pointer,
            by_source=torch.empty_like(numbers).scatter_(0, self.by_source.long(), numbers),
            targets_by_source=self.sources,
            n_sources=self.n_targets,
            n_targets=self.n_sources,
            count=self.count,
        )

    def matrix(self, weight: Tensor) -> Tensor:
        """Return the ``(m, n)`` matrix in compressed rows whose entries are the edges' weights."""
        self._check_again()
        pointer = self.target_pointer.to(self.sources.dtype)  # PyTorch requires the same dtype for both
        return torch.sparse_csr_tensor(
            pointer, self.sources, weight, self.shape, device=weight.device, check_invariants=False
        )

    def mask(self) -> Tensor:
        """Return which pairs have an edge, shape ``(m, n)``, bool."""
        return torch.zeros(self.shape, dtype=torch.bool, device=self.sources.device).index_put(
            (self.targets, self.sources), torch.ones((), dtype=torch.bool, device=self.sources.device)
        )

    def _check_again(self) -> None:
        """Check the indices that PyTorch's product does not check; only on the CPU, to avoid a synchronisation."""
        if self.sources.device.type == "cpu":
            checks.pointer("target_pointer", self.target_pointer, self.count)
            checks.within("sources", self.sources, self.n_sources)


def _check_rows(end: str, rows: Tensor, columns: Tensor, pointer: Tensor) -> None:
    """Check that edges are sorted by the neurons at one end, then the other, and agree with the pointer."""
    if not torch.equal(rows.long(), torch.repeat_interleave(pointer.diff())):
        raise ValueError(f"{end}_pointer must count the edges of each {end}, sorted by {end}, got other edges")
    falls = torch.nonzero((rows[1:] == rows[:-1]) & (columns[1:] < columns[:-1]))[:, 0]
    if falls.numel():
        row = int(rows[falls[0]])
        raise ValueError(f"edges of a {end} must be sorted, got {columns[rows == row].tolist()[:10]} for {end} {row}")


def _index_dtype(*counts: int) -> torch.dtype:
    """Return the narrowest dtype that can hold so many indices."""
    return torch.int32 if max(counts) <= torch.iinfo(torch.int32).max else torch.int64


def _counted(indices: Tensor, count: int) -> Tensor:
    """Return what :func:`_pointer` does; the count of a device's numbers, of unknown range, waits for it."""
    return indices.new_zeros(count + 1).scatter_add(0, indices + 1, torch.ones_like(indices)).cumsum(0)


def _pointer(indices: Tensor, count: int) -> Tensor:
    pointer = indices.new_zeros(count + 1)
    torch.cumsum(torch.bincount(indices, minlength=count), 0, out=pointer[1:])
    return pointer
