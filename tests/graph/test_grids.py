"""Layers that are grids: coordinates of rows and columns, exact numbers of parameters, and what keeps them."""

import copy
import itertools

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spatialgraph as sg
from spatialgraph.graph.grids import Grid, Sums

SIZES = [(4, 5), 7, (2, 3)]
NETWORKS = list(itertools.product(("graded", "binary"), ("cell", "axes"), ("fixed", "learned", "free")))


def network(polarity_mode="graded", grid_polarity="cell", spacing="learned", **options):
    torch.manual_seed(0)
    named = {"polarity_mode": polarity_mode, "grid_polarity": grid_polarity, "spacing": spacing}
    return sg.SpatialGraph.layered(SIZES, 4, **named | options)


def pruned(graph):
    """Remove two cells of the first grid and a hidden neuron, with half of the other synapses."""
    gone = torch.tensor([1, 7, 22])
    graph.keep_((~torch.isin(graph.edge_index, gone)).all(0))
    kept = torch.rand(graph.synapses, generator=torch.Generator().manual_seed(1)) < 0.7
    graph.keep_(kept)
    mask = torch.ones(graph.neurons, dtype=torch.bool)
    mask[gone] = False
    return graph.keep_neurons_(mask)


def parameters(graph):
    return sum(p.numel() for p in graph.parameters())


def assert_same_state(one, other):
    states = one.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    assert one.connectivity.topology.equals(other.connectivity.topology)
    for name, values in states[0].items():
        if not name.endswith("connectivity._extra_state"):
            assert torch.equal(values, states[1][name]), name


@pytest.mark.parametrize(
    ("options", "count"),
    [
        # 56 rows and columns and 510 neurons with 15 coordinates, 3 gaps, 1,284 polarities, 510 biases
        ({}, 566 * 15 + 3 + 1284 + 510),
        ({"grid_polarity": "axes"}, 566 * 15 + 3 + 500 + 56 + 510),
        ({"spacing": "fixed"}, 566 * 15 + 1284 + 510),
        ({"spacing": "free"}, 566 * 16 + 1284 + 510),
        ({"anchored": [0]}, 510 * 15 + 3 + 1284 + 510),
        ({"anchored": [0], "grid_polarity": "axes"}, 510 * 15 + 3 + 500 + 56 + 510),
    ],
)
def test_parameters_are_those_of_rows_and_columns(options, count):
    model = sg.SpatialMLP([(28, 28), 300, 200, 10], dim=16, **options)
    assert parameters(model) == count == sg.summary(model, batch=1).pruned.parameters
    assert model(torch.zeros(2, 784)).shape == (2, 10)


def test_costs_of_projections_add_up_to_all_but_the_inputs():
    for mode, grid_polarity, spacing in NETWORKS:
        graph = network(mode, grid_polarity, spacing)
        inputs = (4 + 5) * (4 if spacing == "free" else 3) + (9 if grid_polarity == "axes" else 20)
        assert sg.summary(graph, batch=1).other_parameters == inputs


@given(shape=st.lists(st.integers(1, 4), min_size=2, max_size=4), seed=st.integers(0, 99), share=st.floats(0.3, 1))
@settings(deadline=None)
def test_cells_stand_where_their_rows_add_up_to(shape, seed, share):
    generator = torch.Generator().manual_seed(seed)
    cells = torch.nonzero(torch.rand(int(np.prod(shape)), generator=generator) <= share)[:, 0]
    grid = Grid.of(tuple(shape), cells)
    rows = torch.randn(sum(shape), 2, generator=generator, dtype=torch.float64)
    places = np.stack(np.unravel_index(cells.numpy(), shape))
    starts = np.cumsum([0, *shape[:-1]])[:, None]
    expected = rows.numpy()[places + starts].sum(0)
    np.testing.assert_allclose(grid.spread(rows).numpy(), expected, atol=1e-14)
    if len(cells):
        found = grid.fit(torch.from_numpy(expected))
        np.testing.assert_allclose(grid.spread(found).numpy(), expected, atol=1e-9)


def test_gradients_of_rows_are_sums_over_their_cells():
    graph = network(dtype=torch.float64)
    rows = graph.positions.grid_coords
    factors = torch.randn(graph.neurons, 4, dtype=torch.float64)
    (graph.pos * factors).sum().backward()
    cells = factors[:20, :3].reshape(4, 5, 3)
    torch.testing.assert_close(rows.grad[:9], torch.cat([cells.sum(1), cells.sum(0)]))
    assert torch.autograd.gradcheck(lambda values: Grid((2, 3)).spread(values), rows[:5].detach().requires_grad_())


