"""A table of wrong calls: what is wrong, the call, and the exception with a part of its message."""

import networkx as nx
import torch

import spatialgraph as sg
from spatialgraph import plotting
from spatialgraph.laws import Gaussian, InverseDistance, InversePower, Yukawa, make_law
from spatialgraph.wiring import KNN, AllToAll, Radius, Random, SmallWorld

NAN, INF = float("nan"), float("inf")
POS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
EDGES = torch.tensor([[0, 0, 1], [1, 2, 2]])


def layered(**options):
    return sg.SpatialGraph.layered([4, 3, 2], **options)


def mlp(**options):
    return sg.SpatialMLP([4, 3, 2], **options)


def snn(graph=(4, 3, 2), **options):
    return sg.SpatialSNN(graph, **options)


def dag(edges, pos=POS, **options):
    return sg.SpatialGraph(pos, torch.tensor(edges), **options)


def with_layers(layer, edges=EDGES):
    return sg.SpatialGraph(POS, edges, layer=layer)


def network(edges=((0, 1),), **attributes):
    graph = nx.DiGraph(list(edges))
    for name, values in attributes.items():
        nx.set_node_attributes(graph, values, name)
    return graph


SIZES = [
    ("one layer", lambda: sg.SpatialMLP([4]), ValueError, "sizes must name at least an input and an output layer"),
    ("empty layer", lambda: sg.SpatialMLP([4, 0, 2]), ValueError, "sizes[1] must be at least 1, got 0"),
    ("negative layer", lambda: sg.SpatialGraph.layered([4, -3]), ValueError, "sizes[1] must be at least 1, got -3"),
    ("fractional layer", lambda: sg.SpatialMLP([4, 3.5, 2]), TypeError, "sizes[1] must be an int, got 3.5 (float)"),
    ("boolean layer", lambda: sg.SpatialMLP([4, True]), TypeError, "sizes[1] must be an int, got True (bool)"),
    ("sizes as text", lambda: sg.SpatialMLP("4-3-2"), TypeError, "sizes must be a sequence of ints, got str"),
    ("sizes as a number", lambda: sg.SpatialMLP(4), TypeError, "sizes must be a sequence of ints, got int"),
    ("no dimension", lambda: layered(dim=0), ValueError, "dim must be at least 1, got 0"),
    ("fractional dimension", lambda: mlp(dim=2.0), TypeError, "dim must be an int, got 2.0 (float)"),
    ("no features", lambda: sg.SpatialLinear(0, 3), ValueError, "in_features must be at least 1, got 0"),
    ("no targets", lambda: sg.SpatialLinear(3, -1), ValueError, "out_features must be at least 1, got -1"),
    ("dense with one layer", lambda: sg.DenseMLP([4]), ValueError, "sizes must name at least an input and an output"),
]
NAMES = [
    ("spacing", lambda: layered(spacing="loose"), ValueError, "spacing must be one of 'fixed', 'learned', 'free', got"),
    (
        "polarity",
        lambda: layered(polarity_mode="ternary"),
        ValueError,
        "polarity_mode must be one of 'binary', 'graded', got",
    ),
    ("law", lambda: layered(law="coulomb"), ValueError, "law must be one of 'inverse_distance'"),
    ("law as a number", lambda: layered(law=2), TypeError, "law must be a name or a Law, got int"),
    ("init", lambda: layered(init="spiral"), ValueError, "init must be one of 'normal', 'uniform', 'grid'"),
    ("activation", lambda: mlp(activation="step"), ValueError, "activation must be one of 'relu'"),
    ("wiring as text", lambda: layered(wiring="knn"), TypeError, "wiring must be a Wiring such as"),
    ("reach", lambda: KNN(k=2, reach="far"), ValueError, "reach must be"),
    ("backend", lambda: KNN(k=2, backend="gpu"), ValueError, "backend must be"),
    ("unknown option", lambda: mlp(colour="red"), TypeError, "colour"),
    (
        "spacing without layers",
        lambda: dag([[0], [1]], spacing="fixed"),
        ValueError,
        "spacing must be one of 'free', got 'fixed'",
    ),
    (
        "polarity of a linear layer",
        lambda: sg.SpatialLinear(2, 2, polarity_mode="x"),
        ValueError,
        "polarity_mode must be one",
    ),
]
NUMBERS = [
    ("device", lambda: layered(device="meta"), ValueError, "pos must have values, got a tensor on the device meta"),
    ("pos on meta", lambda: dag([[0], [1]], POS.to("meta")), ValueError, "pos must have values, got a tensor on the"),
    ("gain", lambda: layered(gain=NAN), ValueError, "gain must be finite, got nan"),
    ("gain as text", lambda: mlp(gain="1"), TypeError, "gain must be a number, got '1' (str)"),
    (
        "softening",
        lambda: InverseDistance(softening=0.0),
        ValueError,
        "softening must be finite and at least 1e-12, got 0.0",
    ),
    ("softening", lambda: Yukawa(softening=-1.0), ValueError, "softening must be finite and at least 1e-12, got -1.0"),
    ("exponent", lambda: InversePower(exponent=-2.0), ValueError, "exponent must be finite and above 0, got -2.0"),
    ("exponent as text", lambda: InversePower(exponent="2"), TypeError, "exponent must be a number, got '2' (str)"),
    ("sigma", lambda: Gaussian(sigma=0.0), ValueError, "sigma must be finite and at least 1e-12, got 0.0"),
    ("sigma", lambda: make_law("gaussian", sigma=INF), ValueError, "sigma must be finite and at least 1e-12, got inf"),
    ("screening", lambda: Yukawa(screening=NAN), ValueError, "screening must be finite and above 0, got nan"),
    ("k", lambda: KNN(k=0), ValueError, "k must be"),
    ("k as a float", lambda: KNN(k=2.0), TypeError, "k must be"),
    ("radius of no pair", lambda: mlp(wiring=Radius(r=1e-9)), ValueError, "wiring must lead from inputs to outputs"),
    (
        "radius into the outputs of no pair",
        lambda: mlp(wiring=[KNN(k=2), Radius(r=1e-9)], recurrent=None),
        ValueError,
        "wiring must lead from inputs to outputs, got no path to any of the outputs",
    ),
    (
        "recurrence reaches no output",
        lambda: sg.SpatialRNN([4, 3, 2], wiring=Radius(r=1e-9)),
        ValueError,
        "wiring must lead from inputs to outputs, got no path",
    ),
    (
        "an output that only a cycle leads to",
        lambda: sg.SpatialGraph(torch.rand(5, 2), torch.tensor([[0, 2, 3, 3], [1, 3, 2, 4]])),
        ValueError,
        "edge_index with a cycle must lead from an input to every output, got no path to neuron 4",
    ),
    (
        "k within a layer",
        lambda: sg.SpatialRNN([4, 3, 2], recurrent=KNN(k=3)),
        ValueError,
        "k must be between 1 and the number of other neurons (2), got 3",
    ),
    (
        "small world within a layer",
        lambda: sg.SpatialRNN([4, 3, 2], recurrent=SmallWorld(k=2, long_range=1)),
        ValueError,
        "k + long_range must be at most the number of other neurons (2), got 2 + 1 = 3",
    ),
    (
        "k of a wiring for one layer",
        lambda: mlp(wiring=[KNN(k=5), AllToAll()]),
        ValueError,
        "k must be between 1 and the number of source neurons (4), got 5",
    ),
    ("law of whole lengths", lambda: Gaussian()(torch.tensor([1])), TypeError, "length must be floating point, got to"),
    ("law of a list", lambda: Gaussian()([1.0]), TypeError, "length must be a tensor, got list"),
    ("k too large", lambda: layered(wiring=KNN(k=5)), ValueError, "k must be between 1 and the number of source neuro"),
    ("radius", lambda: Radius(r=-1.0), ValueError, "r must be"),
    ("density", lambda: Random(density=1.5), ValueError, "density must be"),
    ("long_range", lambda: SmallWorld(k=1, long_range=-1), ValueError, "long_range must be"),
]
TENSORS = [
    ("pos as a list", lambda: sg.SpatialGraph([[0.0]], EDGES), TypeError, "pos must be a tensor, got list"),
    ("pos flat", lambda: dag([[0], [1]], torch.zeros(3)), ValueError, "pos must have shape (neurons, dimensions)"),
    ("no neurons", lambda: dag([[0], [1]], torch.zeros(0, 2)), ValueError, "neither of them 0, got (0, 2)"),
    ("pos of ints", lambda: dag([[0], [1]], torch.zeros(3, 2).long()), TypeError, "pos must be floating point, got"),
    ("NaN", lambda: dag([[0], [1]], POS * NAN), ValueError, "pos must be finite, got [nan, nan] for neuron 0"),
    ("infinite", lambda: dag([[0], [1]], POS / 0), ValueError, "pos must be finite, got"),
    ("edges flat", lambda: dag([0, 1]), ValueError, "edge_index must have shape (2, edges), got (2,)"),
    ("three rows", lambda: dag([[0], [1], [2]]), ValueError, "edge_index must have shape (2, edges), got (3, 1)"),
    ("float edges", lambda: dag([[0.0], [1.0]]), TypeError, "edge_index must be int64, got torch.float32"),
    ("edge out of range", lambda: dag([[0], [3]]), ValueError, "edge_index must lie between 0 and 2, got 3"),
    ("negative edge", lambda: dag([[-1], [1]]), ValueError, "edge_index must lie between 0 and 2, got -1"),
    ("edge twice", lambda: dag([[0, 0], [1, 1]]), ValueError, "edge_index must not list an edge twice, got (0, 1) aga"),
    ("cycle", lambda: dag([[0, 1, 2], [1, 2, 1]]), ValueError, "edge_index with a cycle must have an output"),
    ("self-loop", lambda: dag([[0, 1], [1, 1]]), ValueError, "must not lead from a neuron to itself, got (1, 1)"),
    ("no edges", lambda: dag([[], []], POS).neurons, TypeError, "edge_index must be int64, got torch.float32"),
    (
        "empty edge list",
        lambda: sg.SpatialGraph(POS, torch.empty(2, 0, dtype=torch.int64)),
        ValueError,
        "edge_index must list at least one edge",
    ),
    ("edges as a list", lambda: sg.SpatialGraph(POS, [[0], [1]]), TypeError, "edge_index must be a tensor, got list"),
    ("wiring, no layers", lambda: sg.SpatialGraph(POS, KNN(k=1)), ValueError, "edges must be an edge_index for a net"),
    ("layer shape", lambda: with_layers(torch.tensor([0, 1])), ValueError, "layer must have shape (3,), got (2,)"),
    ("layer dtype", lambda: with_layers(torch.zeros(3)), TypeError, "layer must be int64, got torch.float32"),
    ("negative", lambda: with_layers(torch.tensor([0, -1, 1])), ValueError, "layer must be at least 0, got -1"),
    ("gap in layers", lambda: with_layers(torch.tensor([0, 2, 2])), ValueError, "got no neuron in layer 1"),
    ("single layer", lambda: with_layers(torch.tensor([0, 0, 0])), ValueError, "layer must name at least an input and"),
    (
        "backward edge",
        lambda: with_layers(torch.tensor([1, 0, 2])),
        ValueError,
        "edge_index must lead to later layers, got (0, 1) from layer 1 to layer 0",
    ),
    ("anchored layer", lambda: layered(anchored=[7]), ValueError, "anchored must name a layer between 0 and 2, got 7"),
    ("anchored name", lambda: layered(anchored=["in"]), TypeError, "anchored must be a layer's number or a tensor"),
    (
        "anchored number",
        lambda: layered(anchored=0),
        TypeError,
        "anchored must be a list of layer numbers or a boolean",
    ),
    ("anchored mask", lambda: layered(anchored=torch.ones(2).bool()), ValueError, "anchored must have shape (9,), got"),
    ("anchored dtype", lambda: layered(anchored=torch.ones(9)), TypeError, "anchored must be a boolean mask, got"),
    ("init shape", lambda: layered(init=torch.zeros(9, 2)), ValueError, "init must have shape (9, 3), got (9, 2)"),
    ("init NaN", lambda: layered(init=torch.full((9, 3), NAN)), ValueError, "pos must be finite, got [nan, nan, nan]"),
    (
        "init function",
        lambda: layered(init=lambda layer, n, axes: torch.zeros(n)),
        ValueError,
        "init must return a tensor of shape (4, 2) for layer 0, got (4,)",
    ),
    (
        "device",
        lambda: mlp()(torch.zeros(1, 4, device="meta")),
        ValueError,
        "x must be on the device of the parameters",
    ),
]
CALLS = [
    ("features", lambda: mlp()(torch.zeros(5, 3)), ValueError, "x must have shape (..., 4), got (5, 3)"),
    ("scalar", lambda: mlp()(torch.tensor(1.0)), ValueError, "x must have shape (..., 4), got ()"),
    ("list", lambda: mlp()([[0.0] * 4]), TypeError, "x must be a tensor, got list"),
    ("dtype", lambda: mlp()(torch.zeros(1, 4).double()), TypeError, "x must have the dtype of the parameters (torch."),
    ("ints", lambda: mlp()(torch.zeros(1, 4).long()), TypeError, "x must have the dtype of the parameters"),
    ("linear", lambda: sg.SpatialLinear(4, 2)(torch.zeros(2, 5)), ValueError, "x must have shape (..., 4), got (2, 5)"),
    ("option beside a graph", lambda: sg.SpatialMLP(layered(), dim=3), TypeError, "dim must be set where the graph is"),
    ("wiring beside a graph", lambda: sg.SpatialMLP(layered(), wiring=KNN(1)), TypeError, "wiring must be set where"),
    ("single hidden neuron", lambda: sg.SpatialMLP([4, 1, 2]), ValueError, "normalize must be False where a stage has"),
    (
        "place shape",
        lambda: layered().place_(torch.zeros(9, 4)),
        ValueError,
        "pos must have shape (9, 3) or (9, 2), got",
    ),
    ("place NaN", lambda: layered().place_(torch.full((9, 2), NAN)), ValueError, "pos must be finite, got [nan, nan]"),
    (
        "place layer",
        lambda: layered().place_(torch.zeros(4, 2), 3),
        ValueError,
        "neurons must name a layer between 0 an",
    ),
    (
        "place numbers",
        lambda: layered().place_(torch.zeros(1, 2), torch.tensor([9])),
        ValueError,
        "neurons must lie between 0 and 8, got 9",
    ),
    (
        "place breaks spacing",
        lambda: layered(spacing="fixed").place_(torch.ones(4, 3), 0),
        ValueError,
        "pos must have the same last coordinate within a layer, and 0 in layer 0",
    ),
    (
        "rewire, listed",
        lambda: with_layers(torch.tensor([0, 1, 2])).rewire_(),
        ValueError,
        "wiring must be given for a",
    ),
    ("rewire, text", lambda: layered().rewire_("knn"), TypeError, "wiring must be a Wiring such as"),
    (
        "rewire, no layers",
        lambda: dag([[0], [1]]).rewire_(KNN(1)),
        ValueError,
        "wiring must select edges layer by layer",
    ),
    ("penalty", lambda: sg.collapse_cost(dag([[0], [1]])), ValueError, "network must have layers for collapse_cost"),
    (
        "figure of no layer",
        lambda: plotting.layer(layered(), 5),
        ValueError,
        "number must name a layer between 0 and 2",
    ),
    ("figure of nothing", lambda: plotting.history([]), ValueError, "rows must hold at least one epoch, got none"),
    (
        "conv x",
        lambda: sg.SpatialSimpleConv()(torch.zeros(3), POS, EDGES),
        ValueError,
        "x must have at least 2 axes",
    ),
    (
        "conv polarity",
        lambda: sg.SpatialSimpleConv()(torch.zeros(3, 1), POS, EDGES, polarity=torch.ones(2)),
        ValueError,
        "polarity must have shape (3,), got (2,)",
    ),
    ("conv law", lambda: sg.SpatialSimpleConv(law="x"), ValueError, "law must be one of"),
    (
        "export of a layer",
        lambda: sg.to_networkx(sg.SpatialLinear(2, 2)),
        TypeError,
        "network must be a SpatialGraph or a model that",
    ),
    ("undirected", lambda: sg.from_networkx(nx.Graph()), TypeError, "graph must be a plain directed networkx graph"),
    (
        "multigraph",
        lambda: sg.from_networkx(nx.MultiDiGraph()),
        TypeError,
        "graph must be a plain directed networkx gr",
    ),
    ("not a graph", lambda: sg.from_networkx({}), TypeError, "graph must be a networkx.DiGraph, got dict"),
    ("empty graph", lambda: sg.from_networkx(nx.DiGraph()), ValueError, "graph must have at least one node, got none"),
    ("no positions", lambda: sg.from_networkx(network()), ValueError, "graph must give every node the coordinate 'x'"),
    ("one position", lambda: sg.from_networkx(network(x={0: 1.0})), ValueError, "coordinate 'x', got none for node 1"),
    (
        "cyclic graph",
        lambda: sg.from_networkx(network([(0, 1), (1, 2), (2, 1)], x=0.5)),
        ValueError,
        "edge_index with a cycle must have an output",
    ),
    (
        "NaN in a node",
        lambda: sg.from_networkx(network(x={0: 1.0, 1: NAN})),
        ValueError,
        "graph must hold finite numbers in 'x', got nan for node 1",
    ),
    (
        "text in a node",
        lambda: sg.from_networkx(network(x={0: 1.0, 1: "far"})),
        ValueError,
        "graph must hold numbers in 'x', got 'far' for node 1",
    ),
]
