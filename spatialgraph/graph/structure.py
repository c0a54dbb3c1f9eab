"""Structure: what the neurons of a network are, and which edges exist."""

from typing import Any

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.graph.connectivity import Connectivity
from spatialgraph.graph.positions import Positions
from spatialgraph.graph.projections import Projection
from spatialgraph.graph.selection import Wirings
from spatialgraph.graph.synapses import FreeSynapses

__all__ = ["Structure"]


class Structure(nn.Module):
    """A network by its neurons and synapses; :class:`~spatialgraph.SpatialGraph` says what these weigh.

    ``positions``, ``connectivity``, ``free_synapses``, ``raw_polarity``, ``raw_grid_polarity`` and ``raw_bias`` are set
    by the subclass.
    """

    positions: Positions
    connectivity: Connectivity
    free_synapses: FreeSynapses | None
    raw_polarity: Tensor
    raw_grid_polarity: Tensor
    raw_bias: Tensor

    @property
    def dim(self) -> int:
        """Number of axes d."""
        return self.positions.dim

    @property
    def spacing(self) -> str:
        """How layers are spaced, ``"fixed"``, ``"learned"`` or ``"free"``."""
        return self.positions.spacing

    @property
    def is_input(self) -> Tensor:
        """Marks the input neurons, shape ``(N,)``, a copy."""
        return self.connectivity.is_input.clone()

    @property
    def is_output(self) -> Tensor:
        """Marks the output neurons, shape ``(N,)``, a copy."""
        return self.connectivity.is_output.clone()

    @property
    def wiring(self) -> Wirings | None:
        """The wiring that selected the edges, or one for each layer after the first; None where they were listed."""
        return self.connectivity.wiring

    @property
    def layer(self) -> Tensor:
        """Layer of each neuron, shape ``(N,)``, a copy; -1 where the network has no layers."""
        return self.connectivity.layer.clone()

    @property
    def grids(self) -> dict[int, tuple[int, ...]]:
        """Shapes of the layers that are grids, by the layer's number."""
        return self.connectivity.topology.grids

    @property
    def is_layered(self) -> bool:
        """Whether the neurons stand in layers."""
        return self.connectivity.is_layered

    @property
    def neurons(self) -> int:
        """Number of neurons N."""
        return self.connectivity.topology.layer.numel()

    @property
    def synapses(self) -> int:
        """Number of synapses E."""
        return sum(projection.synapses for projection in self.projections)

    @property
    def inputs(self) -> Tensor:
        """Numbers of the input neurons, in the order of a model's input features."""
        return torch.nonzero(self.is_input)[:, 0]

    @property
    def outputs(self) -> Tensor:
        """Numbers of the output neurons, in the order of a model's output features."""
        return torch.nonzero(self.is_output)[:, 0]

    @property
    def projections(self) -> tuple[Projection, ...]:
        """One for each generation of neurons after the inputs, then one for each layer with recurrent synapses."""
        return self.connectivity.projections

    @property
    def is_recurrent(self) -> bool:
        """Whether neurons may receive from their own layer, with one time step of delay."""
        return self.connectivity.is_recurrent

    @property
    def feed_forward_projections(self) -> tuple[Projection, ...]:
        """The projections from generation to generation."""
        return self.connectivity.located.feed_forward

    @property
    def recurrent_numbers(self) -> dict[int, int]:
        """Numbers of the recurrent projections, by the number of the feed-forward one into the same neurons."""
        return self.connectivity.located.recurrent_numbers

    @property
    def edge_index(self) -> Tensor:
        """All synapses, sources in the first row, shape ``(2, E)``.

        They are sorted by projection, then target, then source, each of these in the order of layers: hidden neurons
        come before outputs, and neurons of earlier layers before those of later ones, whatever their numbers.
        """
        return torch.cat([projection.edge_index() for projection in self.projections], dim=1)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        *args: Any,  # noqa: ANN401 - as in nn.Module
    ) -> None:
        # A saved network may have other edges than this one was built with: look first, then make room for them.
        try:
            synapses = self._synapses_of(state_dict, prefix)
        except (TypeError, ValueError) as error:
            args[-1].append(f"{prefix}connectivity: {error}")
            # With its own values in their place nothing of this network changes, whatever else is loaded.
            state_dict.update(self.state_dict(prefix=prefix, keep_vars=True))
        else:
            if self.free_synapses is not None:
                self.free_synapses.make_room(synapses)
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.connectivity.move(self.raw_bias)

    def _synapses_of(self, state_dict: dict[str, Any], prefix: str) -> int:
        """Return the number of synapses that a state brings, whose free weights and delays must be as many."""
        state = state_dict.get(f"{prefix}connectivity._extra_state")
        topology = self.connectivity.topology if state is None else self.connectivity.read(state)
        synapses = topology.synapses
        for name, own in self.named_parameters():
            if name.startswith("free_synapses."):
                checks.shape(name, state_dict.get(f"{prefix}{name}", own), (synapses,))
        return synapses

    def extra_repr(self) -> str:
        """Return what ``repr`` shows between the brackets."""
        return f"neurons={self.neurons}, synapses={self.synapses}, dim={self.dim}, spacing={self.spacing!r}"

    def __repr__(self) -> str:
        """Return a one-line description."""
        return f"{type(self).__name__}({self.extra_repr()})"
