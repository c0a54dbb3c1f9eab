"""SpatialGraph: neurons with learnable positions and the synapses between them."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional.polarity import check_polarity, polarity_of
from spatialgraph.graph.connectivity import Connectivity
from spatialgraph.graph.fields import NetworkFields, edges_of_roles
from spatialgraph.graph.networkx_reader import read_networkx
from spatialgraph.graph.positions import SPACINGS, Init, Positions, anchor_mask, initial_positions, neuron_numbers
from spatialgraph.graph.structure import Structure
from spatialgraph.graph.synapses import FreeSynapses, projection_lengths
from spatialgraph.laws import Law, make_law
from spatialgraph.pyg import Data
from spatialgraph.settings import Setting
from spatialgraph.used import freeze, hold
from spatialgraph.wiring.wirings import AllToAll, Wiring

if TYPE_CHECKING:
    import networkx

__all__ = ["SpatialGraph"]


class SpatialGraph(Structure):
    r"""A feed-forward network whose neurons have positions and whose synapses' weights follow from their lengths.

    .. math:: w_{ij} = \gamma\, s_i\, w(|p_i - p_j|)

    Here :math:`w` is the law, :math:`s_i` the polarity of the source and :math:`\gamma` a constant gain. The idea is
    that of `Training Neural Networks by Optimizing Neuron Positions <https://arxiv.org/abs/2506.13410>`_ (Erb et al.,
    2025), Eq. 1. All neurons but outputs have a polarity, all but inputs a bias.

    Args:
        pos: positions to start from, shape ``(N, d)``, in length units.
        edges: which synapses exist: an ``edge_index`` of shape ``(2, E)``, sources in the first row, without cycles; or
            a wiring, which selects them layer by layer.
        layer: layer of each neuron, shape ``(N,)``, counted from 0; edges lead to later layers only. The first layer
            is the input, the last the output. None for a network without layers: neurons without incoming edges are
            inputs, those without outgoing edges are outputs.
        spacing: ``"fixed"`` (layers stand 1 apart along the last axis), ``"learned"`` (one learnable distance for each
            gap) or ``"free"`` (every coordinate learnable; the only one without layers).
        polarity: ``"graded"`` (any real number) or ``"binary"`` (a steep sigmoid between -1 and 1,
            :math:`\tanh(5 v)` of a learnable :math:`v`).
        law: from length to weight: ``"inverse_distance"``, ``"inverse_power"``, ``"gaussian"``, ``"yukawa"`` or a
            :class:`~spatialgraph.laws.Law`.
        gain: constant factor :math:`\gamma` on all weights.
        weights: where weights come from: ``"law"``, as above; ``"free"`` (a learnable number for each synapse, and no
            polarities); or ``"both"`` (a learnable factor for each synapse on top of the law).
        velocity: length units that a spike travels in a time step, so that a synapse delays by ``length / velocity``
            steps; None for no delays.
        delays: ``"length"``, as above, or ``"free"`` (a learnable number for each synapse that starts from its length).
        anchored: neurons that keep their positions and have no parameters for them: layer numbers as a list, or a
            boolean mask of shape ``(N,)``.
        generator: source of random numbers for polarities and random wirings.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument breaks a rule; the message names argument, rule and value.

    Example:
        >>> graph = SpatialGraph(torch.randn(3, 2), torch.tensor([[0, 0, 1], [1, 2, 2]]))
        >>> graph
        SpatialGraph(neurons=3, synapses=3, dim=2, spacing='free')
        >>> graph.lengths().shape
        torch.Size([3])
    """

    gain = Setting(checks.number)
    polarity_kind = Setting(check_polarity)

    def __init__(
        self,
        pos: Tensor,
        edges: Tensor | Wiring,
        *,
        layer: Tensor | None = None,
        spacing: str = "free",
        polarity: str = "graded",
        law: str | Law = "inverse_distance",
        gain: float = 1.0,
        weights: str = "law",
        velocity: float | None = None,
        delays: str = "length",
        anchored: Sequence[int] | Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        checks.positions("pos", pos)
        checks.choice("spacing", spacing, SPACINGS if layer is not None else ("free",))
        self.polarity_kind = check_polarity("polarity", polarity)
        self.gain = gain
        self.law = (freeze(copy.deepcopy(make_law(law))) if weights == "free" else make_law(law)).to(pos)
        self.free_synapses = FreeSynapses(weights, velocity, delays)
        count = pos.shape[0]
        layer = pos.new_full((count,), -1, dtype=torch.int64) if layer is None else checks.layers(layer, count)
        self.connectivity = Connectivity(pos.detach(), edges, layer, generator, anchor_mask(anchored, layer))
        self.positions = Positions(pos.detach(), self.connectivity, spacing, self.free_synapses.follow_positions)
        self.init: Init = pos.detach().clone()
        located = self.connectivity.located
        hold(self, "raw_polarity", pos.new_empty(0 if weights == "free" else len(located.senders)), is_used=True)
        hold(self, "raw_bias", pos.new_empty(len(located.receivers)), is_used=True)
        self._reset_other_parameters(generator)

    @classmethod
    def layered(
        cls,
        sizes: Sequence[int],
        dim: int = 3,
        *,
        wiring: Wiring | None = None,
        spacing: str = "learned",
        init: Init = "normal",
        generator: torch.Generator | None = None,
        **options: Any,  # noqa: ANN401 - passed on to the constructor
    ) -> "SpatialGraph":
        """Build a network of layers, all-to-all unless a wiring says otherwise.

        Args:
            sizes: number of neurons in each layer, inputs first.
            dim: number of axes d; layers are spaced along the last one.
            wiring: which synapses exist; None for all-to-all.
            spacing: as in :class:`SpatialGraph`.
            init: where neurons start: ``"normal"``, ``"uniform"``, ``"grid"``, a tensor of shape ``(N, d)``, or a
                function of ``(layer, n, axes)`` that returns coordinates of shape ``(n, axes)``, ``axes = d - 1``.
            generator: source of random numbers.
            **options: ``polarity``, ``law``, ``gain``, ``weights``, ``velocity``, ``delays``, ``anchored`` as in
                :class:`SpatialGraph`.

        Raises:
            TypeError: if an argument is of the wrong type.
            ValueError: if an argument breaks a rule.

        Example:
            >>> SpatialGraph.layered([784, 2048, 10])
            SpatialGraph(neurons=2842, synapses=1626112, dim=3, spacing='learned')
        """
        sizes = checks.sizes(sizes)
        dim = checks.integer("dim", dim, minimum=1)
        checks.choice("spacing", spacing, SPACINGS)
        wiring = AllToAll() if wiring is None else wiring
        if not isinstance(wiring, Wiring):
            raise TypeError(f"wiring must be a Wiring such as sg.wiring.KNN(k=32), got {type(wiring).__name__}")
        pos = initial_positions(sizes, dim, spacing, init, generator)
        checks.shape("init", pos, (sum(sizes), dim))
        layer = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)).to(pos.device)
        graph = cls(pos, wiring, layer=layer, spacing=spacing, generator=generator, **options)
        graph.init = init
        return graph

    @classmethod
    def from_networkx(cls, graph: "networkx.DiGraph") -> "SpatialGraph":
        """Build a network from any directed acyclic graph whose nodes have positions.

        Nodes carry ``x``, ``y``, ``z``, ``p3``, ... (or ``pos`` where none has these), and what
        :func:`~spatialgraph.to_networkx` writes, whose output is read back without loss. Numbers are those of Python or
        NumPy.

        A missing value has a default for that node or edge alone: ``bias`` 0; ``anchored`` False; ``polarity`` drawn
        from N(0, 1) by PyTorch's global generator, as in a new network; ``is_input`` and ``is_output``, read where
        there are no layers, by the edges; ``free_weight`` and ``free_delay`` as in a new network. All nodes have a
        ``layer`` or none, or -1. Missing settings are those of :class:`SpatialGraph`, the dtype float32; gaps follow
        from the nodes. Not read are the polarity of outputs, the bias of inputs, and ``weight``, ``length`` and
        ``delay`` of edges, which follow from the rest.

        Args:
            graph: the directed graph. Neurons are numbered in the order of its nodes.

        Raises:
            TypeError: if ``graph`` is not a directed networkx graph, or a setting is of the wrong type.
            ValueError: if a node lacks a coordinate, the edges form a cycle, values contradict each other, or a value
                breaks a rule; the message names the node or edge, its attribute, the rule and the value.

        Example:
            >>> import networkx as nx
            >>> g = nx.DiGraph([("a", "b"), ("a", "c")])
            >>> nx.set_node_attributes(g, {"a": 0.0, "b": 1.0, "c": 2.0}, "x")
            >>> SpatialGraph.from_networkx(g).weights()
            tensor([...], grad_fn=<...>)
        """
        return cls.from_fields(read_networkx(graph))

    @classmethod
    def from_fields(cls, fields: NetworkFields) -> "SpatialGraph":
        """Build a network from the plain tensors that a reader of graphs or files returns.

        Args:
            fields: positions, edges, parameters and settings.

        Raises:
            ValueError: if they break a rule of :class:`SpatialGraph`.

        Example:
            >>> import numpy as np
            >>> from spatialgraph.graph.fields import make_fields
            >>> SpatialGraph.from_fields(make_fields({}, np.eye(2), torch.tensor([[0], [1]]), {}, {}))
            SpatialGraph(neurons=2, synapses=1, dim=2, spacing='free')
        """
        edges = fields.edge_index
        if fields.is_input is not None and fields.is_output is not None:
            edges = edges_of_roles(fields.is_input, fields.is_output)
        result = cls(
            fields.pos,
            edges,
            layer=fields.layer,
            anchored=fields.anchored,
            law=fields.law,
            **fields.options,
        )
        if edges is not fields.edge_index:
            result.connect(fields.edge_index)
        result._restore(fields)
        return result

    # State -----------------------------------------------------------------------------------------------------------

    @property
    def pos(self) -> Tensor:
        """Positions of all neurons, shape ``(N, d)``, in length units, differentiable."""
        pos: Tensor = self.positions()
        return pos

    @property
    def polarity(self) -> Tensor:
        """What multiplies each neuron's output, shape ``(N,)``; 0 for outputs, which have none, 1 with free weights."""
        senders = self.connectivity.located.senders
        if self.free_synapses.weight_kind == "free":
            return self._spread(self.raw_bias.new_ones(len(senders)), senders)
        return self._spread(polarity_of(self.raw_polarity, self.polarity_kind), senders)

    @property
    def bias(self) -> Tensor:
        """What is added to each neuron's input, shape ``(N,)``; 0 for inputs, which have none."""
        return self._spread(self.raw_bias, self.connectivity.located.receivers)

    def lengths(self) -> Tensor:
        """Return the Euclidean length of each synapse in the order of ``edge_index``, shape ``(E,)``, in length units.

        Example:
            >>> graph = SpatialGraph(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0], [1]]))
            >>> graph.lengths().detach()
            tensor([5.])
        """
        pos = self.pos
        return torch.cat([projection_lengths(pos, projection).flatten() for projection in self.projections])

    def weights(self) -> Tensor:
        r"""Return the signed weight :math:`\gamma\, s_i\, w(r_{ij})` of each synapse, shape ``(E,)``.

        Example:
            >>> graph = SpatialGraph(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0], [1]]), gain=10.0)
            >>> bool(torch.isclose(graph.weights(), 2.0 * graph.polarity[0]))
            True
        """
        self.connectivity.verify()
        free = self.free_synapses.weight
        if free is not None and self.free_synapses.weight_kind == "free":
            return self.gain * free
        unsigned: Tensor = self.law(self.lengths())
        weights = self.gain * self.polarity[self.edge_index[0]] * unsigned
        return weights if free is None else weights * free

    def delays(self) -> Tensor:
        r"""Return the delay :math:`r_{ij} / v` of each synapse in time steps, shape ``(E,)``; 0 without a velocity.

        Example:
            >>> pos = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
            >>> SpatialGraph(pos, torch.tensor([[0], [1]]), velocity=2.0).delays().detach()
            tensor([2.5000])
        """
        return self.free_synapses.delays_of(self.lengths(), self.free_synapses.delay)

    @property
    def velocity(self) -> float | None:
        """Length units that a spike travels in a time step; None where synapses have no delays."""
        return self.free_synapses.velocity

    def collapse_penalty(self) -> Tensor:
        r"""Return a penalty on layers that draw closer than 1, :math:`\sum_l \max(0, 1 - |g_l|)^2`.

        In training the gaps :math:`g_l` between layers tend to shrink towards 0, where all layers lie in one plane; add
        this times a factor to the loss to keep them apart. For spacing ``"free"`` a gap is the distance between the
        layers' mean last coordinates.

        Raises:
            ValueError: if the network has no layers.

        Example:
            >>> SpatialGraph.layered([2, 2]).collapse_penalty().item()
            0.0
        """
        if not self.is_layered:
            raise ValueError("collapse_penalty needs a network with layers, got one without")
        return (1.0 - self.positions.heights().diff().abs()).clamp(min=0.0).square().sum()

    # Changes ---------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def place(self, pos: Tensor, neurons: int | Tensor | None = None) -> "SpatialGraph":
        """Set positions, of anchored neurons too.

        Args:
            pos: new positions, shape ``(n, d)``; or ``(n, d - 1)`` to keep the last coordinates.
            neurons: which neurons: a layer's number, or neuron numbers or a boolean mask as a tensor; None for all.

        Returns:
            The graph itself.

        Raises:
            TypeError: if an argument is of the wrong type.
            ValueError: if the shape is wrong, a value is not finite, or the last coordinates do not fit the spacing.

        Example:
            >>> graph = SpatialGraph.layered([2, 1], dim=2, spacing="fixed")
            >>> graph.place(torch.tensor([[-1.0], [1.0]]), 0).pos[:2].tolist()
            [[-1.0, 0.0], [1.0, 0.0]]
        """
        index = neuron_numbers(neurons, self.layer)
        everywhere = self.pos.clone()
        checks.positions("pos", pos, rows=len(index), columns=(self.dim, self.dim - 1))
        everywhere[index, : pos.shape[1]] = pos.to(everywhere)
        self.positions.place(everywhere)
        return self

    @torch.no_grad()
    def rewire(self, wiring: Wiring | None = None, generator: torch.Generator | None = None) -> "SpatialGraph":
        """Select edges again from the current positions.

        All parameters stay the same objects. Free weights and delays of synapses that stay keep their values; where the
        number of synapses changes these two have other sizes, which the state of an optimiser (its moments) does not
        fit: it raises at its next step, unless their entries are taken out of its ``state``.

        Args:
            wiring: the wiring to use from now on; None for the one the network was built with (a ``state_dict`` holds
                edges, not the wiring that selected them).
            generator: source of random numbers for random wirings.

        Returns:
            The graph itself.

        Raises:
            TypeError: if ``wiring`` is not a wiring.
            ValueError: if the network has no layers, or was built from listed edges and no wiring is given.

        Example:
            >>> from spatialgraph.wiring.wirings import KNN
            >>> SpatialGraph.layered([8, 4, 2]).rewire(KNN(k=2))
            SpatialGraph(neurons=14, synapses=12, dim=3, spacing='learned')
        """
        self.connectivity.verify()
        before = self.edge_index
        self.connectivity.rewire(self.pos, wiring, generator)
        self.free_synapses.follow(before, self.edge_index, self.lengths(), generator)
        return self

    @torch.no_grad()
    def keep(self, synapses: Tensor) -> "SpatialGraph":
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
            >>> graph = SpatialGraph.layered([2, 2])
            >>> graph.keep(graph.lengths() < graph.lengths().max()).synapses
            3
        """
        self.connectivity.verify()
        before = self.edge_index
        return self.connect(before[:, checks.mask("synapses", checks.tensor("synapses", synapses), before.shape[1])])

    @torch.no_grad()
    def connect(self, edges: Tensor, generator: torch.Generator | None = None) -> "SpatialGraph":
        """Set which synapses exist; all else stays as in :meth:`rewire`.

        An averaged copy of a network follows its changes this way: after each, and before the next average,
        ``averaged.module.graph.connect(model.graph.edge_index)``. It keeps the averages of positions, polarities and
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
            >>> SpatialGraph.layered([3, 2]).connect(torch.tensor([[0, 1], [3, 4]])).synapses
            2
        """
        if self.free_synapses.is_any:  # values that belong to others' synapses could not be told apart any more
            self.connectivity.verify()
        before = self.edge_index
        self.connectivity.set(edges)
        self.free_synapses.follow(before, self.edge_index, self.lengths(), generator)
        return self

    def reset_parameters(self) -> None:
        """Draw all parameters anew, the way they were drawn at first; anchored neurons stay."""
        sizes = torch.bincount(self.layer).tolist() if self.is_layered else []
        pos = initial_positions(sizes, self.dim, self.spacing, self.init, None).to(self.pos)
        with torch.no_grad():
            pos = torch.where(self.positions.anchored[:, None], self.pos, pos)
            self.positions.gaps.fill_(1.0)  # as at first: a layer of anchored neurons does not say how far it stands
            self.positions.place(pos)
        self._reset_other_parameters()

    # Conversion ------------------------------------------------------------------------------------------------------

    def to_data(self) -> Data:
        """Return the network as a PyG ``Data``: ``pos, edge_index, edge_weight, layer, polarity, bias``, detached.

        With a velocity it also has ``edge_delay``, in time steps.

        Example:
            >>> SpatialGraph.layered([3, 2]).to_data()
            Data(edge_index=[2, 6], pos=[5, 3], edge_weight=[6], layer=[5], polarity=[5], bias=[5])
        """
        with torch.no_grad():
            return Data(
                pos=self.pos.clone(),
                edge_index=self.edge_index,
                edge_weight=self.weights(),
                layer=self.layer.clone(),
                polarity=self.polarity,
                bias=self.bias,
                **({} if self.velocity is None else {"edge_delay": self.delays()}),
            )

    def _spread(self, values: Tensor, members: Tensor) -> Tensor:
        """Lay the members' values out over all neurons, with 0 for the others."""
        return values.new_zeros(self.neurons).scatter(0, members, values)

    @torch.no_grad()
    def _reset_other_parameters(self, generator: torch.Generator | None = None) -> None:
        drawn = torch.randn(self.raw_polarity.shape, generator=generator, dtype=self.raw_polarity.dtype)
        self.raw_polarity.copy_(drawn)
        self.raw_bias.zero_()
        if self.free_synapses.is_any:
            self.free_synapses.reset(self.edge_index, self.lengths(), generator)

    def _restore(self, fields: NetworkFields) -> None:
        """Take over parameters that a reader found; what it left open stays as it was drawn."""
        with torch.no_grad():
            for parameter, values, members in (
                (self.raw_polarity, fields.raw_polarity, self.connectivity.located.senders),
                (self.raw_bias, fields.bias, self.connectivity.located.receivers),
            ):
                if values is not None and parameter.numel():
                    parameter.copy_(torch.where(values[members].isnan(), parameter, values[members]))
            if fields.gaps is not None:
                self.positions.gaps.copy_(fields.gaps)
            self.law.restore(fields.law_settings)
            for name, values in fields.free_synapses.items():
                if getattr(self.free_synapses, name) is not None:  # else the file has lost the settings, as GEXF does
                    known = ~values.isnan()
                    self.free_synapses.restore(name, values[known], fields.edge_index[:, known], self.edge_index)
