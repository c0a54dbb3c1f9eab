"""Weighted: positions, polarities and biases of neurons; lengths, weights and delays of synapses."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional.derived import refusing
from spatialgraph.functional.mesh import check_tolerance
from spatialgraph.functional.polarity import check_polarity, polarity_of
from spatialgraph.graph.blocks import Blocks
from spatialgraph.graph.grids import Sums
from spatialgraph.graph.observer import Observer
from spatialgraph.graph.projections import Projection
from spatialgraph.graph.scales import Quantization
from spatialgraph.graph.structure import Structure
from spatialgraph.graph.transmission import Transmission
from spatialgraph.laws import Law
from spatialgraph.settings import Setting
from spatialgraph.tracing import is_observed

__all__ = ["Weighted", "learnt_settings"]


DerivedPositions = refusing(
    "DerivedPositions",
    "pos of a SpatialGraph follows from the coordinates of its neurons and the heights of its layers, so that it "
    "cannot be written to; use graph.place_(pos)",
)
DerivedPolarity = refusing(
    "DerivedPolarity",
    "polarity of a SpatialGraph is computed from graph.raw_polarity, so that it cannot be written to; change "
    "graph.raw_polarity",
)
DerivedBias = refusing(
    "DerivedBias",
    "bias of a SpatialGraph is computed from graph.raw_bias, so that it cannot be written to; change graph.raw_bias",
)


def learnt_settings(law: Law) -> dict[str, float | bool]:
    """Return the present values of a law's parameters, as :meth:`Law.restore <spatialgraph.laws.Law.restore>` takes.

    Example:
        >>> from spatialgraph.laws import InversePower
        >>> learnt_settings(InversePower(1.5, learnable=True)), learnt_settings(InversePower(1.5))
        ({'exponent': 1.5}, {})
    """
    learnt = dict(law.named_parameters())
    return {name: value for name, value in law.settings().items() if name in learnt}


class Weighted(Structure):
    """A structure with a weight for every synapse; see :class:`~spatialgraph.SpatialGraph`."""

    polarity_mode = Setting(check_polarity)
    law: Law
    law_at_first: dict[str, float | bool]
    weight_mode: str
    delay_mode: str
    grid_polarity: str
    quantization: Quantization | None = None
    _masked_share = 0.0
    _tolerance: float | None = None
    _observer: Observer | None = None

    @property
    def gain(self) -> float:
        """Constant factor on all weights; a ``state_dict`` holds it, for its default may follow from positions."""
        return self._gain

    @gain.setter
    def gain(self, gain: float) -> None:
        self._gain = checks.number("gain", gain)
        self.connectivity.mark(self._gain, self._masked_share)

    @property
    def masked_share(self) -> float:
        """Share of each projection's synapses, those of the smallest weights in a pass, that are masked.

        They weigh 0 in ``weights()`` and wherever the network is saved or exported; a ``state_dict`` holds the share.
        They still exist: one may be unmasked in the next pass. See :class:`~spatialgraph.PruneWhileTraining`.
        """
        return self._masked_share

    @masked_share.setter
    def masked_share(self, share: float) -> None:
        self._masked_share = checks.between("masked_share", share, 0.0, 1.0)
        self.connectivity.mark(self._gain, self._masked_share)

    @property
    def velocity(self) -> float | None:
        """Length units that a spike travels in a time step; None for no delays."""
        return self._velocity

    @velocity.setter
    def velocity(self, velocity: float | None) -> None:
        if velocity is None and self.delay_mode == "free":
            raise ValueError(
                "velocity must be given for delay_mode='free', whose first values are those of the lengths, got None"
            )
        self._velocity = None if velocity is None else checks.positive("velocity", velocity)

    @property
    def tolerance(self) -> float | None:
        """The largest relative error of sums over all-to-all projections; None for that of rounding."""
        return self._tolerance

    @tolerance.setter
    def tolerance(self, tolerance: float | None) -> None:
        self._tolerance = None if tolerance is None else check_tolerance(tolerance)

    def get_extra_state(self) -> Tensor:
        """Return the gain and the masked share."""
        return torch.tensor([self.gain, self.masked_share], dtype=torch.float64, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Adopt the gain and the masked share of a ``state_dict``; an older one has no share, which then stays."""
        if checks.tensor("gain and masked_share", state).shape not in ((1,), (2,)):
            raise ValueError(f"gain and masked_share must have shape (2,), got {tuple(state.shape)}")
        gain, *shares = state.tolist()
        shares = [checks.between("masked_share", share, 0.0, 1.0) for share in shares]
        self.gain = gain
        for share in shares:
            self.masked_share = share

    @property
    def pos(self) -> Tensor:
        """Positions of all neurons, shape ``(N, d)``, in length units, differentiable; :meth:`place_` sets them."""
        pos: Tensor = self.positions()
        return pos if pos is self.positions.coords or is_observed(pos) else pos.as_subclass(DerivedPositions)

    @property
    def polarity(self) -> Tensor:
        """What multiplies each neuron's output, shape ``(N,)``; 0 for outputs, which have none, 1 with free weights."""
        polarity = self._polarity()
        return polarity if is_observed(polarity) else polarity.as_subclass(DerivedPolarity)

    @property
    def bias(self) -> Tensor:
        """What is added to each neuron's input, shape ``(N,)``; 0 for inputs, which have none."""
        bias = self._bias()
        return bias if is_observed(bias) else bias.as_subclass(DerivedBias)

    def lengths(self) -> Tensor:
        """Return the Euclidean length of each synapse in the order of ``edge_index``, shape ``(E,)``, in length units.

        Example:
            >>> from spatialgraph import SpatialGraph
            >>> graph = SpatialGraph(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0], [1]]))
            >>> graph.lengths().detach()
            tensor([5.])
        """
        projections = self.projections  # free weights and delays may not be there yet, as while edges change
        pos = projections[0].layout.split(self.positions())
        return torch.cat([p.engine.lengths(p.of_sources(pos), pos[p.block]).flatten() for p in projections])

    def weights(self) -> Tensor:
        r"""Return the signed weight :math:`\gamma\, s_i\, w(r_{ij})` of each synapse, shape ``(E,)``, as models use it.

        Masked synapses (see :attr:`masked_share`) weigh 0.

        Example:
            >>> from spatialgraph import SpatialGraph
            >>> graph = SpatialGraph(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0], [1]]), gain=10.0)
            >>> bool(torch.isclose(graph.weights(), 2.0 * graph.polarity[0]))
            True
        """
        self.connectivity.verify()
        return self._joined(Transmission.weight)

    def delays(self) -> Tensor:
        r"""Return the delay :math:`r_{ij} / v` of each synapse in time steps, shape ``(E,)``; 0 without a velocity.

        That of a recurrent synapse is :math:`\max(1, r_{ij} / v)`, and 1 without a velocity.

        Example:
            >>> from spatialgraph import SpatialGraph
            >>> pos = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
            >>> SpatialGraph(pos, torch.tensor([[0], [1]]), velocity=2.0).delays().detach()
            tensor([2.5000])
        """
        return self._joined(Transmission.delay)

    def transmission(self, projections: tuple[Projection, ...] | None = None) -> Transmission:
        """Return what carries activations through the projections in one pass, differentiable.

        Args:
            projections: those to compute; None for all of the network's.

        Example:
            >>> from spatialgraph import SpatialGraph
            >>> SpatialGraph.layered([3, 2]).transmission().weight(0).shape
            torch.Size([2, 3])
        """
        projections = self.projections if projections is None else projections
        blocks = projections[0].layout
        return Transmission(
            projections,
            pos=blocks.split(self.positions()),
            scale=self._scales(blocks),
            bias=self._biases(blocks),
            law=self.law,
            free=self.free_synapses,
            gain=self.gain,
            velocity=self.velocity,
            masked_share=self.masked_share,
            tolerance=self.tolerance,
            observer=self.observer,
        )

    @property
    def observer(self) -> Observer | None:
        """What records the passes of this thread, within :meth:`observed`; None for nothing."""
        observer = self._observer
        return observer if observer is None or observer.is_present else None

    @contextlib.contextmanager
    def observed(self) -> Iterator[Observer]:
        """Record what the projections carry in the passes of this thread.

        Raises:
            RuntimeError: if another observer is at work.

        Example:
            >>> from spatialgraph import SpatialGraph
            >>> graph = SpatialGraph.layered([3, 2])
            >>> with graph.observed() as observer:
            ...     y = graph.transmission().send(0, torch.ones(5, 3))
            >>> len(observer.sendings), graph.observer
            (1, None)
        """
        if self._observer is not None:
            raise RuntimeError("a SpatialGraph must have one observer at a time, got a second")
        self._observer = Observer()
        try:
            yield self._observer
        finally:
            del self._observer

    def _polarity(self) -> Tensor:
        return self._spread(*self._polarities())

    def _polarities(self) -> tuple[Tensor, Tensor]:
        """Return the polarities of the neurons that have one, and the numbers of these."""
        if self.weight_mode == "free":
            senders = self.connectivity.located.senders
            return self.raw_bias.new_ones(len(senders)), senders
        sending = self.polarised
        raw = sending.values(self.raw_polarity, self.raw_grid_polarity)
        return polarity_of(raw, self.polarity_mode), sending.members

    def _scales(self, blocks: Blocks) -> Sequence[Tensor]:
        """Return polarity times gain of the neurons of each block that sends."""
        polarity, members = self._polarities()
        scale = self.gain * polarity
        parts = blocks.split_senders(scale) if members is self.connectivity.located.senders else None
        return blocks.split(self._spread(scale, members)) if parts is None else parts

    def _biases(self, blocks: Blocks) -> Sequence[Tensor]:
        """Return the biases of the neurons of each block after the inputs."""
        parts = blocks.split_receivers(self.raw_bias)
        return blocks.split(self._bias())[1:] if parts is None else parts

    @property
    def polarised(self) -> Sums:
        """The neurons with a polarity, and which of these have a sum of numbers of their row and column behind it."""
        located = self.connectivity.located
        return located.sending if self.grid_polarity == "axes" else Sums(located.senders, (), located.senders)

    def behind_polarity(self) -> Tensor:
        """Return the number behind each neuron's polarity, shape ``(N,)``; 0 for outputs, which have none."""
        sending = self.polarised
        return self._spread(sending.values(self.raw_polarity, self.raw_grid_polarity), sending.members)

    def _bias(self) -> Tensor:
        return self._spread(self.raw_bias, self.connectivity.located.receivers)

    def _spread(self, values: Tensor, members: Tensor) -> Tensor:
        """Lay the members' values out over all neurons, with 0 for the others."""
        return values.new_zeros(self.neurons).scatter(0, members, values)

    def _joined(self, values: Callable[[Transmission, int], Tensor]) -> Tensor:
        """Return values of all synapses, from a method of the transmission that takes a projection's number."""
        transmission = self.transmission()
        return torch.cat([values(transmission, number).flatten() for number in range(len(self.projections))])