@pytest.mark.parametrize(("mode", "grid_polarity", "spacing"), NETWORKS)
@pytest.mark.parametrize("change", [lambda graph: graph, pruned], ids=["whole", "pruned"])
def test_files_and_graphs_keep_all(mode, grid_polarity, spacing, change, tmp_path):
    graph = change(network(mode, grid_polarity, spacing))
    sg.save(graph, tmp_path / "network.safetensors")
    assert_same_state(sg.load(tmp_path / "network.safetensors"), graph)
    assert_same_state(sg.from_networkx(sg.to_networkx(graph)), graph)
    assert_same_state(sg.SpatialGraph.from_data(graph.to_data()), graph)
    nx.write_graphml(sg.to_networkx(graph), tmp_path / "network.graphml")
    assert_same_state(sg.from_networkx(nx.read_graphml(tmp_path / "network.graphml", node_type=int)), graph)
    assert_same_state(copy.deepcopy(graph), graph)


@pytest.mark.parametrize(("mode", "grid_polarity", "spacing"), NETWORKS)
def test_a_state_dict_restores_a_network(mode, grid_polarity, spacing):
    graph = network(mode, grid_polarity, spacing)
    other = sg.SpatialGraph.layered(SIZES, 4, polarity_mode=mode, grid_polarity=grid_polarity, spacing=spacing)
    other.load_state_dict(graph.state_dict())
    assert_same_state(other, graph)
    plain = sg.SpatialGraph.layered([20, 7, 6], 4, polarity_mode=mode, spacing=spacing)
    turned = sg.SpatialGraph.layered([(5, 4), 7, (2, 3)], 4, polarity_mode=mode, spacing=spacing)
    for wrong in (plain, turned):
        before = copy.deepcopy(wrong)
        with pytest.raises(RuntimeError, match="grids must be those of this network: size mismatch"):
            wrong.load_state_dict(graph.state_dict(), strict=False)
        assert_same_state(wrong, before)


def test_moved_positions_are_read_from_the_nodes():
    graph = network(grid_polarity="axes")
    exported = sg.to_networkx(graph)
    for column in range(5):  # a whole row moves
        exported.nodes[5 + column]["x"] += 0.5
    moved = sg.from_networkx(exported)
    torch.testing.assert_close((moved.pos - graph.pos).detach()[5:10, 0], torch.full((5,), 0.5))
    torch.testing.assert_close(moved.pos.detach()[:5], graph.pos.detach()[:5])
    exported.nodes[3]["x"] += 0.5  # a single cell cannot
    with pytest.raises(ValueError, match="pos must be sums of a value for the row and one for the column.* neuron 3"):
        sg.from_networkx(exported)


def test_starts_have_the_variance_of_single_neurons():
    torch.manual_seed(0)
    for init in ("normal", "uniform", "grid"):
        graph = sg.SpatialGraph.layered([(40, 50), 5], 3, init=init)
        assert graph.pos[:2000, :2].detach().var(0).tolist() == pytest.approx([1.0, 1.0], abs=0.35)
    plain, grid = (sg.SpatialGraph.layered([shape, 3], 3, init="grid") for shape in (9, (3, 3)))
    torch.testing.assert_close(plain.pos[:9], grid.pos[:9])
    heights = sg.SpatialGraph.layered([(40, 50), 5], 3, spacing="free").pos[:2000, 2]
    assert 0 <= heights.min() and heights.max() <= 1


def test_parameters_are_drawn_anew():
    for options in NETWORKS:
        graph = pruned(network(*options))
        before = graph.state_dict()
        before = {name: values.clone() for name, values in before.items()}
        graph.reset_parameters()
        for name in ("positions.grid_coords", "raw_polarity", *(["raw_grid_polarity"] * (options[1] == "axes"))):
            assert not torch.equal(graph.state_dict()[name], before[name]), name


def test_anchored_grids_stay_and_have_no_coordinates():
    graph = network(anchored=[0], init="grid", grid_polarity="axes")
    before = graph.pos[:20].clone()
    (graph.weights().sum() + graph.pos.sum()).backward()
    torch.optim.SGD(graph.parameters(), lr=0.1).step()
    assert torch.equal(graph.pos[:20], before)
    assert graph.positions.grid_coords.shape == (5, 3)  # those of the outputs


