import copy
import io
import warnings

import numpy as np
import pytest
import torch
import torch_geometric.nn as pyg
from references import LAWS, assert_close, law_weight
from torch_geometric.explain import Explainer, GNNExplainer

from spatialgraph import SpatialConv
from spatialgraph.functional import channels
from spatialgraph.functional.channels import channel_convolution
from spatialgraph.laws import Cosine, Gaussian, InversePower

EDGES = torch.tensor([[0, 1, 2, 2, 3, 0, 4, 1], [1, 2, 1, 3, 0, 3, 3, 1]])  # the last leads from a node to itself
PAIRS = torch.tensor([[0, 1, 2, 4, 4, 0], [0, 0, 2, 1, 2, 2]])  # from five sources to three targets


def leaves(*shapes):
    return [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def matrix(edges, weight, sources, targets, layout=torch.sparse_csr):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse invariant checks", UserWarning)
        adj_t = torch.sparse_coo_tensor(edges.flip(0), weight, (targets, sources)).coalesce()
        return adj_t.to_sparse(layout=layout)


def expected(conv, x, source_pos, target_pos, edges, edge_weight):
    """The formula, one edge and pair of channels after the other."""
    x, source_pos, target_pos, weights, origin, end, polarity, bias = (
        values.detach().numpy()
        for values in (
            x,
            source_pos,
            target_pos,
            edge_weight,
            conv.source_offset,
            conv.target_offset,
            conv.polarity,
            conv.bias,
        )
    )
    kernels = []
    for number, (u, v) in enumerate(edges.t().tolist()):
        kernel = np.empty((len(origin), len(end)))
        for c, o in enumerate(origin):
            for k, t in enumerate(end):
                square = ((source_pos[u] + o - target_pos[v] - t) ** 2).sum() + conv.law.softening**2
                kernel[c, k] = weights[number] * law_weight(conv.law, square)
        kernels.append(kernel)
    into, out_of = np.zeros((len(target_pos), len(end))), np.zeros((len(source_pos), len(origin)))
    for (u, v), kernel in zip(edges.t().tolist(), kernels, strict=True):
        into[v] += abs(kernel).sum(0)
        out_of[u] += abs(kernel).sum(1)
    y = np.zeros((len(target_pos), len(end)))
    for (u, v), kernel in zip(edges.t().tolist(), kernels, strict=True):
        if conv.normalize == "sum":
            kernel = np.divide(kernel, into[v], out=kernel * 0.0, where=into[v] > 0)
        elif conv.normalize == "gcn":
            square = out_of[u][:, None] * into[v]
            kernel = np.divide(kernel, np.sqrt(square), out=kernel * 0.0, where=square > 0)
        y[v] += (polarity * x[u]) @ kernel
    return conv.gain * y + bias


@pytest.mark.parametrize("normalize", [None, "sum", "gcn"])
@pytest.mark.parametrize("make", LAWS.values(), ids=LAWS.keys())
def test_against_the_formula(make, normalize):
    x, *places = leaves((5, 3), (5, 2), (3, 2))
    source_pos, target_pos = (0.3 * pos for pos in places)  # all within the reach of the compact law
    edge_weight = torch.randn(6, dtype=torch.float64)
    for mode in ("graded", "binary"):
        conv = SpatialConv(3, 4, dim=2, law=make(), polarity_mode=mode, normalize=normalize, spread=0.3).double()
        conv.bias.data.normal_()
        y = conv((x, None), (source_pos, target_pos), PAIRS, edge_weight)
        assert_close(y, expected(conv, x, source_pos, target_pos, PAIRS, edge_weight), 1e-12)


@pytest.mark.parametrize("normalize", [None, "sum", "gcn"])
@pytest.mark.parametrize("law", ["inverse_distance", "mexican_hat", "rational"])
@pytest.mark.parametrize("is_composed", [False, True])
def test_nodes_are_at_0_in_the_dimensions_beyond_theirs(law, normalize, is_composed, monkeypatch):
    if is_composed:
        monkeypatch.setattr(channels, "is_observed", lambda *values: True)
    x, source_pos, target_pos, weight = leaves((5, 3), (5, 2), (3, 2), (6,))
    conv = SpatialConv(3, 4, dim=5, pos_dim=2, law=LAWS[law](), normalize=normalize).double()
    wide = SpatialConv(3, 4, dim=5, law=LAWS[law](), normalize=normalize).double()
    wide.load_state_dict(conv.state_dict())
    results = []
    for part, pad in ((conv, 0), (wide, 3)):
        places = tuple(torch.nn.functional.pad(pos, (0, pad)) for pos in (source_pos, target_pos))
        y = part((x, None), places, PAIRS, weight)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, source_pos, target_pos, *part.parameters()])])
    for value, right in zip(*results, strict=True):
        torch.testing.assert_close(value, right, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("law", ["cosine", "rational"])
def test_derivatives_with_dimensions_beyond_those_of_the_nodes(law):
    conv = SpatialConv(2, 3, dim=4, pos_dim=2, law=LAWS[law]()).double()
    x, pos, edge_weight = leaves((5, 2), (5, 2), (8,))
    arguments = x, pos, edge_weight, *conv.parameters()
    assert torch.autograd.gradcheck(lambda x, pos, weight, *_: conv(x, pos, EDGES, weight), arguments)
    assert torch.autograd.gradgradcheck(lambda x, pos, weight, *_: conv(x, pos, EDGES, weight), arguments)


@pytest.mark.parametrize("normalize", [None, "sum", "gcn"])
@pytest.mark.parametrize("law", ["inverse_distance", "mexican_hat", "rational"])
@pytest.mark.parametrize("is_composed", [False, True])
def test_a_batch_of_features_is_computed_as_each_alone(law, normalize, is_composed, monkeypatch):
    if is_composed:
        monkeypatch.setattr(channels, "is_observed", lambda *values: True)
    x, source_pos, target_pos, weight = leaves((2, 4, 5, 3), (5, 2), (3, 2), (6,))
    conv = SpatialConv(3, 4, dim=4, pos_dim=2, law=LAWS[law](), normalize=normalize).double()
    wanted = [x, source_pos, target_pos, weight, *conv.parameters()]
    together = conv((x, None), (source_pos, target_pos), PAIRS, weight)
    alone = [conv((row, None), (source_pos, target_pos), PAIRS, weight) for row in x.flatten(0, 1)]
    results = [
        [y, *torch.autograd.grad(y.square().sum(), wanted)] for y in (together, torch.stack(alone).view(2, 4, 3, 4))
    ]
    for value, right in zip(*results, strict=True):
        torch.testing.assert_close(value, right, rtol=1e-11, atol=1e-11)


def test_derivatives_of_a_batch_of_features():
    conv = SpatialConv(2, 3, dim=2, law="cosine").double()
    x, pos, edge_weight = leaves((2, 5, 2), (5, 2), (8,))
    arguments = x, pos, edge_weight, *conv.parameters()
    assert torch.autograd.gradcheck(lambda x, pos, weight, *_: conv(x, pos, EDGES, weight), arguments)
    assert torch.autograd.gradgradcheck(lambda x, pos, weight, *_: conv(x, pos, EDGES, weight), arguments)


@pytest.mark.parametrize("aggr", ["mean", "max"])
def test_messages_of_a_batch_of_features(aggr):
    x, pos = torch.randn(4, 5, 3, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    conv = SpatialConv(3, 2, dim=2, aggr=aggr).double()
    assert_close(conv(x, pos, EDGES), torch.stack([conv(row, pos, EDGES) for row in x]), 1e-11)


@pytest.mark.parametrize("normalize", [None, "sum", "gcn"])
@pytest.mark.parametrize("law", ["inverse_distance", "cosine", "learnable"])
def test_derivatives(law, normalize):
    law = InversePower(learnable=True) if law == "learnable" else law
    conv = SpatialConv(2, 3, dim=2, law=law, normalize=normalize).double()
    x, pos, edge_weight = leaves((5, 2), (5, 2), (8,))
    arguments = x, pos, edge_weight, *conv.parameters()
    assert torch.autograd.gradcheck(lambda x, pos, weight, *_: conv(x, pos, EDGES, weight), arguments)
    assert torch.autograd.gradgradcheck(lambda x, pos, weight, *_: conv(x, pos, EDGES, weight), arguments)


@pytest.mark.parametrize("make", LAWS.values(), ids=LAWS.keys())
@pytest.mark.parametrize("block", [1, 30, 10**6])
def test_blocks_and_composition_agree(make, block, monkeypatch):
    monkeypatch.setattr(channels, "_CPU_BLOCK", block)
    law = make().double()
    x, displacement, offset, edge_weight = leaves((5, 2), (8, 3), (2, 4, 3), (8,))
    wanted = [x, displacement, offset, edge_weight, *law.parameters()]
    results = []
    for is_composed in (False, True):
        with monkeypatch.context() as patch:
            patch.setattr(channels, "is_observed", lambda *values, answer=is_composed: answer)
            y = channel_convolution(x, displacement, offset, edge_weight, law, EDGES, 4)
        results.append([y, *torch.autograd.grad(y.square().sum(), wanted)])
    for value, right in zip(*results, strict=True):
        assert_close(value, right, 1e-11)


def test_edge_list_and_matrices_agree():
    x, source_pos, target_pos, weight = leaves((5, 3), (5, 2), (3, 2), (6,))
    conv = SpatialConv(3, 4, dim=2, normalize="gcn").double()
    places = source_pos, target_pos
    y = conv((x, None), places, PAIRS, weight)
    for layout in (torch.sparse_csr, torch.sparse_csc, torch.sparse_coo):
        assert_close(conv((x, None), places, matrix(PAIRS, weight.detach(), 5, 3, layout)), y, 1e-12)
    shuffled = torch.tensor([5, 3, 1, 0, 2, 4])
    assert_close(conv((x, None), places, PAIRS[:, shuffled], weight[shuffled]), y, 1e-12)
    assert torch.equal(conv((x, torch.zeros(3, 7)), places, PAIRS, weight, size=(5, 3)), y)


def test_flow_against_the_edges():
    x, places, others = leaves((3, 2), (3, 2), (5, 2))
    backward = SpatialConv(2, 4, dim=2, normalize="gcn", flow="target_to_source").double()
    forward = SpatialConv(2, 4, dim=2, normalize="gcn").double()
    forward.load_state_dict(backward.state_dict())
    y = backward((None, x), (others, places), PAIRS)
    assert_close(y, forward((x, None), (places, others), PAIRS.flip(0)), 1e-12)


@pytest.mark.parametrize("aggr", ["mean", "max"])
def test_aggregations(aggr):
    x, pos = leaves((5, 3), (5, 2))
    summed, conv = (SpatialConv(3, 4, dim=2, aggr=name, bias=False).double() for name in ("add", aggr))
    conv.load_state_dict(summed.state_dict())
    messages = torch.stack([summed(x, pos, edge[:, None])[edge[1]] for edge in EDGES.t()])
    own = [messages[EDGES[1] == node] for node in range(4)]
    right = torch.stack([part.mean(0) if aggr == "mean" else part.amax(0) for part in own])
    assert_close(conv(x, pos, EDGES)[:4], right, 1e-12)


def test_moving_all_nodes_changes_nothing_and_turning_them_does():
    x, pos = leaves((5, 3), (5, 2))
    conv = SpatialConv(3, 4, dim=2).double()
    y = conv(x, pos, EDGES)
    assert_close(conv(x, pos + 3.0, EDGES), y, 1e-10)
    assert not torch.allclose(conv(x, -pos, EDGES), y)  # the kernel is sensitive to the direction


def test_renumbering_nodes_changes_nothing():
    x, pos = leaves((5, 3), (5, 2))
    conv, order = SpatialConv(3, 4, dim=2, normalize="sum").double(), torch.tensor([3, 1, 4, 0, 2])
    place = torch.argsort(order)
    assert_close(conv(x[order], pos[order], place[EDGES]), conv(x, pos, EDGES)[order], 1e-12)


def test_nodes_without_edges_receive_the_bias_only():
    x, pos = leaves((6, 3), (6, 2))
    for normalize in (None, "sum", "gcn"):
        conv = SpatialConv(3, 4, dim=2, normalize=normalize).double()
        conv.bias.data.normal_()
        assert torch.equal(conv(x, pos, EDGES)[5], conv.bias)
        y = conv(x, pos, torch.empty(2, 0, dtype=torch.int64))
        assert torch.equal(y, conv.bias.expand(6, 4))


@pytest.mark.parametrize("normalize", [None, "sum", "gcn"])
def test_self_loops_keep_the_scale(normalize):
    conv = SpatialConv(64, 64, dim=3, normalize=normalize)
    y = conv(torch.randn(200, 64), torch.randn(200, 3), torch.arange(200).repeat(2, 1))
    assert 0.3 < float(y.detach().std()) < 3.0


def test_no_tensor_has_an_entry_for_each_edge_and_pair_of_channels():
    x, pos = torch.randn(50, 32), torch.randn(50, 2, requires_grad=True)
    edges = torch.randint(50, (2, 20_000))
    conv = SpatialConv(32, 32, dim=2, law=Gaussian())
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, kinds, arguments=(), options=None):
            nonlocal largest
            result = function(*arguments, **(options or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    with Watch():
        conv(x, pos, edges).sum().backward()
    assert largest <= 20_000 * 32 < 20_000 * 32 * 32


# Lazy ----


def test_channels_are_taken_from_the_first_input():
    x, pos = torch.randn(5, 3), torch.randn(5, 2)
    lazy = SpatialConv(-1, 4, dim=2)
    optimizer = torch.optim.SGD(lazy.parameters(), lr=0.1)
    copied = copy.deepcopy(lazy)
    assert repr(lazy) == "SpatialConv(-1, 4, dim=2, law=InverseDistance(softening=0.001))"
    assert lazy(x, pos, EDGES).shape == copied(x, pos, EDGES).shape == (5, 4)
    assert lazy.in_channels == 3 and lazy.gain == SpatialConv(3, 4, dim=2).gain
    before = lazy.source_offset.detach().clone()
    lazy(x, pos, EDGES).sum().backward()
    optimizer.step()
    assert not torch.equal(lazy.source_offset, before)


def test_a_lazy_layer_is_loaded():
    x, pos, conv = torch.randn(5, 3), torch.randn(5, 2), SpatialConv(3, 4, dim=2)
    stored = io.BytesIO()
    torch.save(conv.state_dict(), stored)
    stored.seek(0)
    lazy = SpatialConv(-1, 4, dim=2)
    lazy.load_state_dict(torch.load(stored, weights_only=True))
    assert torch.equal(lazy(x, pos, EDGES), conv(x, pos, EDGES))


def test_a_lazy_layer_in_double_precision():
    x, pos = leaves((5, 3), (5, 2))
    assert SpatialConv(-1, 4, dim=2).double()(x, pos, EDGES).dtype == torch.float64


# In PyG ----


def test_in_a_heterogeneous_convolution():
    model = pyg.HeteroConv(
        {
            ("a", "to", "b"): SpatialConv(-1, 6, dim=2),
            ("b", "in", "b"): SpatialConv(-1, 6, dim=2, normalize="sum"),
            ("b", "back", "a"): SpatialConv(-1, 6, dim=2),
        }
    )
    x = {"a": torch.randn(5, 4), "b": torch.randn(3, 2)}
    pos = {"a": torch.randn(5, 2), "b": torch.randn(3, 2)}
    within = torch.tensor([[0, 1], [1, 2]])
    edges = {("a", "to", "b"): PAIRS, ("b", "in", "b"): within, ("b", "back", "a"): PAIRS.flip(0)}
    y = model(x, pos_dict=pos, edge_index_dict=edges)
    first, second, _ = model.convs.values()
    right = first((x["a"], x["b"]), (pos["a"], pos["b"]), PAIRS) + second(x["b"], pos["b"], within)
    assert_close(y["b"], right.double(), 1e-6)


def test_in_a_pyg_sequential():
    model = pyg.Sequential(
        "x, pos, edge_index",
        [
            (SpatialConv(4, 8, dim=3), "x, pos, edge_index -> x"),
            (torch.nn.Tanh(), "x -> x"),
            (SpatialConv(8, 2, dim=3), "x, pos, edge_index -> x"),
        ],
    )
    x, pos = torch.randn(5, 4), torch.randn(5, 3, requires_grad=True)
    y = model(x, pos, EDGES)
    y.sum().backward()
    assert y.shape == (5, 2) and (pos.grad != 0).any()


def test_explained_messages_are_those_of_the_sum():
    x, pos = leaves((5, 3), (5, 2))
    conv = SpatialConv(3, 4, dim=2, normalize="gcn").double()
    y = conv(x, pos, EDGES)
    conv.explain = True
    conv._edge_mask = torch.full((8,), 50.0, dtype=torch.float64)  # a share of 1 of each message
    conv._loop_mask, conv._apply_sigmoid = torch.ones(8, dtype=torch.bool), True
    assert_close(conv(x, pos, EDGES), y, 1e-12)
    conv._edge_mask[0] = -50.0
    assert not torch.allclose(conv(x, pos, EDGES)[1], y[1])


def test_an_explainer():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = SpatialConv(3, 2, dim=2)

        def forward(self, x, edge_index, pos):
            return self.conv(x, pos, edge_index)

    explainer = Explainer(
        Net(),
        GNNExplainer(epochs=2),
        explanation_type="model",
        node_mask_type="attributes",
        edge_mask_type="object",
        model_config={"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"},
    )
    explanation = explainer(torch.randn(5, 3), EDGES, pos=torch.randn(5, 2))
    assert explanation.edge_mask.shape == (8,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    x, pos, conv = torch.randn(5, 3), torch.randn(5, 2), SpatialConv(3, 4, dim=2, law=Cosine())
    x, pos, conv = x.to(dtype), pos.to(dtype), conv.to(dtype)
    y = conv(x, pos, EDGES)
    exact = copy.deepcopy(conv).double()
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), exact(x.double(), pos.double(), EDGES), rtol=2e-2, atol=2e-2)


def test_transforms():
    x, pos, conv = torch.randn(5, 3), torch.randn(5, 2), SpatialConv(3, 4, dim=2)
    jacobian = torch.func.jacrev(lambda x: conv(x, pos, EDGES))(x)
    right = torch.autograd.functional.jacobian(lambda x: conv(x, pos, EDGES), x)
    torch.testing.assert_close(jacobian, right)


# Errors ----


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(5)}, ValueError, r"x must have at least 2 axes, got shape \(5,\)"),
        ({"x": torch.zeros(5, 2)}, ValueError, r"x must have 3 channels \(in_channels\), got 2"),
        ({"x": torch.zeros(4, 3)}, ValueError, r"x must have as many rows as pos \(5\), got 4"),
        ({"x": torch.zeros(5, 3, dtype=torch.int64)}, TypeError, "x must be floating point, got torch.int64"),
        ({"pos": torch.zeros(5, 3)}, ValueError, r"pos must have 2 dimensions \(dim\), got 3"),
        ({"edge_index": EDGES + 1}, ValueError, r"edge_index\[0\] must lie between 0 and 4, got 5"),
        ({"edge_index": EDGES.float()}, TypeError, "edge_index must be int64, got torch.float32"),
        ({"edge_index": matrix(EDGES, torch.ones(8), 6, 6)}, ValueError, r"adj_t must have shape \(5, 5\)"),
        ({"edge_weight": torch.ones(7)}, ValueError, r"edge_weight must have shape \(8,\), got \(7,\)"),
        ({"edge_weight": torch.ones(8) + 1j}, TypeError, "edge_weight must be real, got torch.complex64"),
        (
            {"edge_index": matrix(EDGES, torch.ones(8) + 1j, 5, 5)},
            TypeError,
            "values of adj_t must be real, got torch",
        ),
        ({"size": (5, 4)}, ValueError, r"size must be the numbers of positions \(5, 5\), got \(5, 4\)"),
    ],
)
def test_wrong_arguments(change, error, message):
    arguments = {"x": torch.zeros(5, 3), "pos": torch.zeros(5, 2), "edge_index": EDGES} | change
    with pytest.raises(error, match=message):
        SpatialConv(3, 4, dim=2)(**arguments)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"in_channels": 0}, ValueError, "in_channels must be at least 1, got 0"),
        ({"out_channels": -1}, ValueError, "out_channels must be at least 1, got -1"),
        ({"dim": 0}, ValueError, "dim must be at least 1, got 0"),
        ({"law": "newton"}, ValueError, "law must be one of"),
        ({"normalize": "softmax"}, ValueError, "normalize must be one of 'sum', 'gcn', got 'softmax'"),
        ({"normalize": "sum", "aggr": "max"}, ValueError, "normalize must be None unless aggr is 'add'"),
        ({"spread": 0.0}, ValueError, "spread must be above 0, got 0.0"),
        ({"gain": "a"}, TypeError, "gain must be a number, got 'a'"),
        ({"bias": 1}, TypeError, "bias must be True or False, got 1"),
    ],
)
def test_wrong_settings(options, error, message):
    with pytest.raises(error, match=message):
        SpatialConv(**({"in_channels": 3, "out_channels": 4, "dim": 2} | options))


def test_a_matrix_flows_from_sources_to_targets_only():
    conv = SpatialConv(3, 4, dim=2, flow="target_to_source")
    with pytest.raises(ValueError, match="flow must be 'source_to_target' with an adj_t"):
        conv(torch.zeros(5, 3), torch.zeros(5, 2), matrix(EDGES, torch.ones(8), 5, 5))
