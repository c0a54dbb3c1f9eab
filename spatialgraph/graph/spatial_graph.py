"""SpatialGraph: neurons with learnable positions and the synapses between them."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional.polarity import check_polarity
from spatialgraph.graph.changeable import Changeable
from spatialgraph.graph.connectivity import Connectivity
from spatialgraph.graph.fields import NetworkFields
from spatialgraph.graph.networkx_reader import read_networkx
from spatialgraph.graph.positions import SPACINGS, Init, Positions, anchor_mask, initial_positions
from spatialgraph.graph.restoring import restore
from spatialgraph.graph.synapses import FreeSynapses
from spatialgraph.graph.topology import Topology
from spatialgraph.laws import Law, make_law
from spatialgraph.pyg import Data
from spatialgraph.used import freeze, hold
from spatialgraph.wiring.wirings import AllToAll, Wiring

if TYPE_CHECKING:
    import networkx

__all__ = ["SpatialGraph"]


WEIGHTS = ("law", "free", "both")
DELAYS = ("length", "free")


class SpatialGraph(Changeable):
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

    def __init__(
        self,
        pos: Tensor,
        edges: Tensor | Wiring | Topology,
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
        self.polarity_mode = check_polarity("polarity", polarity)
        self.gain = gain
        self.weight_mode = checks.choice("weights", weights, WEIGHTS)
        self.delay_mode = checks.choice("delays", delays, DELAYS)
        self.velocity = velocity
        if delays == "free" and velocity is None:
            raise ValueError("velocity must be given for delays='free', whose first values are those of the lengths")
        self.law = (freeze(copy.deepcopy(make_law(law))) if weights == "free" else make_law(law)).to(pos)
        self.register_module("free_synapses", None)
        count = pos.shape[0]
        layer = pos.new_full((count,), -1, dtype=torch.int64) if layer is None else checks.layers(layer, count)
        self.connectivity = Connectivity(pos.detach(), edges, layer, generator, anchor_mask(anchored, layer))
        self.positions = Positions(pos.detach(), self.connectivity, spacing, self._depends_on_positions)
        self.init: Init = pos.detach().clone()
        located = self.connectivity.located
        hold(self, "raw_polarity", pos.new_empty(0 if weights == "free" else len(located.senders)), is_used=True)
        hold(self, "raw_bias", pos.new_empty(len(located.receivers)), is_used=True)
        self._reset_neurons(generator)
        self.free_synapses = self._free_synapses(generator)

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
        graph = cls(
            fields.pos,
            fields.edges(),
            layer=fields.layer,
            anchored=fields.anchored,
            law=fields.law,
            **fields.options,
        )
        restore(graph, graph.law, fields)
        return graph

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

    @property
    def _depends_on_positions(self) -> bool:
        """Whether a weight or a delay follows from positions."""
        return self.weight_mode != "free" or (self.velocity is not None and self.delay_mode == "length")

    @torch.no_grad()
    def _free_synapses(self, generator: torch.Generator | None) -> FreeSynapses | None:
        """Return what synapses have of their own, with first values; None for nothing."""
        has_weight, has_delay = self.weight_mode != "law", self.delay_mode == "free"
        if not has_weight and not has_delay:
            return None
        velocity = self.velocity if has_delay else None
        is_factor = self.weight_mode == "both"
        return FreeSynapses(self.edge_index, self.lengths(), has_weight, is_factor, velocity, generator)