def test_any_positions_are_allowed_where_they_are_sums():
    rows, columns = torch.randn(4, 1, 4), torch.randn(1, 5, 4)
    pos = torch.cat([(rows + columns).reshape(20, 4), torch.randn(7, 4), torch.zeros(6, 4)])
    pos[:, 3] = torch.tensor([0.0] * 20 + [1.0] * 7 + [2.0] * 6)
    graph = network(init=pos)
    torch.testing.assert_close(graph.pos.detach(), pos)
    torch.testing.assert_close(network().place_(pos).pos.detach(), pos)
    with pytest.raises(ValueError, match="pos must be sums"):
        network(init=lambda layer, n, axes: torch.randn(n, axes))


def test_gates_and_time():
    x = torch.rand(2, 3, 16)
    assert sg.SpatialRNN([(4, 4), (3, 3), 2], dim=3)(x)[0].shape[-1] == 2
    spiking = sg.SpatialSNN([(4, 4), (3, 3), 2], dim=3, grid_polarity="axes")
    spiking(x[0]).sum().backward()
    assert spiking.graph.raw_grid_polarity.grad.abs().sum() > 0


def test_a_single_axis_is_a_plain_layer():
    assert (
        sg.SpatialGraph.layered([(4,), 3]).grids == {}
        and Sums.of(torch.zeros(2), torch.empty(0), {}, torch.ones(2, dtype=torch.bool)).rows == 0
    )


@pytest.mark.parametrize(
    ("sizes", "options", "error", "message"),
    [
        ([(28, "a"), 10], {}, TypeError, r"sizes\[0\]\[1\] must be an int, got 'a'"),
        ([(), 10], {}, ValueError, r"sizes\[0\] must have at least one axis"),
        ([(0, 3), 10], {}, ValueError, r"sizes\[0\]\[0\] must be at least 1, got 0"),
        ([10, (2, -1)], {}, ValueError, r"sizes\[1\]\[1\] must be at least 1, got -1"),
        ([(2, 2), 3], {"grid_polarity": "row"}, ValueError, "grid_polarity must be one of 'cell', 'axes', got 'row'"),
        (
            [(2, 2), 3],
            {"anchored": torch.arange(7) == 0},
            ValueError,
            "anchored must mark all cells of the grid of lay",
        ),
    ],
)
def test_wrong_grids(sizes, options, error, message):
    with pytest.raises(error, match=message):
        sg.SpatialGraph.layered(sizes, **options)


@pytest.mark.parametrize(
    ("grids", "error", "message"),
    [
        ({0: (2, 3)}, ValueError, r"grids\[0\] must have as many cells as the layer has neurons \(4\), got 6"),
        ({5: (2, 2)}, ValueError, "grids must name a layer between 0 and 1, got 5"),
        ([(2, 2)], TypeError, "grids must be a mapping from layers to shapes, got list"),
        ({0: "22"}, TypeError, r"grids\[0\] must be the shape of a grid"),
    ],
)
def test_wrong_shapes_of_layers(grids, error, message):
    layer, edges = torch.tensor([0, 0, 0, 0, 1]), torch.tensor([[0, 1, 2, 3], [4, 4, 4, 4]])
    with pytest.raises(error, match=message):
        sg.SpatialGraph(torch.zeros(5, 2), edges, layer=layer, spacing="free", grids=grids)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": 5}, "different whole numbers from 0 to 19"),
        ({"cell": 2.5}, "different whole numbers from 0 to 19"),
        ({"cell": 20}, "different whole numbers from 0 to 19"),
        ({"grids": '{"0": [4, 6]}'}, None),
        ({"grids": '{"7": [4, 5]}'}, "grids must name a layer between 0 and 2, got 7"),
        ({"grids": "[4, 5"}, "grids must be JSON"),
        ({"grids": "[4, 5]"}, "grids must be an object of shapes by layer"),
        ({"grid_coords": '["a"]'}, "grid_coords must be a list of numbers"),
        ({"grid_polarity": "rows"}, "grid_polarity must be one of"),
    ],
)
def test_edited_graphs(changes, message):
    graph = sg.to_networkx(network())
    for name, value in changes.items():
        if name == "cell":
            graph.nodes[3]["cell"] = value
        else:
            graph.graph[name] = value
    if message is None:  # other cells, whose positions do not add up
        message = "pos must be sums"
    with pytest.raises((TypeError, ValueError), match=message):
        sg.from_networkx(graph)


def test_a_training_is_resumed_from_any_start(tmp_path):
    training = pytest.importorskip("spatialgraph.training")
    data = torch.rand(20, 20), torch.arange(20) % 6

    def fit(seed, resume=False):
        torch.manual_seed(seed)
        model = sg.SpatialMLP(SIZES, 4, grid_polarity="axes")
        training.fit(model, data, training.Recipe(2), tmp_path, resume=resume, progress=False)
        return model.graph

    assert_same_state(fit(0), fit(1, resume=True))  # what it drew is replaced
