"""Graphs that the convolutions refuse, and graphs at the border of what they take."""

import warnings

import pytest
import torch
from torch_geometric.typing import SparseTensor

import spatialgraph as sg

EDGES = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 0, 4, 3]])
CONVS = {
    "conv": lambda: sg.SpatialConv(3, 4, dim=2),
    "normalised": lambda: sg.SpatialConv(3, 4, dim=2, normalize="gcn"),
    "simple": sg.SpatialSimpleConv,
    "max": lambda: sg.SpatialSimpleConv(aggr="max"),
    "gnn": lambda: sg.SpatialGNN(3, 4, 2, 3, dim=2),
}
MESSAGES = {
    "beyond the nodes": (torch.tensor([[0, 600_000], [1, 2]]), "adj_t[1] must lie between 0 and 4, got 600000"),
    "negative": (torch.tensor([[0, 1], [1, -5]]), "adj_t[0] must lie between 0 and 4, got -5"),
}


class Rows(SparseTensor):
    """What PyG asks of a ``torch_sparse.SparseTensor``."""

    def __init__(self, index, size):
        self.index, self.shape = index[:, torch.argsort(index[0])], size

    def size(self, axis):
        return self.shape[axis]

    sparse_size = size

    def coo(self):
        return self.index[0], self.index[1], None

    def csr(self):
        counts = torch.bincount(self.index[0], minlength=self.shape[0])
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)]), self.index[1], None


def unchecked(index, kind, size=(5, 5)):
    """An ``adj_t`` that nobody has checked."""
    if kind == "SparseTensor":
        return Rows(index, size)
    options = {"check_invariants": False, "is_coalesced": kind == "coalesced"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse invariant checks", UserWarning)
        return torch.sparse_coo_tensor(index, torch.ones(index.shape[1]), size, **options)


def arguments(**change):
    return {"x": torch.rand(5, 3), "pos": torch.rand(5, 2), "edge_index": EDGES} | change


@pytest.fixture(params=CONVS.values(), ids=CONVS.keys())
def conv(request):
    return request.param()


@pytest.mark.parametrize("kind", ["coo", "coalesced", "SparseTensor"])
@pytest.mark.parametrize(("index", "message"), MESSAGES.values(), ids=MESSAGES.keys())
def test_a_matrix_with_wrong_indices(conv, index, message, kind):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        conv(**arguments(edge_index=unchecked(index, kind)))


@pytest.mark.parametrize("size", [(7, 7), (5, 7), (7, 5), (3, 3)])
@pytest.mark.parametrize("kind", ["coo", "SparseTensor"])
def test_a_matrix_of_another_size(conv, size, kind):
    with pytest.raises(ValueError, match=rf"adj_t must have shape \(5, 5\), targets and sources, got \({size[0]}, "):
        conv(**arguments(edge_index=unchecked(torch.tensor([[0], [1]]), kind, size)))


def test_a_sparse_tensor_is_its_edges(conv):
    known = arguments()
    y = conv.eval()(**known)
    torch.testing.assert_close(conv(**(known | {"edge_index": Rows(EDGES.flip(0), (5, 5))})), y)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"edge_index": EDGES - 1}, ValueError, r"edge_index\[0\] must lie between 0 and 4, got -1"),
        ({"edge_index": EDGES.t()}, ValueError, r"edge_index must have shape \(2, edges\), got \(5, 2\)"),
        ({"edge_index": EDGES.int()}, TypeError, "edge_index must be int64, got torch.int32"),
        ({"edge_index": None}, TypeError, "edge_index must be a tensor, got NoneType"),
        ({"edge_index": torch.ones(5, 5)}, ValueError, r"edge_index must have shape \(2, edges\), got \(5, 5\)"),
        ({"edge_index": EDGES.to("meta")}, ValueError, "edge_index must be on cpu like the others, got meta"),
        ({"edge_weight": torch.ones(4)}, ValueError, r"edge_weight must have shape \(5,\), got \(4,\)"),
        ({"edge_weight": torch.ones(5, 1)}, ValueError, r"edge_weight must have shape \(5,\), got \(5, 1\)"),
        ({"edge_weight": 2.0}, TypeError, "edge_weight must be a tensor, got float"),
        ({"x": torch.rand(4, 3)}, ValueError, r"x must have as many rows as pos \(5\), got 4"),
        ({"x": torch.rand(5, 3, device="meta")}, ValueError, "x must be on cpu like the others, got meta"),
        ({"pos": torch.zeros(5, 2, dtype=torch.int64)}, TypeError, "pos must"),
        ({"pos": None}, TypeError, "pos must be a tensor, got NoneType"),
    ],
)
def test_wrong_arguments(conv, change, error, message):
    with pytest.raises(error, match=message):
        conv(**arguments(**change))


@pytest.mark.parametrize("make", [CONVS["conv"], CONVS["simple"]])
def test_wrong_size(make):
    with pytest.raises(TypeError, match="size must be a pair of numbers of nodes, got int"):
        make()(**arguments(size=5))


def test_a_matrix_of_several_values_for_each_edge(conv):
    several = torch.sparse_coo_tensor(EDGES, torch.ones(5, 2), (5, 5, 2), check_invariants=True)
    with pytest.raises(ValueError, match=r"values of adj_t must have shape \(5,\), got \(5, 2\)"):
        conv(**arguments(edge_index=several))


def test_polarities_on_another_device():
    with pytest.raises(ValueError, match="polarity must be on cpu like the others, got meta"):
        sg.SpatialSimpleConv()(**arguments(polarity=torch.ones(5, device="meta")))


def test_positions_that_are_not_numbers_are_passed_on_as_in_other_operators(conv):
    pos = torch.rand(5, 2)
    pos[0] = torch.nan
    assert conv(**arguments(pos=pos)).isnan().any()


def test_graphs_without_nodes_or_edges(conv):
    none = torch.empty(2, 0, dtype=torch.int64)
    assert conv(**arguments(edge_index=none)).isfinite().all()
    y = conv(torch.empty(0, 3), torch.empty(0, 2), none)
    assert y.shape == (0, conv(**arguments()).shape[1])


def test_an_edge_that_is_listed_twice_counts_twice(conv):
    if getattr(conv, "aggr", "add") == "max" or isinstance(conv, sg.SpatialGNN):
        pytest.skip("not a sum")
    known = arguments()
    doubled = conv(**(known | {"edge_index": torch.cat([EDGES, EDGES], 1)}))
    heavier = conv(**(known | {"edge_weight": torch.full((5,), 2.0)}))
    torch.testing.assert_close(doubled, heavier)


@pytest.mark.parametrize("law", [sg.laws.InverseDistance, lambda: sg.laws.Cosine(learnable=True)])
@pytest.mark.parametrize("normalize", [None, "sum", "gcn"])
def test_autocast(law, normalize):
    conv, known = sg.SpatialConv(3, 4, dim=2, law=law(), normalize=normalize), arguments()
    exact = conv(**known)
    exact.square().sum().backward()
    grads = [value.grad.clone() for value in conv.parameters()]
    conv.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(**known)
        y.square().sum().backward()
    torch.testing.assert_close(y, exact)
    for value, grad in zip(conv.parameters(), grads, strict=True):
        torch.testing.assert_close(value.grad, grad)
