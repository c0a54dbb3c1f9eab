"""SpatialGraph: neurons with learnable positions and the synapses between them."""

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.devices import default_device, on_cpu
from spatialgraph.functional.gains import default_gain, sample_lengths
from spatialgraph.functional.polarity import check_polarity
from spatialgraph.graph.changeable import Changeable
from spatialgraph.graph.connectivity import Connectivity
from spatialgraph.graph.cycles import cyclic_layers
from spatialgraph.graph.data import read_data, write_data
from spatialgraph.graph.fields import NetworkFields
from spatialgraph.graph.grids import Grid, grid_shapes, layer_sizes
from spatialgraph.graph.located import Located
from spatialgraph.graph.networkx_reader import read_networkx
from spatialgraph.graph.positions import SPACINGS, Init, Positions, anchor_mask, initial_positions
from spatialgraph.graph.restoring import restore
from spatialgraph.graph.selection import Recurrence, Wirings, check_wirings, is_wiring
from spatialgraph.graph.synapses import FreeSynapses
from spatialgraph.graph.topology import Topology
from spatialgraph.graph.used import freeze, hold, hold_rows
from spatialgraph.graph.weighted import learnt_settings
from spatialgraph.laws import Law, make_law
from spatialgraph.wiring.wirings import AllToAll

if TYPE_CHECKING:
    import networkx

    from spatialgraph.pyg import Data

__all__ = ["SpatialGraph"]


WEIGHTS = ("law", "free", "both")
DELAYS = ("length", "free")
GRID_POLARITIES = ("cell", "axes")


