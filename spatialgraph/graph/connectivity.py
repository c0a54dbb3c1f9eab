"""Connectivity: which neurons are inputs and outputs, which edges exist, and the projections that follow."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.devices import on_cpu
from spatialgraph.graph.located import Located
from spatialgraph.graph.projections import Projection, without_dead_ends
from spatialgraph.graph.reach import check_outputs
from spatialgraph.graph.selection import Recurrence, Wirings, check_recurrence, check_wirings, is_wiring, select
from spatialgraph.graph.topology import FINGERPRINT_BITS, Topology, fingerprint
from spatialgraph.tracing import PLAIN, is_traced
from spatialgraph.wiring.wirings import Wiring

__all__ = ["Connectivity"]


class Connectivity(nn.Module):
    """The neuron numbers and edges of a network: their only owner.

    Generations whose neurons receive from all neurons before them need no list of edges; the others' edges are listed.
    Inputs and outputs are settled at the start and stay, whatever edges come and go.

    All this is one :class:`~spatialgraph.graph.topology.Topology`, no buffer, so that nothing that averages, broadcasts
    or casts buffers can change a part of it; ``state_dict`` holds its bytes. The one buffer, ``fingerprint``, tells
    whether the parameters and buffers here are those of a network of another structure, which ``verify`` refuses.

    Args:
        pos: positions that a wiring selects by, shape ``(N, d)``.
        edges: an ``edge_index`` of shape ``(2, E)``, a wiring, a list with one for each layer after the first, or the
            whole topology.
        layer: layer of each neuron, shape ``(N,)``; -1 where the network has no layers.
        generator: source of random numbers for random wirings.
        anchored: marks the neurons that never move, shape ``(N,)``; None for none.
        recurrent: wirings within the hidden layers; None for none.
        grids: shapes of the layers whose neurons are the cells of a grid, by the layer's number; None for none.

    Raises:
        TypeError: if ``edges`` or ``recurrent`` is of the wrong type.
        ValueError: if the edges repeat, form a cycle, lead to earlier layers or, selected by a wiring, to no output.

    Example:
        >>> from spatialgraph.wiring import AllToAll
        >>> Connectivity(torch.zeros(3, 2), AllToAll(), torch.tensor([0, 0, 1]), None).projections[0].synapses
        2
    """

    fingerprint: Tensor
    _live: tuple[Projection, ...] | None
    _located: Located
    _compared: tuple[Tensor, int] | None = None

    @on_cpu
    def __init__(
        self,
        pos: Tensor,
        edges: Tensor | Wirings | Topology,
        layer: Tensor,
        generator: torch.Generator | None,
        anchored: Tensor | None = None,
        recurrent: Recurrence = None,
        grids: Mapping[int, tuple[int, ...]] | None = None,
    ) -> None:
        super().__init__()
        self._gain, self._masked_share = 1.0, 0.0
        self.register_buffer("fingerprint", pos.new_zeros(FINGERPRINT_BITS), persistent=False)
        layer = layer.cpu().clone()
        none = torch.zeros_like(layer, dtype=torch.bool)
        anchored = none if anchored is None else anchored.cpu().clone()
        self.wiring: Wirings | None = None
        self.recurrence = check_recurrence(recurrent, layer)
        if is_wiring(edges):
            roles = _roles(layer, None)
            wirings = check_wirings(edges, layer)
            self.wiring = edges if isinstance(edges, Wiring) else wirings
            neurons = Topology.without_edges(layer, *roles, anchored, bool(self.recurrence)).with_grids(grids or {})
            neurons.check_grids()
            self._hold(check_outputs("wiring", select(pos, wirings, self.recurrence, neurons, generator)))
        elif self.recurrence:
            raise TypeError(f"edges must be a wiring where recurrent is one, got {type(edges).__name__}")
        elif isinstance(edges, Topology):
            self._hold(edges)
        else:
            edge_index = checks.edge_index(edges, layer.numel()).cpu()
            is_recurrent = bool((layer[edge_index[0]] == layer[edge_index[1]]).any() and layer[0] >= 0)
            neurons = Topology.without_edges(layer, *_roles(layer, edge_index), anchored, is_recurrent)
            neurons = neurons.with_grids(grids or {})
            neurons.check_grids()
            self._hold(_connected(neurons, edge_index))

    # What there is ---------------------------------------------------------------------------------------------------

    @property
    def topology(self) -> Topology:
        """The neuron numbers and edges, on the CPU."""
        return self._topology

    @property
    def located(self) -> Located:
        """What follows from the topology, on the device of the parameters."""
        if self._located.fingerprint.device != self._device:  # as where a call brings parameters of its own
            self._locate()
        return self._located

    @property
    def layer(self) -> Tensor:
        """Layer of each neuron, shape ``(N,)``; -1 where the network has no layers."""
        return self.located.topology.layer

    @property
    def is_input(self) -> Tensor:
        """Marks the input neurons, shape ``(N,)``."""
        return self.located.topology.is_input

    @property
    def is_output(self) -> Tensor:
        """Marks the output neurons, shape ``(N,)``."""
        return self.located.topology.is_output

    @property
    def anchored(self) -> Tensor:
        """Marks the neurons that never move, shape ``(N,)``."""
        return self.located.topology.anchored

    @property
    def is_layered(self) -> bool:
        """Whether the neurons stand in layers."""
        return self._is_layered

    @property
    def projections(self) -> tuple[Projection, ...]:
        """One for each generation of neurons after the inputs, then the recurrent ones."""
        return self.located.projections

    @property
    def is_recurrent(self) -> bool:
        """Whether neurons may receive from their own layer."""
        return self._topology.is_recurrent

    @property
    def live_projections(self) -> tuple[Projection, ...]:
        """The stages without hidden neurons that no path leads from to an output.

        They are found where they are first asked for; a tracer, which cannot find them, is given all stages.
        """
        if self._live is None:
            if is_traced() or self.is_recurrent:
                return self.projections
            with torch.inference_mode(False):
                self._live = without_dead_ends(self.projections)
        return self._live

    # Changes ---------------------------------------------------------------------------------------------------------

    @on_cpu
    def rewire_(
        self,
        pos: Tensor,
        wiring: Wirings | None,
        recurrent: Recurrence,
        generator: torch.Generator | None,
    ) -> None:
        """Select edges again, by new wirings or the present ones."""
        wiring = self.wiring if wiring is None else wiring
        if wiring is None:
            raise ValueError("wiring must be given for a network that was built from listed edges, got None")
        wirings = check_wirings(wiring, self._topology.layer)
        recurrence = self.recurrence if recurrent is None else check_recurrence(recurrent, self._topology.layer)
        if bool(recurrence) != self.is_recurrent:
            kind = "a recurrent network" if self.is_recurrent else "a network that is not recurrent"
            raise ValueError(f"recurrent must be {'given' if self.is_recurrent else 'None'} for {kind}")
        chosen = check_outputs("wiring", select(pos, wirings, recurrence, self._topology, generator))
        if not chosen.equals(self._topology):  # to cut projections anew would take most of the time
            self._hold(chosen)
        self.wiring, self.recurrence = wiring if isinstance(wiring, Wiring) else wirings, recurrence

    @on_cpu
    def set(self, edges: Tensor) -> None:
        """Set which edges exist; they are no longer those of a wiring."""
        topology = self._topology
        edge_index = checks.edge_index(edges, topology.layer.numel()).cpu()
        for wrong, way in (
            (topology.is_input[edge_index[1]], "into an input"),
            (topology.is_output[edge_index[0]], "out of an output"),
        ):
            if wrong.any():
                source, target = edge_index[:, wrong][:, 0].tolist()
                raise ValueError(f"edge_index must not lead {way}, got ({source}, {target})")
        self._hold(_connected(topology, edge_index))
        self.wiring, self.recurrence = None, ()

    @on_cpu
    def check_kept(self, kept: Tensor) -> None:
        """Raise unless :meth:`keep_neurons_` may keep these neurons and no others."""
        topology, kept = self._topology, checks.mask("kept", checks.tensor("kept", kept), self.layer.numel()).cpu()
        dropped = topology.has_edge() & ~kept
        if dropped.any():
            raise ValueError(
                f"kept must mark every neuron with a synapse, got False for neuron {int(dropped.nonzero()[0])}"
            )
        for name in ("is_input", "is_output"):
            if not kept[getattr(topology, name)].any():
                raise ValueError(f"kept must mark a neuron of {name}, got none")
        if topology.is_layered:
            left = torch.bincount(topology.layer[kept], minlength=int(topology.layer.max()) + 1)
            if not left.all():
                raise ValueError(f"graph must keep a neuron in each layer, got none of layer {int(left.argmin())}")

    @on_cpu
    def keep_neurons_(self, kept: Tensor) -> None:
        """Keep some neurons, all that have edges among them, and number them anew in their order.

        Args:
            kept: marks those to keep, shape ``(N,)``, bool.
        """
        self._hold(self._topology.kept(kept.cpu()))

    @on_cpu
    def read(self, state: Tensor) -> Topology:
        """Read the topology of a ``state_dict``; it must be one that this network's parameters fit.

        Raises:
            TypeError: if ``state`` is not a tensor.
            ValueError: if it is damaged, no valid structure, of other neurons, or recurrent where this one is not.
        """
        topology = Topology.decode(state)
        if not torch.equal(topology.layer, self._topology.layer):
            theirs, ours = (torch.bincount(each.layer + 1).tolist() for each in (topology, self._topology))
            raise ValueError(
                "layer must be that of this network: size mismatch between saved and own layers, got sizes "
                f"{theirs[1:] or theirs}, not {ours[1:] or ours}"
            )
        if topology.is_recurrent != self.is_recurrent:  # models respond to the two kinds in other ways
            kinds = [f"{'' if r else 'no '}recurrent synapses" for r in (self.is_recurrent, topology.is_recurrent)]
            raise ValueError(f"structure must have {kinds[0]}, as this network has, got one with {kinds[1]}")
        if topology.grids != self._topology.grids:
            shapes = f"{topology.grids} and {self._topology.grids}"
            raise ValueError(f"grids must be those of this network: size mismatch between {shapes}")
        for name in ("is_input", "is_output", "anchored"):
            saved, own = (int(getattr(each, name).sum()) for each in (topology, self._topology))
            if saved != own:
                raise ValueError(f"{name} must mark as many neurons as here: size mismatch between {saved} and {own}")
        return topology

    @on_cpu
    def get_extra_state(self) -> Tensor:
        """Return the topology as bytes."""
        return self._topology.encode()

    def set_extra_state(self, state: Tensor) -> None:
        """Adopt the topology of a ``state_dict``."""
        self._hold(self.read(state))

    # Tripwire --------------------------------------------------------------------------------------------------------

    def verify(self) -> None:
        """Raise where the buffers of a network of another structure, gain or masked share have been brought here.

        Averaging copies (``torch.optim.swa_utils.AveragedModel``) and processes that train together
        (``DistributedDataParallel``) are given parameters and buffers, but neither edges nor these two numbers.

        Raises:
            RuntimeError: if one of the three is not that of the network whose parameters are here.
        """
        if not (is_traced() or self._agrees()):
            raise RuntimeError(
                "the structure, gain or masked share of this copy is not that of the network whose parameters it was "
                "given: after each change of synapses call graph.connect_(other.edge_index) on the copy, or "
                "sg.synchronize_(model) in every process; set graph.gain and graph.masked_share alike"
            )

    def _agrees(self) -> bool:
        """Tell whether the fingerprint is that of the own topology, also where values were averaged or are NaN."""
        values = self.fingerprint
        while torch._C._functorch.is_functorch_wrapped_tensor(values):
            values = torch._C._functorch.get_unwrapped(values)
        if _has_no_values(values) or self._is_compared(values):
            return True
        signature = self._signature
        if values.dtype == signature.dtype and values.device == signature.device and torch.equal(values, signature):
            self._compared = values, 0 if values.is_inference() else values._version
            return True
        # Averaging rounds, so that a one may not quite be one; but the mean of zeros is zero, of a zero and a one not.
        return bool(((values != 0) == self.located.fingerprint).all())

    def _is_compared(self, values: Tensor) -> bool:
        """Tell whether a buffer on an accelerator is the one that agreed last: to compare again would wait for it."""
        if values.device.type == "cpu" or self._compared is None or values.is_inference():
            return False
        return values is self._compared[0] and values._version == self._compared[1]

    @on_cpu
    def mark(self, gain: float, masked_share: float) -> None:
        """Let the fingerprint tell networks of other numbers apart too, which no process or average hands on."""
        self._gain, self._masked_share = gain, masked_share
        with torch.inference_mode(False):
            fingerprint = self._fingerprint()
        self._located = dataclasses.replace(self._located, fingerprint=fingerprint)
        self._sign()

    def _fingerprint(self) -> Tensor:
        return fingerprint(self._digest, self._gain, self._masked_share, device=self._device)

    def _sign(self) -> None:
        """Write the fingerprint of the own topology; in a new tensor, for the old one may be one of inference mode."""
        with torch.inference_mode(False):
            self._buffers["fingerprint"] = self._located.fingerprint.to(self.fingerprint, copy=True)
            self._signature = self.fingerprint.clone()
            self._compared = self.fingerprint, self.fingerprint._version

    # Keeping ---------------------------------------------------------------------------------------------------------

    @property
    def _device(self) -> torch.device:
        device = self.fingerprint.device
        return torch.device("cpu") if device.type == "meta" else device

    @on_cpu
    def _hold(self, topology: Topology) -> None:
        """Take a topology; projections are cut at once, for a compiler cannot trace what follows from edges' values."""
        self._topology = topology
        self._locate()
        self._sign()

    @on_cpu
    def _locate(self) -> None:
        # Numbers made in inference mode could not be used for training later.
        with torch.inference_mode(False):
            values = {n: v.clone() if v.is_inference() else v for n, v in vars(self._topology).items()}
            self._topology = Topology(**values)
            self._is_layered = self._topology.is_layered
            self._digest = self._topology.digest()
            self._located = Located.of(self._topology, self._fingerprint(), self._device)
            self._live = None

    def move(self, parameter: Tensor) -> None:
        """Go to the device of the parameters, where these were assigned rather than moved."""
        if self.fingerprint.device != parameter.device:
            self._apply(lambda values: torch.empty_like(values, device=parameter.device))

    @on_cpu
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Connectivity":
        agrees = self._agrees()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self._located.fingerprint.device != self._device:
            self._locate()
        if agrees:  # to_empty() and moves from the meta device leave any numbers; what was wrong stays wrong
            self._sign()
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave what follows from the topology out of copies and pickles."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_located", "_live", "_compared")}

    @on_cpu
    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what a copy or pickle holds, and cut projections anew."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._topology = Topology(**{name: values.cpu() for name, values in vars(self._topology).items()})
        self._locate()


def _has_no_values(values: Tensor) -> bool:
    """Tell whether a tensor stands for values that are not known here, as while tracing."""
    if type(values) not in PLAIN or values.is_meta or torch._C._len_torch_dispatch_stack():
        return True
    return values.is_cuda and torch.cuda.is_current_stream_capturing()


def _roles(layer: Tensor, edge_index: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return which neurons are inputs and outputs."""
    if layer[0] >= 0:
        return layer == 0, layer == layer.max()
    if edge_index is None:
        raise ValueError("edges must be an edge_index for a network without layers, got a wiring")
    if edge_index.shape[1] == 0:
        raise ValueError("edge_index must list at least one edge for a network without layers, got none")
    outgoing, incoming = (torch.bincount(ends, minlength=layer.numel()) for ends in edge_index)
    return incoming == 0, (incoming > 0) & (outgoing == 0)


def _connected(topology: Topology, edge_index: Tensor) -> Topology:
    if topology.is_layered:
        checks.layer_order(edge_index, topology.layer, topology.is_recurrent)
    return topology.connected(edge_index)
