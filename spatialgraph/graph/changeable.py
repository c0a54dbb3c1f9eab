"""Changeable: how the neurons and synapses of a network are changed."""

from collections.abc import Callable

import torch
from torch import Tensor
from typing_extensions import Self

from spatialgraph import checks
from spatialgraph.devices import draw
from spatialgraph.graph.positions import Init, initial_positions, neuron_numbers
from spatialgraph.graph.selection import Recurrence, Wirings
from spatialgraph.graph.used import check_own, replace
from spatialgraph.graph.weighted import Weighted

__all__ = ["Changeable"]


class Changeable(Weighted):
    """A network whose neurons may be placed and whose synapses may change; see :class:`~spatialgraph.SpatialGraph`."""

    init: Init

    @torch.no_grad()
    def place_(self, pos: Tensor, neurons: int | Tensor | None = None) -> Self:
        """Set positions, of anchored neurons too.

        Args:
            pos: new positions, shape ``(n, d)``; or ``(n, d - 1)`` to keep the last coordinates.
            neurons: which neurons: a layer's number, or neuron numbers or a boolean mask as a tensor; None for all.

        Returns:
            The graph itself.

        Raises:
            TypeError: if an argument is of the wrong type.
            ValueError: if the shape is wrong, a value is not finite, or the last coordinates do not fit the spacing.
            RuntimeError: if the coordinates are parametrised.

        Example:
            >>> from spatialgraph import SpatialGraph
            >>> graph = SpatialGraph.layered([2, 1], dim=2, spacing="fixed")
            >>> graph.place_(torch.tensor([[-1.0], [1.0]]), 0).pos[:2].tolist()
            [[-1.0, 0.0], [1.0, 0.0]]
        """
        index = neuron_numbers(neurons, self.layer)
        everywhere = self.positions().clone()
        checks.positions("pos", pos, rows=len(index), columns=(self.dim, self.dim - 1))
        everywhere[index, : pos.shape[1]] = pos.to(everywhere)
        check_own(self.positions, "coords", "grid_coords", "gaps")
        self.positions.place_(everywhere)
        return self

    @torch.no_grad()
    def rewire_(
        self,
        wiring: Wirings | None = None,
        generator: torch.Generator | None = None,
        *,
        recurrent: Recurrence = None,
        weights_generator: torch.Generator | None = None,
    ) -> Self:
        """Select edges again from the current positions.

        All parameters stay the same objects. Free weights and delays of synapses that stay keep their values. The state
        that an optimiser has of these two, such as moments, does not follow: take their entries out of its ``state``.
        Otherwise most optimisers raise at their next step where the number of synapses has changed; where it is the
        same, as with :class:`~spatialgraph.wiring.KNN`, the state goes to other synapses without a word.
        :class:`~spatialgraph.training.Rewire` and :class:`~spatialgraph.training.EverySteps` let it follow.

        Args:
            wiring: the wiring to use from now on, or a list with one for each layer after the first; None for what the
                network was built with (a ``state_dict`` holds edges, not the wiring that selected them).
            generator: source of random numbers for random wirings.
            recurrent: the wiring within hidden layers of a recurrent network from now on; None likewise.
            weights_generator: source of random numbers for the free weights of new synapses; None for ``generator``.

        Returns:
            The graph itself.

        Raises:
            TypeError: if ``wiring`` or ``recurrent`` is neither a wiring nor a list of them.
            ValueError: if the network has no layers, was built from listed edges and no wiring is given, or
                ``recurrent`` is given and the network is not recurrent; or if no path from an input would lead to an
                output. The network is then as before.

        Example:
            >>> from spatialgraph import SpatialGraph
            >>> from spatialgraph.wiring.wirings import KNN
            >>> SpatialGraph.layered([8, 4, 2]).rewire_(KNN(k=2))
            SpatialGraph(neurons=14, synapses=12, dim=3, spacing='learned')
        """
        self.connectivity.verify()
        drawing = generator if weights_generator is None else weights_generator
        self._change(lambda: self.connectivity.rewire_(self.positions(), wiring, recurrent, generator), drawing)
        return self

    @torch.no_grad()
    def keep_(self, synapses: Tensor) -> Self:
        """Keep some synapses and remove the others.

        Positions, polarities and biases stay the same parameters. Inputs and outputs stay what they are, also where no
        synapse is left to them.

        Args:
            synapses: marks those to keep, in the order of ``edge_index``, shape ``(E,)``, bool.

        Returns:
            The graph itself.

        Raises:
            TypeError: if ``synapses`` is not a boolean mask.
            ValueError: if its shape is wrong.

        Example:
            >>> from spatialgraph import SpatialGraph
            >>> graph = SpatialGraph.layered([2, 2])
            >>> graph.keep_(graph.lengths() < graph.lengths().max()).synapses
            3
        """
        self.connectivity.verify()
        before = self.edge_index
        return self.connect_(before[:, checks.mask("synapses", checks.tensor("synapses", synapses), before.shape[1])])

    @torch.no_grad()
    def connect_(self, edges: Tensor, generator: torch.Generator | None = None) -> Self:
        """Set which synapses exist; all else stays as in :meth:`rewire_`, whose note on optimisers holds here too.

        An averaged copy of a network follows its changes this way: after each, and before the next average,
        ``averaged.module.graph.connect_(model.graph.edge_index)``. It keeps the averages of positions, polarities and
        biases, and of the free weights of synapses that stay.

        Args:
            edges: an ``edge_index`` of shape ``(2, E)`` as in :class:`SpatialGraph`, none into inputs or from outputs.
            generator: source of random numbers for the free weights of new synapses.

        Returns:
            The graph itself.

        Raises:
            TypeError: if ``edges`` is not an int64 tensor.
            ValueError: if the edges repeat, form a cycle, do not lead to later layers, or lead into an input or out of
                an output.
            RuntimeError: if free weights or delays have been averaged over different synapses already.

        Example:
            >>> from spatialgraph import SpatialGraph
            >>> SpatialGraph.layered([3, 2]).connect_(torch.tensor([[0, 1], [3, 4]])).synapses
            2
        """
        if self.free_synapses is not None:  # values that belong to others' synapses could not be told apart any more
            self.connectivity.verify()
        self._change(lambda: self.connectivity.set(edges), generator)
        return self

    @torch.no_grad()
    def keep_neurons_(self, kept: Tensor) -> Self:
        """Keep some neurons, all that have synapses among them, and number them anew in their order.

        What belongs to the neurons that stay, and to their synapses, keeps its values, in new parameters.

        Args:
            kept: marks those to keep, at least one of each layer, shape ``(N,)``, bool.

        Returns:
            The graph itself.

        Raises:
            TypeError: if ``kept`` is not a boolean mask.
            ValueError: if its shape is wrong, a neuron with a synapse is not marked, or a layer, all inputs or all
                outputs would go.

        Example:
            >>> from spatialgraph import SpatialGraph
            >>> graph = SpatialGraph.layered([3, 4, 2])
            >>> graph = graph.keep_((graph.edge_index == 4).any(0))  # synapses to and from one hidden neuron
            >>> graph.keep_neurons_(torch.tensor([True] * 3 + [False, True, False, False] + [True] * 2))
            SpatialGraph(neurons=6, synapses=5, dim=3, spacing='learned')
        """
        self.connectivity.verify()
        self.connectivity.check_kept(kept)
        check_own(self.positions, "coords", "grid_coords", "gaps")
        check_own(self, "raw_polarity", "raw_grid_polarity", "raw_bias")
        if self.weight_mode != "free":
            replace(self, "raw_polarity", self.raw_polarity[kept[self.polarised.single]])
        replace(self, "raw_bias", self.raw_bias[kept[~self.is_input]])
        if isinstance(self.init, Tensor):
            self.init = self.init[kept.to(self.init.device)]
        self.positions.keep_neurons_(kept)
        self.connectivity.keep_neurons_(kept)
        return self

    def reset_parameters(self) -> None:
        """Draw all parameters anew, the way they were drawn at first; anchored neurons stay.

        Learnable parameters of the law get their first values again.

        Raises:
            RuntimeError: if one of them is parametrised.
        """
        check_own(self.positions, "coords", "grid_coords", "gaps")
        check_own(self, "raw_polarity", "raw_grid_polarity", "raw_bias")
        if self.free_synapses is not None:
            check_own(self.free_synapses, "weight", "delay")
        sizes = torch.bincount(self.layer).tolist() if self.is_layered else []
        grids = self.connectivity.topology.grid_cells()
        pos = initial_positions(sizes, self.dim, self.spacing, self.init, None, grids).to(self.raw_bias)
        with torch.no_grad():
            pos = torch.where(self.positions.anchored[:, None], self.positions(), pos)
            self.positions.gaps.fill_(1.0)  # as at first: a layer of anchored neurons does not say how far it stands
            self.positions.place_(pos)
        self._reset_neurons()
        self.law.restore(self.law_at_first)
        if self.free_synapses is not None:
            self.free_synapses.reset(self.edge_index, self.lengths(), self.velocity)

    @torch.no_grad()
    def _change(self, change: Callable[[], None], generator: torch.Generator | None) -> None:
        """Change the edges; free weights and delays of those that stay keep their values."""
        if self.free_synapses is None:
            change()
            return
        check_own(self.free_synapses, "weight", "delay")
        before = self.edge_index
        change()
        self.free_synapses.follow(before, self.edge_index, self.lengths(), self.velocity, generator)

    @torch.no_grad()
    def _reset_neurons(self, generator: torch.Generator | None = None) -> None:
        """Draw polarities, and set biases to 0."""
        raw = self.raw_polarity
        raw.copy_(draw(torch.randn, raw.shape, generator=generator, dtype=raw.dtype))
        if len(self.raw_grid_polarity):
            rows = self.raw_grid_polarity
            drawn = draw(torch.randn, rows.shape, generator=generator, device=rows.device, dtype=raw.dtype)
            rows.copy_(drawn * self.polarised.shares().to(rows.device))
        self.raw_bias.zero_()
