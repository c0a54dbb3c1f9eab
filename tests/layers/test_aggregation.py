"""Aggregations of graph convolutions: which of them an operator takes, and by which name or object."""

import pytest
import torch
from torch_geometric.nn.aggr import MultiAggregation, SoftmaxAggregation, SumAggregation

from spatialgraph import SpatialConv, SpatialGNN, SpatialSimpleConv

X, POS = torch.randn(5, 6), torch.randn(5, 2)
EDGES = torch.tensor([[0, 1, 2, 2, 3, 0, 4], [1, 2, 1, 3, 0, 3, 3]])


def test_several_aggregations_lie_side_by_side():
    y = SpatialSimpleConv(aggr=["add", "max"])(X, POS, EDGES)
    parts = [SpatialSimpleConv(aggr=aggr)(X, POS, EDGES) for aggr in ("add", "max")]
    torch.testing.assert_close(y, torch.cat(parts, dim=-1))


@pytest.mark.parametrize("first", [["add", "max"], "median", SumAggregation()], ids=repr)
def test_an_operator_does_not_depend_on_those_made_before(first):
    class Own(SpatialSimpleConv):
        """PyG generates code for each class, when its first object is made."""

    Own(aggr=first)
    adj_t = torch.sparse_coo_tensor(EDGES.flip(0), torch.ones(7), (5, 5), check_invariants=True).coalesce()
    torch.testing.assert_close(Own()(X, POS, adj_t), SpatialSimpleConv()(X, POS, EDGES))


@pytest.mark.parametrize("aggr", [["add", "max"], ("add",), MultiAggregation(["add", "max"]), SumAggregation()])
def test_groups_of_features_need_the_name_of_one_aggregation(aggr):
    with pytest.raises(ValueError, match="decomposed_layers must be 1 unless aggr is the name of .*, got 3 with"):
        SpatialSimpleConv(aggr=aggr, decomposed_layers=3)


@pytest.mark.parametrize(
    "aggr", [None, ["add", "max"], ("add", "max"), ["add"], MultiAggregation(["add", "max"])], ids=repr
)
def test_channels_take_a_single_aggregation(aggr):
    for make in (lambda: SpatialConv(6, 4, 2, aggr=aggr), lambda: SpatialGNN(6, 4, 2, 3, dim=2, aggr=aggr)):
        with pytest.raises(ValueError, match="aggr must be a single aggregation or its name, got"):
            make()


def test_an_operator_without_aggregation():
    with pytest.raises(ValueError, match="aggr must be an aggregation or its name, got None"):
        SpatialSimpleConv(aggr=None)


def test_an_aggregation_may_be_an_object():
    y = SpatialConv(6, 4, 2, aggr=SoftmaxAggregation())(X, POS, EDGES)
    assert y.shape == (5, 4)


@pytest.mark.parametrize("aggr", ["add", "sum", "SumAggregation", SumAggregation()], ids=repr)
def test_a_sum_by_any_name(aggr):
    conv, plain = SpatialConv(6, 4, 2, normalize="sum", aggr=aggr), SpatialConv(6, 4, 2, normalize="sum")
    conv.load_state_dict(plain.state_dict())
    torch.testing.assert_close(conv(X, POS, EDGES), plain(X, POS, EDGES))
    torch.testing.assert_close(SpatialSimpleConv(aggr=aggr)(X, POS, EDGES), SpatialSimpleConv()(X, POS, EDGES))
