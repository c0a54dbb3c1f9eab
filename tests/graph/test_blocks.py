"""Blocks of neurons, against plain indexing by neuron numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spatialgraph import SpatialGraph
from spatialgraph.graph.blocks import Blocks, side_by_side
from spatialgraph.wiring import Random


@st.composite
def partitions(draw):
    """Neurons in any order, cut into blocks, of which some are outputs."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    order = draw(st.permutations(range(sum(sizes))))
    if draw(st.booleans()):
        order = sorted(order)
    is_output = torch.tensor(draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order))))
    return Blocks.of(torch.tensor(order).split(sizes), is_output), is_output


@given(drawn=partitions())
def test_values_are_those_of_the_members(drawn):
    blocks, is_output = drawn
    values = torch.arange(10.0, 10.0 + len(is_output))
    for numbers, part in zip(blocks.members, blocks.split(values), strict=True):
        assert torch.equal(part, values[numbers])
    first, last = blocks.members[0], blocks.members[-1]
    is_input = torch.isin(torch.arange(len(values)), first)
    parts = blocks.split_receivers(values[~is_input])
    if parts is not None:
        assert [part.tolist() for part in parts] == [values[numbers].tolist() for numbers in blocks.members[1:]]
    parts = blocks.split_senders(values[~is_output])
    if parts is not None:
        assert [part.tolist() for part in parts] == [values[numbers].tolist() for numbers in blocks.members[:-1]]
        assert sorted(last.tolist()) == torch.nonzero(is_output)[:, 0].tolist()


def test_a_last_block_with_as_many_neurons_as_there_are_outputs_is_not_taken_for_them():
    members = torch.arange(4).split([2, 2])
    assert Blocks.of(members, torch.tensor([False, True, True, False])).split_senders(torch.zeros(2)) is None


def test_several_blocks_are_joined():
    parts = torch.arange(3.0).split([1, 2])
    assert side_by_side(parts).tolist() == [0.0, 1.0, 2.0] and side_by_side(parts[1:]) is parts[1]


def networks():
    """Networks whose neurons are numbered block by block, and others."""
    torch.manual_seed(0)
    skipping = torch.tensor([[0, 0, 1, 2, 0, 3], [2, 3, 2, 4, 4, 5]])
    numbers = torch.tensor([3, 0, 5, 1, 4, 2])
    return {
        "layers": SpatialGraph.layered([4, 5, 3]),
        "sparse layers": SpatialGraph.layered([4, 5, 3], wiring=Random(density=0.5)),
        "mixed numbers": SpatialGraph(torch.randn(6, 2), numbers[skipping]),
        "outputs between": SpatialGraph(torch.randn(5, 2), torch.tensor([[0, 0, 2], [1, 2, 3]])),
        "grids": SpatialGraph.layered([(2, 2), 5, 3]),
        "grids of polarities": SpatialGraph.layered([(2, 2), 5, 3], grid_polarity="axes"),
        "anchored": SpatialGraph.layered([4, 5, 3], anchored=[0]),
        "recurrent": SpatialGraph.layered([4, 5, 3], recurrent=Random(density=0.5)),
        "free": SpatialGraph.layered([4, 5, 3], weight_mode="free"),
    }


@pytest.mark.parametrize("name", networks())
def test_projections_take_the_values_of_their_neurons(name):
    graph = networks()[name].double()
    torch.nn.init.normal_(graph.raw_bias)
    transmission = graph.transmission()
    for number, projection in enumerate(graph.projections):
        synapses = transmission._synapses(number)
        torch.testing.assert_close(synapses.source_pos, graph.pos[projection.sources].as_subclass(torch.Tensor))
        torch.testing.assert_close(synapses.target_pos, graph.pos[projection.targets].as_subclass(torch.Tensor))
        scale = graph.gain * graph.polarity[projection.sources]
        torch.testing.assert_close(synapses.scale, scale.as_subclass(torch.Tensor), rtol=1e-7, atol=0.0)
        bias = graph.bias[projection.targets].as_subclass(torch.Tensor)
        torch.testing.assert_close(transmission.biases[number], bias)
