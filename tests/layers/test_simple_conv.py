import warnings

import numpy as np
import pytest
import torch
import torch_geometric.nn as pyg
from references import LAWS, assert_close, law_weight, softened_squares
from torch import nn

from spatialgraph import SpatialSimpleConv
from spatialgraph.laws import InversePower

EDGES = torch.tensor([[0, 1, 2, 2, 3, 0, 4], [1, 2, 1, 3, 0, 3, 3]])
PAIRS = torch.tensor([[0, 1, 2, 4, 4, 0], [0, 0, 2, 1, 2, 2]])  # from five sources to three targets


def leaves(*shapes):
    return [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def transposed_adjacency(edges, sources, targets):
    """The same edges as ``adj_t``, a matrix in compressed rows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse invariant checks", UserWarning)
        ones = torch.ones(edges.shape[1], dtype=torch.float64)
        return torch.sparse_coo_tensor(edges.flip(0), ones, (targets, sources)).to_sparse_csr()


def signed_weights(law, gain, source_pos, target_pos, polarity, edges):
    """Matrix (targets, sources) of the weights of existing edges."""
    square = softened_squares(source_pos.detach().numpy(), target_pos.detach().numpy(), law.softening)
    weight = gain * law_weight(law, square) * polarity.detach().numpy()
    exists = np.zeros(weight.shape)
    exists[edges[1], edges[0]] = 1.0
    return exists * weight, exists


# SpatialSimpleConv ----


@pytest.mark.parametrize("is_matrix", [False, True])
def test_a_batch_of_features_is_computed_as_each_alone(is_matrix):
    x, source_pos, target_pos = leaves((2, 4, 5, 3), (5, 2), (3, 2))
    operator = SpatialSimpleConv(normalize="sum")
    edges = transposed_adjacency(PAIRS, 5, 3) if is_matrix else PAIRS
    together = operator((x, None), (source_pos, target_pos), edges)
    alone = torch.stack([operator((row, None), (source_pos, target_pos), edges) for row in x.flatten(0, 1)])
    results = [
        [y, *torch.autograd.grad(y.square().sum(), [x, source_pos, target_pos])]
        for y in (together, alone.view(2, 4, 3, 3))
    ]
    for value, right in zip(*results, strict=True):
        torch.testing.assert_close(value, right, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("make", LAWS.values(), ids=LAWS.keys())
def test_convolution_on_one_set_of_nodes(make):
    law = make().double()
    x, pos, polarity = leaves((5, 4), (5, 3), (5,))
    operator = SpatialSimpleConv(law, gain=0.7)
    weight, _ = signed_weights(law, 0.7, pos, pos, polarity, EDGES)
    y = operator(x, pos, EDGES, polarity)
    assert_close(y, weight @ x.detach().numpy(), 1e-12)
    unsigned, _ = signed_weights(law, 0.7, pos, pos, torch.ones(5), EDGES)
    assert_close(operator(x, pos, EDGES), unsigned @ x.detach().numpy(), 1e-12)


@pytest.mark.parametrize("make", LAWS.values(), ids=LAWS.keys())
def test_edge_list_and_matrix_agree(make):
    law = make().double()
    x, source_pos, target_pos, polarity = leaves((5, 4), (5, 3), (3, 3), (5,))
    operator = SpatialSimpleConv(law, gain=-1.5)
    source_pos, target_pos = 0.3 * source_pos, 0.3 * target_pos  # all well within the reach of the compact law
    features, places = (x, x.new_zeros(3, 4)), (source_pos, target_pos)
    wanted = [x, source_pos, target_pos, polarity, *law.parameters()]
    results = []
    for edges in (PAIRS, PAIRS[:, [5, 3, 1, 0, 2, 4]], transposed_adjacency(PAIRS, 5, 3)):
        y = operator(features, places, edges, polarity)
        results.append([y, *torch.autograd.grad(y.square().sum(), wanted)])
    expected, _ = signed_weights(law, -1.5, source_pos, target_pos, polarity, PAIRS)
    assert_close(results[0][0], expected @ x.detach().numpy(), 1e-12)
    for result in results[1:]:
        for value, right in zip(result, results[0], strict=True):
            assert_close(value, right, 1e-10)


def test_matrix_on_one_set_of_nodes():
    x, pos, polarity = leaves((5, 4), (5, 2), (5,))
    operator = SpatialSimpleConv()
    y = operator(x, pos, transposed_adjacency(EDGES, 5, 5), polarity)
    assert_close(y, operator(x, pos, EDGES, polarity), 1e-12)


@pytest.mark.parametrize("aggr", ["add", "sum", "mean", "max", "min"])
@pytest.mark.parametrize("compressed", [False, True])
def test_aggregations(aggr, compressed):
    x, source_pos, target_pos, polarity = leaves((5, 4), (5, 3), (3, 3), (5,))
    operator = SpatialSimpleConv(aggr=aggr)
    weight, exists = signed_weights(operator.law, 1.0, source_pos, target_pos, polarity, PAIRS)
    messages = weight[:, :, None] * x.detach().numpy()  # (targets, sources, features)
    reduce = {"max": np.max, "min": np.min, "mean": np.mean}.get(aggr, np.sum)
    expected = np.stack([reduce(m[e > 0], axis=0) for m, e in zip(messages, exists, strict=True)])
    edges = transposed_adjacency(PAIRS, 5, 3) if compressed else PAIRS
    y = operator((x, x.new_zeros(3, 4)), (source_pos, target_pos), edges, polarity)
    assert_close(y, expected, 1e-12)
    y.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_flow_against_the_edges():
    x, pos, polarity = leaves((5, 4), (5, 3), (5,))
    backward = SpatialSimpleConv(flow="target_to_source")(x, pos, EDGES, polarity)
    assert_close(backward, SpatialSimpleConv()(x, pos, EDGES.flip(0), polarity), 1e-12)


def test_flow_against_the_edges_of_a_bipartite_graph():
    # The second row sends: polarity belongs to the second set of nodes.
    sent, places, others, polarity = leaves((3, 4), (3, 2), (5, 2), (3,))
    backward = SpatialSimpleConv(flow="target_to_source")
    y = backward((sent.new_zeros(5, 4), sent), (others, places), PAIRS, polarity)
    forward = SpatialSimpleConv()((sent, sent.new_zeros(5, 4)), (places, others), PAIRS.flip(0), polarity)
    assert y.shape == (5, 4)
    assert_close(y, forward, 1e-12)


def test_only_sources_need_features():
    x, source_pos, target_pos = leaves((5, 4), (5, 3), (3, 3))
    places = source_pos, target_pos
    expected = SpatialSimpleConv()((x, x.new_zeros(3, 4)), places, PAIRS)
    for edges in (PAIRS, transposed_adjacency(PAIRS, 5, 3)):
        assert_close(SpatialSimpleConv()((x, None), places, edges), expected, 1e-12)


def test_size():
    x, source_pos, target_pos = leaves((5, 4), (5, 3), (3, 3))
    operator = SpatialSimpleConv()
    features, places = (x, x.new_zeros(3, 4)), (source_pos, target_pos)
    assert torch.equal(operator(features, places, PAIRS, size=(5, 3)), operator(features, places, PAIRS))
    with pytest.raises(ValueError, match="3"):
        operator(features, places, PAIRS, size=(5, 4))


def test_nodes_without_edges_hear_nothing():
    x, pos = leaves((6, 4), (6, 3))
    for edges in (EDGES, transposed_adjacency(EDGES, 6, 6)):
        assert SpatialSimpleConv()(x, pos, edges)[[4, 5]].eq(0.0).all()
    none = torch.empty(2, 0, dtype=torch.int64)
    assert SpatialSimpleConv()(x, pos, none).eq(0.0).all()


def test_gradcheck():
    x, pos, polarity = leaves((5, 2), (5, 2), (5,))
    law = InversePower(learnable=True).double()
    operator = SpatialSimpleConv(law)
    matrix = transposed_adjacency(EDGES, 5, 5)
    for edges in (EDGES, matrix):
        assert torch.autograd.gradcheck(
            lambda x, pos, polarity, _, edges=edges: operator(x, pos, edges, polarity),
            (x, pos, polarity, law.exponent),
        )


def test_in_a_pyg_sequential():
    model = pyg.Sequential(
        "x, pos, edge_index",
        [
            (nn.Linear(4, 8), "x -> x"),
            (SpatialSimpleConv(), "x, pos, edge_index -> x"),
            (nn.Tanh(), "x -> x"),
            (SpatialSimpleConv(InversePower(learnable=True)), "x, pos, edge_index -> x"),
        ],
    )
    x, pos = torch.randn(5, 4), torch.randn(5, 3, requires_grad=True)
    y = model(x, pos, EDGES)
    y.sum().backward()
    assert y.shape == (5, 8) and (pos.grad != 0).any() and model[3].law.exponent.grad is not None
    assert "SpatialSimpleConv" in repr(model)


def test_in_a_heterogeneous_convolution():
    model = pyg.HeteroConv(
        {
            ("a", "to", "b"): SpatialSimpleConv(),
            ("b", "back", "a"): SpatialSimpleConv("gaussian"),
            ("b", "in", "b"): SpatialSimpleConv(),
        }
    )
    x = {"a": torch.randn(5, 4), "b": torch.randn(3, 4)}
    pos = {"a": torch.randn(5, 2), "b": torch.randn(3, 2)}
    within = torch.tensor([[0, 1], [1, 2]])
    edges = {("a", "to", "b"): PAIRS, ("b", "back", "a"): PAIRS.flip(0), ("b", "in", "b"): within}
    y = model(x, pos_dict=pos, edge_index_dict=edges)
    to_b = SpatialSimpleConv()((x["a"], x["b"]), (pos["a"], pos["b"]), PAIRS) + SpatialSimpleConv()(
        x["b"], pos["b"], within
    )
    to_a = SpatialSimpleConv("gaussian")((x["b"], x["a"]), (pos["b"], pos["a"]), PAIRS.flip(0))
    assert_close(y["b"], to_b.double(), 1e-6)
    assert_close(y["a"], to_a.double(), 1e-6)


def test_autocast_of_a_matrix():
    x, pos = torch.randn(5, 4), torch.randn(5, 3)
    expected = SpatialSimpleConv()(x, pos, EDGES).double()
    with torch.autocast("cpu", torch.bfloat16):
        y = SpatialSimpleConv()(x, pos, transposed_adjacency(EDGES, 5, 5).float())
    assert_close(y, expected, 1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(5)}, ValueError, r"x must have at least 2 axes, got shape \(5,\)"),
        ({"pos": torch.zeros(5)}, ValueError, r"pos must have 2 axes, got shape \(5,\)"),
        ({"pos": [0.0]}, TypeError, "pos must be a tensor, got list"),
        ({"polarity": torch.zeros(4)}, ValueError, r"polarity must have shape \(5,\), got \(4,\)"),
        ({"x": torch.zeros(4, 4)}, ValueError, r"x must have as many rows as pos \(5\), got 4"),
        ({"x": torch.zeros(6, 4)}, ValueError, r"x must have as many rows as pos \(5\), got 6"),
        ({"x": (torch.zeros(5, 4), torch.zeros(6, 4))}, ValueError, r"x must have as many rows as pos \(5\), got 6"),
        ({"x": (None, torch.zeros(5, 4))}, TypeError, "x must be a tensor, got NoneType"),
        ({"pos": (torch.zeros(5, 3), torch.zeros(5, 2))}, ValueError, r"pos must have shape \(5, 3\), got \(5, 2\)"),
        ({"pos": torch.zeros(5, 3, dtype=torch.int64)}, TypeError, "pos must be floating point, got torch.int64"),
        ({"pos": (torch.zeros(5, 3),) * 3}, ValueError, "pos must be a tensor or a pair of tensors, got 3"),
        ({"edge_index": EDGES + 1}, ValueError, r"edge_index\[0\] must lie between 0 and 4, got 5"),
        ({"edge_index": EDGES - 1}, ValueError, r"edge_index\[0\] must lie between 0 and 4, got -1"),
        ({"edge_index": EDGES.t()}, ValueError, r"edge_index must have shape \(2, edges\), got \(7, 2\)"),
        ({"edge_index": EDGES.float()}, TypeError, "edge_index must be int64, got torch.float32"),
        ({"edge_index": EDGES.int()}, TypeError, "edge_index must be int64, got torch.int32"),
    ],
)
def test_wrong_arguments(change, error, message):
    arguments = {"x": torch.zeros(5, 4), "pos": torch.zeros(5, 3), "edge_index": EDGES} | change
    with pytest.raises(error, match=message):
        SpatialSimpleConv()(**arguments)


@pytest.mark.parametrize("aggr", ["add", "max"])
@pytest.mark.parametrize("size", [(6, 6), (5, 6), (6, 5), (4, 4), (3, 5)])
def test_a_matrix_of_another_size_is_refused(size, aggr):
    targets, sources = size
    inside = (EDGES[0] < sources) & (EDGES[1] < targets)
    matrix = transposed_adjacency(EDGES[:, inside], sources, targets)
    message = rf"adj_t must have shape \(5, 5\), targets and sources, got \({targets}, {sources}\)"
    with pytest.raises(ValueError, match=message):
        SpatialSimpleConv(aggr=aggr)(torch.zeros(5, 4), torch.zeros(5, 3), matrix)


@pytest.mark.parametrize(
    ("pointer", "column", "message"),
    [
        ([0, 1, 2], [0, 10**9], "_indices of adj_t must lie between 0 and 1, got 1000000000"),
        (
            [0, 1, 2**31],
            [0, 1],
            r"adj_t must lead from 0 to the number of edges \(2\), got 0 to 2147483648",
        ),
        ([0, 5, 2], [0, 1], "_indices of adj_t must not decrease, got 5 before 2"),
    ],
)
@pytest.mark.parametrize("make", [torch.sparse_csr_tensor, torch.sparse_csc_tensor])
@pytest.mark.parametrize("aggr", ["add", "max"])
def test_a_matrix_whose_entries_do_not_exist_is_refused(aggr, make, pointer, column, message):
    matrix = make(torch.tensor(pointer), torch.tensor(column), torch.ones(2), (2, 2), check_invariants=False)
    with pytest.raises(ValueError, match=message):
        SpatialSimpleConv(aggr=aggr)(torch.zeros(2, 4), torch.zeros(2, 3), matrix)


@pytest.mark.parametrize("features", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("places", [torch.float64, torch.float32])
def test_edge_list_and_matrix_compute_in_the_same_precision(features, places):
    x, pos = torch.randn(5, 4).to(features).requires_grad_(), torch.randn(5, 3).to(places).requires_grad_()
    results = []
    for edges in (EDGES, transposed_adjacency(EDGES, 5, 5)):
        y = SpatialSimpleConv()(x, pos, edges)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, pos])])
    tolerance = 1e-12 if features == places == torch.float64 else 1e-2 if features == torch.bfloat16 else 1e-5
    for listed, compressed in zip(*results, strict=True):
        assert listed.dtype == compressed.dtype
        torch.testing.assert_close(compressed, listed, rtol=tolerance, atol=tolerance)
    assert results[0][0].dtype == torch.promote_types(features, places)


def test_features_keep_their_digits():
    # 1 + 2^-40 is no number of single precision.
    x, pos = torch.tensor([[1.0 + 2.0**-40], [0.0]], dtype=torch.float64), torch.tensor([[0.0], [1.0]])
    conv = SpatialSimpleConv(InversePower(softening=1e-6))
    edges = torch.tensor([[0], [1]])
    assert conv(x, pos, transposed_adjacency(edges, 2, 2))[1].item() == conv(x, pos, edges)[1].item() == 1.0 + 2.0**-40


@pytest.mark.parametrize("groups", [1, 2, 3, 7])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("aggr", ["add", "max"])
def test_groups_of_features_change_nothing(groups, compressed, aggr):
    x, source_pos, target_pos, polarity = leaves((5, 4), (5, 3), (3, 3), (5,))
    edges = transposed_adjacency(PAIRS, 5, 3) if compressed else PAIRS
    arguments = (x, None), (source_pos, target_pos), edges, polarity
    y, expected = (
        SpatialSimpleConv(aggr=aggr, decomposed_layers=groups)(*arguments),
        SpatialSimpleConv(aggr=aggr)(*arguments),
    )
    assert y.shape == expected.shape
    assert_close(y, expected, 1e-12)
    backward = SpatialSimpleConv(flow="target_to_source", decomposed_layers=groups)
    assert_close(
        backward(x, source_pos, EDGES), SpatialSimpleConv(flow="target_to_source")(x, source_pos, EDGES), 1e-12
    )


def test_repr_of_a_convolution():
    assert repr(SpatialSimpleConv(gain=0.5)) == "SpatialSimpleConv(InverseDistance(softening=0.001), gain=0.5)"
    other = SpatialSimpleConv("gaussian", aggr="mean", flow="target_to_source", decomposed_layers=2)
    assert repr(other) == (
        "SpatialSimpleConv(Gaussian(sigma=1.0), gain=1, aggr='mean', flow='target_to_source', decomposed_layers=2)"
    )


def test_wrong_settings():
    with pytest.raises(ValueError, match="law must be one of"):
        SpatialSimpleConv("newton")
    with pytest.raises(ValueError, match="gain must be finite, got inf"):
        SpatialSimpleConv(gain=float("inf"))
    with pytest.raises(ValueError, match="decomposed_layers must be at least 1, got 0"):
        SpatialSimpleConv(decomposed_layers=0)
    conv = SpatialSimpleConv()
    with pytest.raises(TypeError, match="gain must be a number, got 'a'"):
        conv.gain = "a"


# Normalisation, edge weights, self-loops ----

LOOPS = torch.cat([EDGES, torch.arange(5).repeat(2, 1)], 1)


def normalised_matrix(operator, pos, edge_weight):
    """Weights (targets, sources) by the formula, for distinct edges."""
    weight, exists = signed_weights(operator.law, 1.0, pos, pos, torch.ones(5), LOOPS)
    np.fill_diagonal(weight, np.diag(exists) * operator.self_weight)
    weight[LOOPS[1], LOOPS[0]] *= edge_weight.detach().numpy()
    into, out_of = abs(weight).sum(1, keepdims=True), abs(weight).sum(0)
    return {"sum": weight / into, "gcn": weight / np.sqrt(into * out_of)}.get(operator.normalize, weight)


@pytest.mark.parametrize("normalize", [None, "sum", "gcn"])
def test_normalised_weights(normalize):
    x, pos, polarity, edge_weight = leaves((5, 4), (5, 3), (5,), (12,))
    operator = SpatialSimpleConv(gain=0.7, normalize=normalize, self_weight=2.5)
    matrix = 0.7 * normalised_matrix(operator, pos, edge_weight) * polarity.detach().numpy()
    y = operator(x, pos, LOOPS, polarity, edge_weight)
    assert_close(y, matrix @ x.detach().numpy(), 1e-12)
    assert torch.autograd.gradcheck(
        lambda *values: operator(*values[:2], LOOPS, *values[2:]), (x, pos, polarity, edge_weight)
    )
    adj_t = torch.sparse_coo_tensor(LOOPS.flip(0), edge_weight.detach(), (5, 5), check_invariants=True).coalesce()
    assert_close(operator(x, pos, adj_t, polarity), y, 1e-12)


def test_gcn_normalisation_is_that_of_a_gcn():
    x, pos = leaves((5, 4), (5, 3))
    both = torch.cat([EDGES[:, :5], EDGES[:, :5].flip(0)], 1).unique(dim=1)
    both = torch.cat([both, torch.arange(5).repeat(2, 1)], 1)
    operator, gcn = SpatialSimpleConv("gaussian", normalize="gcn"), pyg.GCNConv(4, 4, bias=False).double()
    gcn.lin.weight.data = torch.eye(4, dtype=torch.float64)
    length = (pos[both[0]] - pos[both[1]]).norm(dim=1)
    assert_close(operator(x, pos, both), gcn(x, both, operator.law(length)), 1e-10)


def test_self_loops_weigh_one_unless_told():
    x, pos = leaves((5, 4), (5, 3))
    loops = torch.arange(5).repeat(2, 1)
    assert torch.equal(SpatialSimpleConv()(x, pos, loops), x)
    assert_close(SpatialSimpleConv(self_weight=None)(x, pos, loops), 1000.0 * x, 1e-10)
    assert_close(SpatialSimpleConv()(x, (pos, pos.clone()), loops), 1000.0 * x, 1e-10)  # two sets of nodes


@pytest.mark.parametrize("normalize", ["sum", "gcn"])
def test_normalised_nodes_without_edges_receive_nothing(normalize):
    x, pos = leaves((6, 4), (6, 3))
    y = SpatialSimpleConv(normalize=normalize)(x, pos, EDGES)
    (gradient,) = torch.autograd.grad(y.sum(), [pos])
    assert y[[4, 5]].eq(0.0).all() and torch.isfinite(gradient).all()


def test_wrong_weights():
    x, pos, matrix = torch.zeros(5, 4), torch.zeros(5, 3), transposed_adjacency(EDGES, 5, 5)
    with pytest.raises(ValueError, match=r"edge_weight must have shape \(7,\), got \(6,\)"):
        SpatialSimpleConv()(x, pos, EDGES, edge_weight=torch.ones(6))
    with pytest.raises(TypeError, match="edge_weight must be real, got torch.complex64"):
        SpatialSimpleConv()(x, pos, EDGES, edge_weight=torch.ones(7) + 1j)
    with pytest.raises(ValueError, match="edge_weight must be None with an adj_t"):
        SpatialSimpleConv()(x, pos, matrix, edge_weight=torch.ones(7))
    with pytest.raises(ValueError, match="normalize must be one of 'sum', 'gcn', got 'softmax'"):
        SpatialSimpleConv(normalize="softmax")
    with pytest.raises(ValueError, match="self_weight must be finite, got nan"):
        SpatialSimpleConv(self_weight=float("nan"))
