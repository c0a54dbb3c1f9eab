"""Connectivity: which neurons are inputs and outputs, which edges exist, and the projections that follow."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.projections import (
    DENSE_FROM,
    Projection,
    fold_complete,
    generations,
    make_projections,
    without_dead_ends,
)
from spatialgraph.wiring import AllToAll, Wiring

__all__ = ["Connectivity"]


class Connectivity(nn.Module):
    """The edges of a network, as buffers.

    Generations whose neurons hear all neurons before them need no list of edges; the edges of the others are listed.
    Inputs and outputs are settled at the start and stay, whatever edges come and go.

    Args:
        pos: positions that a wiring selects by, shape ``(N, d)``.
        edges: an ``edge_index`` of shape ``(2, E)`` or a wiring.
        layer: layer of each neuron, shape ``(N,)``; -1 where the network has no layers.
        generator: source of random numbers for random wirings.

    Raises:
        TypeError: if ``edges`` is of the wrong type.
        ValueError: if the edges repeat, form a cycle, or do not lead to later layers.

    Example:
        >>> Connectivity(torch.zeros(3, 2), AllToAll(), torch.tensor([0, 0, 1]), None).projections[0].synapses
        2
    """

    listed_edges: Tensor
    all_to_all: Tensor
    is_input: Tensor
    is_output: Tensor
    layer: Tensor
    senders: Tensor
    receivers: Tensor

    def __init__(self, pos: Tensor, edges: Tensor | Wiring, layer: Tensor, generator: torch.Generator | None) -> None:
        super().__init__()
        self.register_buffer("layer", layer)
        self._projections: tuple[Projection, ...] | None = None
        self._live_projections: tuple[Projection, ...] | None = None
        self._dense_from = DENSE_FROM
        if isinstance(edges, Wiring):
            self.wiring: Wiring | None = edges
            self._set_roles(None)
            self._set_edges(*self._select(pos, edges, generator))
        else:
            self.wiring = None
            edge_index = checks.edge_index(edges, layer.numel()).to(pos.device)
            self._set_roles(edge_index)
            self._set_edges(*self._fold(edge_index))

    @property
    def is_layered(self) -> bool:
        """Whether the neurons stand in layers."""
        return bool(self.layer[0] >= 0)

    @property
    def projections(self) -> tuple[Projection, ...]:
        """The stages of the computation, one for each generation of neurons after the inputs."""
        if self._projections is None:
            generation = self.layer if self.is_layered else generations(self.listed_edges, self.is_input)
            self._projections = make_projections(
                generation, self.is_output, self.listed_edges, self.all_to_all, self._dense_from
            )
        return self._projections

    @property
    def live_projections(self) -> tuple[Projection, ...]:
        """The stages without hidden neurons that no path leads from to an output."""
        if self._live_projections is None:
            self._live_projections = without_dead_ends(self.projections)
        return self._live_projections

    @property
    def dense_from(self) -> float:
        """Share of the pairs that have a synapse, from which on a projection is computed by a dense product."""
        return self._dense_from

    @dense_from.setter
    def dense_from(self, share: float) -> None:
        self._dense_from = checks.number("dense_from", share)
        self._cut()

    def rewire(self, pos: Tensor, wiring: Wiring | None, generator: torch.Generator | None) -> None:
        """Select edges again, by a new wiring or the present one."""
        wiring = self.wiring if wiring is None else wiring
        if wiring is None:
            raise ValueError("wiring must be given for a network that was built from listed edges, got None")
        if not isinstance(wiring, Wiring):
            raise TypeError(f"wiring must be a Wiring such as sg.wiring.KNN(k=32), got {type(wiring).__name__}")
        if not self.is_layered:
            raise ValueError(f"wiring must select edges layer by layer, got {wiring!r} for a network without layers")
        self._set_edges(*self._select(pos, wiring, generator))
        self.wiring = wiring

    def set(self, edges: Tensor) -> None:
        """Set which edges exist; they are no longer those of a wiring."""
        edge_index = checks.edge_index(edges, self.layer.numel()).to(self.layer.device)
        for wrong, way in (
            (self.is_input[edge_index[1]], "into an input"),
            (self.is_output[edge_index[0]], "out of an output"),
        ):
            if wrong.any():
                source, target = edge_index[:, wrong][:, 0].tolist()
                raise ValueError(f"edge_index must not lead {way}, got ({source}, {target})")
        self._set_edges(*self._fold(edge_index))
        self.wiring = None

    def keep_neurons(self, kept: Tensor) -> None:
        """Keep some neurons, all that have edges among them, and number them anew in their order.

        Args:
            kept: marks those to keep, shape ``(N,)``, bool.
        """
        number = kept.cumsum(0) - 1
        self.layer, self.is_input, self.is_output = self.layer[kept], self.is_input[kept], self.is_output[kept]
        self._number_roles()
        self._set_edges(number[self.listed_edges], self.all_to_all)

    def _set_roles(self, edge_index: Tensor | None) -> None:
        if self.is_layered:
            is_input, is_output = self.layer == 0, self.layer == self.layer.max()
        elif edge_index is None:
            raise ValueError("edges must be an edge_index for a network without layers, got a wiring")
        elif edge_index.shape[1] == 0:
            raise ValueError("edge_index must list at least one edge for a network without layers, got none")
        else:
            outgoing, incoming = (torch.bincount(ends, minlength=self.layer.numel()) for ends in edge_index)
            is_input, is_output = incoming == 0, (incoming > 0) & (outgoing == 0)
        self.register_buffer("is_input", is_input)
        self.register_buffer("is_output", is_output)
        self._number_roles()

    def _number_roles(self) -> None:
        """Number the neurons that have a polarity and those that have a bias; kept, for every forward pass asks."""
        self.register_buffer("senders", torch.nonzero(~self.is_output)[:, 0], persistent=False)
        self.register_buffer("receivers", torch.nonzero(~self.is_input)[:, 0], persistent=False)

    def _set_edges(self, listed_edges: Tensor, all_to_all: Tensor) -> None:
        self.register_buffer("listed_edges", listed_edges)
        self.register_buffer("all_to_all", all_to_all)
        self._cut()

    def _fold(self, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        if self.is_layered:
            checks.layer_order(edge_index, self.layer)
            return fold_complete(edge_index, self.layer)
        # Without layers the generations follow from the edges, so that all of them stay listed.
        depth = int(generations(edge_index, self.is_input).max())
        return edge_index, torch.zeros(depth, dtype=torch.int64, device=edge_index.device)

    def _select(self, pos: Tensor, wiring: Wiring, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Let a wiring choose edges layer by layer."""
        members = [torch.nonzero(self.layer == number)[:, 0] for number in range(int(self.layer.max()) + 1)]
        if isinstance(wiring, AllToAll):
            reach = [number if wiring.reach == "all" else 1 for number in range(1, len(members))]
            none = torch.empty(2, 0, dtype=torch.int64, device=self.layer.device)
            return none, torch.tensor(reach, device=self.layer.device)
        chosen = []
        for number, targets in enumerate(members[1:], start=1):
            sources = torch.cat(members[:number] if wiring.reach == "all" else members[number - 1 : number])
            edges = wiring.select(pos[sources], pos[targets], generator)
            chosen.append(torch.stack([sources[edges[0]], targets[edges[1]]]))
        return fold_complete(torch.cat(chosen, dim=1), self.layer)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Connectivity":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._cut()
        return self

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        *args: Any,  # noqa: ANN401 - as in nn.Module
    ) -> None:
        # A saved network may have other edges than this one was built with: make room for them.
        errors: list[str] = args[-1]
        layer, edges = state_dict.get(prefix + "layer"), state_dict.get(prefix + "listed_edges")
        if layer is not None and not torch.equal(layer.to(self.layer.device), self.layer):
            errors.append(f"{prefix}layer must be that of this network: size mismatch between saved and own layers")
        elif edges is not None and edges.numel() and not 0 <= int(edges.min()) <= int(edges.max()) < self.layer.numel():
            errors.append(f"{prefix}listed_edges must lie between 0 and {self.layer.numel() - 1}")
        else:
            for name in ("listed_edges", "all_to_all"):
                saved, own = state_dict.get(prefix + name), getattr(self, name)
                if saved is not None and saved.shape != own.shape:
                    self.register_buffer(name, torch.empty_like(saved, device=own.device))
            super()._load_from_state_dict(state_dict, prefix, *args)
            if not errors:
                self._number_roles()
                self._cut()

    def _cut(self) -> None:
        # At once, not on the first forward pass: a compiler cannot trace what follows from the edges' values.
        self._projections = self._live_projections = None
        if not self.listed_edges.is_meta:
            self._live_projections = self.live_projections