class SpatialGraph(Changeable):
    r"""A network whose neurons have positions and whose synapses' weights follow from their lengths.

    .. math:: w_{ij} = \gamma\, s_i\, w(|p_i - p_j|)

    Here :math:`w` is the law, :math:`s_i` the polarity of the source and :math:`\gamma` a constant gain. The idea is
    that of `Training Neural Networks by Optimizing Neuron Positions <https://arxiv.org/abs/2506.13410>`_ (Erb et al.,
    2025), Eq. 1. All neurons but outputs have a polarity, all but inputs a bias.

    Args:
        pos: positions to start from, shape ``(N, d)``, in length units.
        edges: which synapses exist: an ``edge_index`` of shape ``(2, E)``, sources in the first row; or a wiring, which
            selects them layer by layer; or a list with a wiring for each layer after the first. Edges within a hidden
            layer are recurrent: they take one time step.
        layer: layer of each neuron, shape ``(N,)``, counted from 0; edges lead to later layers, or from a hidden layer
            to itself. The first layer is the input, the last the output. None for a network without layers: neurons
            without incoming edges are inputs, those without outgoing edges are outputs. If its edges form cycles it is
            put in layers (see :func:`~spatialgraph.graph.cycles.cyclic_layers`).
        spacing: ``"fixed"`` (layers stand 1 apart along the last axis), ``"learned"`` (one learnable distance for each
            gap) or ``"free"`` (every coordinate learnable; the only one without layers).
        polarity_mode: ``"graded"`` (any real number) or ``"binary"`` (a steep sigmoid between -1 and 1,
            :math:`\tanh(5 v)` of a learnable :math:`v`).
        law: from length to weight: ``"inverse_distance"``, ``"inverse_power"``, ``"gaussian"``, ``"yukawa"`` or a
            :class:`~spatialgraph.laws.Law`, of which the network gets a copy of its own.
        gain: constant factor :math:`\gamma` on all weights; None for one that keeps the scale of what the sources of
            the last projection send (see :func:`~spatialgraph.functional.gains.default_gain`), and for 1 with free
            weights.
        weight_mode: where weights come from: ``"law"``, as above; ``"free"`` (a learnable number for each synapse, and
            no polarities); or ``"both"`` (a learnable factor for each synapse on top of the law).
        velocity: length units that a spike travels in a time step, so that a synapse delays by ``length / velocity``
            steps; None for no delays. Recurrent synapses delay by at least 1 step in any case.
        delay_mode: ``"length"``, as above, or ``"free"`` (a learnable number for each synapse that starts from its
            length).
        anchored: neurons that keep their positions and have no parameters for them: layer numbers as a list, or a
            boolean mask of shape ``(N,)``.
        grids: shapes of the layers whose neurons are the cells of a grid, by the layer's number, such as
            ``{0: (28, 28)}``; cells are counted row by row. Each row and column, and what other axes a grid has, has
            learnable coordinates, and a cell stands where those of its row and column add up to.
        grid_polarity: ``"cell"`` (each cell of a grid has a polarity) or ``"axes"`` (each row and column has a number,
            and those of a cell add up to what is behind its polarity).
        recurrent: which synapses exist within the hidden layers, where ``edges`` is a wiring: a wiring for all of them,
            or a list with a wiring or None for each. None for a network that is not recurrent.
        tolerance: the largest relative error that a sum over an all-to-all projection may have, from 1e-6 to 0.1, such
            as 1e-3; layers that stand in planes are then summed on a grid, in a time that grows with the neurons and
            not with the synapses (see :func:`~spatialgraph.functional.meshed`). None for exact sums.
        generator: source of random numbers for polarities and random wirings.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument has a wrong shape, value or name; the message names the argument and the value.

    Example:
        >>> graph = SpatialGraph(torch.randn(3, 2), torch.tensor([[0, 0, 1], [1, 2, 2]]))
        >>> graph
        SpatialGraph(neurons=3, synapses=3, dim=2, spacing='free')
        >>> graph.lengths().shape
        torch.Size([3])
    """

    parameter_kinds: ClassVar[dict[str, str]] = {
        "raw_polarity": "polarities",
        "raw_grid_polarity": "polarities",
        "raw_bias": "biases",
    }

    @on_cpu
    def __init__(
        self,
        pos: Tensor,
        edges: Tensor | Wirings | Topology,
        *,
        layer: Tensor | None = None,
        spacing: str = "free",
        polarity_mode: str = "graded",
        law: str | Law = "inverse_distance",
        gain: float | None = None,
        weight_mode: str = "law",
        velocity: float | None = None,
        delay_mode: str = "length",
        anchored: Sequence[int] | Tensor | None = None,
        grids: Mapping[int, Sequence[int]] | None = None,
        grid_polarity: str = "cell",
        recurrent: Recurrence = None,
        tolerance: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        checks.positions("pos", pos)
        checks.choice("spacing", spacing, SPACINGS if layer is not None else ("free",))
        self.polarity_mode = check_polarity("polarity_mode", polarity_mode)
        self.weight_mode = checks.choice("weight_mode", weight_mode, WEIGHTS)
        self.delay_mode = checks.choice("delay_mode", delay_mode, DELAYS)
        self.grid_polarity = checks.choice("grid_polarity", grid_polarity, GRID_POLARITIES)
        self.velocity = velocity
        self.tolerance = tolerance
        own_law = copy.deepcopy(make_law(law)).to(pos)  # other networks may be built with the same one
        self.law = freeze(own_law) if weight_mode == "free" else own_law
        self.law_at_first = learnt_settings(self.law)
        self.register_module("free_synapses", None)
        count = pos.shape[0]
        layer = _layers_of(edges, pos) if layer is None else checks.layers(layer, count)
        anchors, shapes = anchor_mask(anchored, layer), grid_shapes(grids, layer)
        self.connectivity = Connectivity(pos.detach(), edges, layer, generator, anchors, recurrent, shapes)
        self.positions = Positions(pos.detach(), self.connectivity, spacing, self._depends_on_positions)
        self.init: Init = pos.detach().clone()
        located = self.connectivity.located
        own, rows = polarity_counts(located, weight_mode, grid_polarity)
        hold(self, "raw_polarity", pos.new_empty(own), is_used=True)
        hold_rows(self, "raw_grid_polarity", pos.new_empty(rows), is_used=True)
        hold(self, "raw_bias", pos.new_empty(len(located.receivers)), is_used=True)
        self.gain = self._default_gain(pos.detach()) if gain is None else gain
        self._reset_neurons(generator)
        self.free_synapses = self._free_synapses(generator)

    @classmethod
    def layered(
        cls,
        sizes: Sequence[int | Sequence[int]],
        dim: int = 3,
        *,
        wiring: Wirings | None = None,
        spacing: str = "learned",
        init: Init = "normal",
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,  # noqa: ANN401 - passed on to the constructor
    ) -> "SpatialGraph":
        """Build a network of layers, all-to-all unless a wiring says otherwise.

        Args:
            sizes: number of neurons in each layer, inputs first; or the shape of a layer that is a grid, as in
                ``[(28, 28), 300, 10]``, see ``grids`` of :class:`SpatialGraph`.
            dim: number of axes d; layers are spaced along the last one.
            wiring: which synapses exist: a wiring, or a list with one for each layer after the first, such as
                ``[KNN(k=32), AllToAll()]``; None for all-to-all.
            spacing: as in :class:`SpatialGraph`.
            init: where neurons start: ``"normal"``, ``"uniform"``, ``"grid"``, a tensor of shape ``(N, d)``, or a
                function of ``(layer, n, axes)`` that returns coordinates of shape ``(n, axes)``, ``axes = d - 1``.
            generator: source of random numbers, on the CPU.
            device: as in ``nn.Linear``.
            dtype: as in ``nn.Linear``.
            **options: ``polarity_mode``, ``law``, ``gain``, ``weight_mode``, ``velocity``, ``delay_mode``,
                ``anchored``, ``grid_polarity``, ``recurrent``, ``tolerance`` as in :class:`SpatialGraph`.

        Raises:
            TypeError: if an argument is of the wrong type.
            ValueError: if an argument has a wrong shape, value or name.

        Example:
            >>> SpatialGraph.layered([784, 2048, 10])
            SpatialGraph(neurons=2842, synapses=1626112, dim=3, spacing='learned')
        """
        counts, shapes = layer_sizes(sizes)
        dim = checks.integer("dim", dim, minimum=1)
        checks.choice("spacing", spacing, SPACINGS)
        device = default_device(device)
        layer = _layer_numbers(counts)
        wiring = AllToAll() if wiring is None else wiring
        check_wirings(wiring, layer)
        grids = {number: Grid(shape) for number, shape in shapes.items()}
        pos = initial_positions(counts, dim, spacing, init, generator, grids)
        checks.shape("init", pos, (sum(counts), dim))
        pos = checks.positions("pos", pos.to(device=device, dtype=dtype))
        options |= {"spacing": spacing, "grids": shapes, "generator": generator}
        graph = cls(pos, wiring, layer=layer.to(pos.device), **options)
        graph.init = init
        if isinstance(init, str) and options.get("gain") is None:
            # From positions of a draw of its own, so that networks of all seeds have the same gain.
            typical = initial_positions(counts, dim, spacing, init, torch.Generator().manual_seed(0), grids)
            graph.gain = graph._default_gain(typical.to(pos))
        return graph

    @classmethod
    @on_cpu
    def from_networkx(cls, graph: "networkx.DiGraph") -> "SpatialGraph":
        """Build a network from any directed graph whose nodes have positions.

        One with cycles, whose nodes have no layers, is put in layers (see
        :func:`~spatialgraph.graph.cycles.cyclic_layers`) and becomes recurrent.

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
            ValueError: if a node lacks a coordinate, an edge leads from a node to itself or to an earlier layer, a
                graph with cycles cannot be put in layers, values contradict each other, or a value is out of range; the
                message names the node or edge, its attribute and the value.

        Example:
            >>> import networkx as nx
            >>> g = nx.DiGraph([("a", "b"), ("a", "c")])
            >>> nx.set_node_attributes(g, {"a": 0.0, "b": 1.0, "c": 2.0}, "x")
            >>> SpatialGraph.from_networkx(g).weights()
            tensor([...], grad_fn=<...>)
        """
        return cls.from_fields(read_networkx(graph))

    @classmethod
    @on_cpu
    def from_fields(cls, fields: NetworkFields) -> "SpatialGraph":
        """Build a network from the plain tensors that a reader of graphs or files returns.

        Args:
            fields: positions, edges, parameters and settings.

        Raises:
            ValueError: if they contradict each other or what :class:`SpatialGraph` allows.

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
        restore(graph, fields)
        return graph

    @on_cpu
    def to_data(self) -> "Data":
        """Return the network as a PyG ``Data``, detached; :meth:`from_data` reads it back without loss.

        It has ``pos``, ``edge_index``, ``edge_weight``, ``layer``, ``polarity`` and ``bias``, and ``settings``, a JSON
        string, which PyG's batches and data sets do not change; with a velocity also ``edge_delay``, in time steps, and
        what else the settings call for.

        Example:
            >>> data = SpatialGraph.layered([3, 2]).to_data()
            >>> data.pos.shape, data.edge_weight.shape
            (torch.Size([5, 3]), torch.Size([6]))
        """
        return write_data(self)

    @classmethod
    @on_cpu
    def from_data(cls, data: "Data") -> "SpatialGraph":
        """Build a network from a PyG ``Data`` with ``pos`` and ``edge_index``, such as :meth:`to_data` returns.

        Args:
            data: it may have ``layer``, ``anchored``, ``polarity``, ``bias`` and ``settings``, a JSON string of what
                :class:`SpatialGraph` takes; what is missing has the defaults of :meth:`from_networkx`. ``edge_weight``
                and ``edge_delay`` follow from the rest and are not read. Networks of a batch are read one by one, from
                ``batch.to_data_list()``. As there, a network with cycles is put in layers.

        Raises:
            TypeError: if ``data`` is no ``Data``, or an attribute of the wrong type.
            ValueError: if an attribute is missing, or has a wrong shape or value, or an edge leads from a neuron to
                itself or to an earlier layer, or a network with cycles cannot be put in layers.

        Example:
            >>> graph = SpatialGraph.layered([3, 2])
            >>> torch.equal(SpatialGraph.from_data(graph.to_data()).weights(), graph.weights())
            True
        """
        return cls.from_fields(read_data(data))

    def _default_gain(self, pos: Tensor) -> float:
        """Return the gain that fits the projection into the outputs, the only one that is never normalised."""
        if self.weight_mode == "free":
            return 1.0
        last = self.feed_forward_projections[-1]
        lengths = sample_lengths(pos[last.sources], pos[last.targets])
        return default_gain(last.synapses / last.n_targets, lengths, self.law)

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


@on_cpu
def _layer_numbers(counts: Sequence[int]) -> Tensor:
    """Return the layer of each neuron, from the number of neurons in each layer."""
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def polarity_counts(located: Located, weight_mode: str, grid_polarity: str) -> tuple[int, int]:
    """Return how many neurons, and how many rows and columns of grids, have a number behind polarities."""
    if weight_mode == "free":
        return 0, 0
    if grid_polarity == "cell":
        return len(located.senders), 0
    return len(located.sending.single), located.sending.rows


def _layers_of(edges: Tensor | Wirings | Topology, pos: Tensor) -> Tensor:
    """Return layers for a network without: -1 for every neuron, unless its edges form cycles."""
    count = pos.shape[0]
    is_chosen = isinstance(edges, Topology) or is_wiring(edges)
    layer = None if is_chosen else cyclic_layers(checks.edge_index(edges, count), count)
    return pos.new_full((count,), -1, dtype=torch.int64) if layer is None else layer.to(pos.device)
