import math

import pytest
import torch
from references import assert_close

from spatialgraph import SpatialGraph
from spatialgraph.graph.connectivity import Connectivity
from spatialgraph.graph.positions import Positions, initial_positions
from spatialgraph.wiring import KNN, AllToAll

PAPER = [784, 2048, 10]
SIZES = [5, 4, 3]
LAYER = torch.tensor([0] * 5 + [1] * 4 + [2] * 3)


def parameters(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def train_a_little(graph):
    """Move every parameter that can move."""
    optimizer = torch.optim.SGD(graph.parameters(), lr=0.1)
    (graph.weights().square().sum() + graph.pos.square().sum() + graph.bias.sum()).backward()
    optimizer.step()


@pytest.mark.parametrize("polarity", ["graded", "binary"])
@pytest.mark.parametrize(
    ("dim", "spacing", "count"),
    [
        (3, "fixed", 10_574),
        (3, "learned", 10_576),
        (3, "free", 13_416),
        (5, "fixed", 16_258),
        (8, "fixed", 24_784),
        (16, "fixed", 47_520),
        (32, "fixed", 92_992),
    ],
)
def test_number_of_parameters(dim, spacing, count, polarity):
    assert parameters(SpatialGraph.layered(PAPER, dim, spacing=spacing, polarity_mode=polarity)) == count


@pytest.mark.parametrize("spacing", ["fixed", "learned"])
def test_layers_stand_apart(spacing):
    graph = SpatialGraph.layered(SIZES, spacing=spacing)
    assert graph.pos.shape == (12, 3)
    assert graph.pos[:, -1].tolist() == LAYER.tolist()
    train_a_little(graph)
    heights = [graph.pos[LAYER == number, -1].unique() for number in range(3)]
    assert all(len(height) == 1 for height in heights) and heights[0].item() == 0.0
    moved = [height.item() for height in heights] != [0.0, 1.0, 2.0]
    assert moved == (spacing == "learned")
    if spacing == "learned":
        gaps = graph.positions.gaps
        assert heights[2].item() == pytest.approx((gaps[0] + gaps[1]).item(), rel=1e-6)


def test_every_coordinate_is_free():
    graph = SpatialGraph.layered(SIZES, spacing="free")
    last = graph.pos[:, -1].detach()
    assert (last >= LAYER).all() and (last < LAYER + 1).all()
    before = graph.pos.detach().clone()
    train_a_little(graph)
    assert (graph.pos != before).all()


def test_gradient_of_a_gap_moves_all_later_layers():
    positions = SpatialGraph.layered(SIZES).positions
    positions().sum().backward()
    assert positions.gaps.grad.tolist() == [4.0 + 3.0, 3.0]


def test_one_axis_has_no_plane():
    graph = SpatialGraph.layered(SIZES, 1)
    assert graph.pos.tolist() == [[float(number)] for number in LAYER]
    assert torch.isfinite(graph.weights()).all()


# place() ----


@pytest.mark.parametrize("spacing", ["fixed", "learned", "free"])
def test_place_everywhere(spacing):
    graph = SpatialGraph.layered(SIZES, spacing=spacing)
    pos = torch.randn(12, 3)
    pos[:, -1] = LAYER * {"fixed": 1.0, "learned": -2.5, "free": 1.0}[spacing]
    if spacing == "free":
        pos[:, -1] += torch.rand(12)
    assert graph.place_(pos) is graph
    assert torch.equal(graph.pos, pos)


def test_place_a_layer():
    graph = SpatialGraph.layered(SIZES)
    before = graph.pos.detach().clone()
    pos = torch.cat([torch.randn(4, 2), torch.full((4, 1), 1.5)], dim=1)
    graph.place_(pos, 1)
    assert torch.equal(graph.pos[LAYER == 1], pos)
    assert torch.equal(graph.pos[LAYER != 1], before[LAYER != 1])
    assert graph.positions.gaps.tolist() == [1.5, 0.5]


@pytest.mark.parametrize("spacing", ["fixed", "learned", "free"])
def test_place_neurons_in_the_plane(spacing):
    graph = SpatialGraph.layered(SIZES, spacing=spacing)
    before = graph.pos.detach().clone()
    mask = torch.rand(12) < 0.5
    pos = torch.randn(int(mask.sum()), 2)
    graph.place_(pos, mask)
    assert torch.equal(graph.pos[mask, :2], pos)
    assert torch.equal(graph.pos[:, 2], before[:, 2]) and torch.equal(graph.pos[~mask], before[~mask])


def test_place_by_number_keeps_the_order():
    graph = SpatialGraph.layered(SIZES)
    pos = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    graph.place_(pos, torch.tensor([7, 2]))
    assert torch.equal(graph.pos[[7, 2], :2], pos)


def test_place_moves_anchored_neurons_too():
    graph = SpatialGraph.layered(SIZES, anchored=[0])
    pos = torch.cat([torch.randn(12, 2), LAYER[:, None].float()], dim=1)
    graph.place_(pos)
    assert torch.equal(graph.pos, pos)


def test_place_keeps_the_parameters():
    graph = SpatialGraph.layered(SIZES)
    before = list(map(id, graph.parameters()))
    graph.place_(torch.zeros(12, 2))
    assert list(map(id, graph.parameters())) == before


@pytest.mark.parametrize(
    ("spacing", "pos", "neurons", "message"),
    [
        ("free", torch.zeros(11, 3), None, r"pos must have shape \(12, 3\) or \(12, 2\), got \(11, 3\)"),
        ("free", torch.zeros(4, 4), 1, r"pos must have shape \(4, 3\) or \(4, 2\), got \(4, 4\)"),
        ("free", torch.full((12, 3), math.nan), None, "pos must be finite, got .* for neuron 0"),
        (
            "learned",
            torch.randn(12, 3),
            None,
            "pos must have the same last coordinate .* got -?[0-9.]+ in layer [0-2];",
        ),
        ("learned", torch.ones(5, 3), 0, "and 0 in layer 0"),
        ("fixed", torch.full((4, 3), 1.5), 1, "pos must have the layer's number as last coordinate"),
        ("free", torch.zeros(4, 3), 3, "neurons must name a layer between 0 and 2, got 3"),
        ("free", torch.zeros(1, 3), torch.tensor([12]), "neurons must lie between 0 and 11, got 12"),
    ],
)
def test_places_that_do_not_exist(spacing, pos, neurons, message):
    graph = SpatialGraph.layered(SIZES, spacing=spacing)
    before = graph.pos.detach().clone()
    with pytest.raises(ValueError, match=message):
        graph.place_(pos, neurons)
    assert torch.equal(graph.pos, before)


def test_fixed_layers_stay_1_apart():
    graph = SpatialGraph.layered(SIZES, spacing="fixed")
    pos = graph.pos.detach().clone()
    pos[:, 2] += 5e-7  # as rounding may leave it
    assert graph.place_(pos).positions.gaps.tolist() == [1.0, 1.0]


# Anchors ----


@pytest.mark.parametrize("spacing", ["fixed", "learned", "free"])
def test_anchored_layers_stay(spacing):
    graph = SpatialGraph.layered(SIZES, spacing=spacing, anchored=[0, 2])
    loose = SpatialGraph.layered(SIZES, spacing=spacing)
    axes = 3 if spacing == "free" else 2
    assert parameters(loose) - parameters(graph) == axes * (5 + 3)
    before = graph.pos.detach().clone()
    train_a_little(graph)
    assert torch.equal(graph.pos[LAYER != 1], before[LAYER != 1])
    assert (graph.pos[LAYER == 1, :2] != before[LAYER == 1, :2]).all()


def test_anchored_neurons_stay():
    mask = torch.zeros(12, dtype=torch.bool)
    mask[[1, 6, 11]] = True
    graph = SpatialGraph.layered(SIZES, anchored=mask)
    assert parameters(SpatialGraph.layered(SIZES)) - parameters(graph) == 2 * 3
    before = graph.pos.detach().clone()
    train_a_little(graph)
    assert torch.equal(graph.pos[mask], before[mask])
    assert (graph.pos[~mask, :2] != before[~mask, :2]).all()


def test_everybody_is_anchored():
    graph = SpatialGraph.layered(SIZES, spacing="free", anchored=[0, 1, 2])
    assert graph.positions.coords.numel() == 0
    before = graph.pos.detach().clone()
    train_a_little(graph)
    assert torch.equal(graph.pos, before)


def test_anchors_are_drawn_once():
    graph = SpatialGraph.layered(SIZES, anchored=[0])
    before = graph.pos.detach().clone()
    graph.reset_parameters()
    assert torch.equal(graph.pos[LAYER == 0], before[LAYER == 0])
    assert (graph.pos[LAYER > 0, :2] != before[LAYER > 0, :2]).all()


@pytest.mark.parametrize(
    ("anchored", "error", "message"),
    [
        ([3], ValueError, "anchored must name a layer between 0 and 2, got 3"),
        (["0"], TypeError, "anchored must be a layer's number"),
        (torch.zeros(12), TypeError, "anchored must be a boolean mask"),
        (torch.zeros(11, dtype=torch.bool), ValueError, r"anchored must have shape \(12,\), got \(11,\)"),
    ],
)
def test_wrong_anchors(anchored, error, message):
    with pytest.raises(error, match=message):
        SpatialGraph.layered(SIZES, anchored=anchored)


# Where neurons start ----


@pytest.mark.parametrize(("init", "largest"), [("normal", 6.0), ("uniform", math.sqrt(3)), ("grid", 1.8)])
def test_named_starts_have_unit_variance(init, largest):
    plane = initial_positions([2500, 1], 3, "fixed", init, None)[:2500, :2]
    assert_close(plane.mean(0), [0.0, 0.0], math.inf)
    assert plane.mean(0).abs().max() < 0.1
    assert (plane.var(0) - 1.0).abs().max() < 0.1
    assert plane.abs().max() <= largest


def test_grid_goes_row_by_row():
    plane = initial_positions([784, 10], 3, "fixed", "grid", None)[:784, :2].view(28, 28, 2)
    assert (plane[:, :, 0].diff(dim=1) > 0).all() and (plane[:, :, 1].diff(dim=0) > 0).all()
    assert (plane[:, :, 0] == plane[0, :, 0]).all() and (plane[:, :, 1] == plane[:, :1, 1]).all()


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
@pytest.mark.parametrize("init", ["normal", "uniform", "grid"])
def test_starts_in_every_dimension(init, dim):
    for spacing in ("fixed", "learned", "free"):
        graph = SpatialGraph.layered(SIZES, dim, init=init, spacing=spacing)
        assert graph.pos.shape == (12, dim) and torch.isfinite(graph.pos).all()


def test_start_from_a_function():
    seen = []

    def init(layer, n, axes):
        seen.append((layer, n, axes))
        return torch.full((n, axes), float(layer))

    graph = SpatialGraph.layered(SIZES, init=init)
    assert seen == [(0, 5, 2), (1, 4, 2), (2, 3, 2)]
    assert torch.equal(graph.pos[:, :2], LAYER[:, None].expand(12, 2).float())


def test_start_from_a_tensor():
    pos = torch.cat([torch.randn(12, 2), LAYER[:, None].float() * 0.5], dim=1)
    graph = SpatialGraph.layered(SIZES, init=pos)
    assert torch.equal(graph.pos, pos)
    train_a_little(graph)
    graph.reset_parameters()
    assert torch.equal(graph.pos, pos)


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (
            "gaussian",
            "init must be one of 'normal', 'uniform', 'grid', a tensor or a function, got 'gaussian'",
        ),
        (torch.zeros(3, 3), r"init must have shape \(12, 3\), got \(3, 3\)"),
        (
            lambda layer, n, axes: torch.zeros(n),
            r"init must return a tensor of shape \(5, 2\) for layer 0, got \(5,\)",
        ),
        (lambda layer, n, axes: [0.0], r"init must return a tensor of shape \(5, 2\) for layer 0, got list"),
    ],
)
def test_wrong_starts(init, message):
    with pytest.raises(ValueError, match=message):
        SpatialGraph.layered(SIZES, init=init)


def test_reset_forgets_trained_gaps():
    graph = SpatialGraph.layered(SIZES, anchored=[1])
    with torch.no_grad():
        graph.positions.gaps.copy_(torch.tensor([0.25, 3.0]))
    graph.reset_parameters()
    assert graph.positions.gaps.tolist() == [1.0, 1.0]


def test_wiring_sees_positions_of_anchored_neurons():
    graph = SpatialGraph.layered([4, 2], anchored=[0], wiring=KNN(k=1))
    pos = torch.tensor([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0], [30.0, 0.0], [19.0, 0.0], [1.0, 0.0]])
    assert graph.place_(pos).rewire_().edge_index.tolist() == [[2, 0], [4, 5]]


def test_positions_follow_the_precision():
    pos = torch.randn(12, 3).double()
    positions = Positions(pos, Connectivity(pos, AllToAll(), LAYER, None, LAYER == 0), "free")
    assert positions().dtype == torch.float64
    assert positions.float()().dtype == torch.float32
