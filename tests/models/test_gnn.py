import io

import pytest
import torch
from torch_geometric.data import Batch, Data

import spatialgraph as sg
from spatialgraph.models.gnn import SpatialGNN

EDGES = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 0, 4, 3]])
BATCH = torch.tensor([0, 0, 0, 1, 1])


def graphs(count, nodes=6):
    made = []
    for number in range(count):
        pos = torch.randn(nodes + number, 2)
        edges = sg.wiring.knn(pos, None, k=3)
        made.append(Data(x=torch.randn(nodes + number, 3), pos=pos, edge_index=edges))
    return made


@pytest.mark.parametrize("pool", ["add", "mean", "max"])
@pytest.mark.parametrize("head", ["linear", "spatial"])
def test_a_batch_is_the_graphs_one_by_one(pool, head):
    model = SpatialGNN(3, 8, 2, 4, dim=2, pool=pool, head=head, normalize="sum")
    single = graphs(4)
    batch = Batch.from_data_list(single)
    y = model(batch.x, batch.pos, batch.edge_index, batch.batch)
    one_by_one = torch.cat([model(data.x, data.pos, data.edge_index) for data in single])
    torch.testing.assert_close(y, one_by_one, rtol=1e-4, atol=1e-5)
    assert y.shape == (4, 4)


def test_the_layers_written_out():
    model = SpatialGNN(3, 8, 2, 4, dim=2, act="tanh")
    (data,) = graphs(1)
    x = data.x
    for conv, norm in zip(model.convs, model.norms, strict=True):
        x = norm(conv(x, data.pos, data.edge_index)).tanh()
    torch.testing.assert_close(model(data.x, data.pos, data.edge_index), model.head(x))


def test_nodes_have_outputs_without_pooling():
    model = SpatialGNN(-1, 8, 3, 4, dim=2, norm="batch", dropout=0.5)
    (data,) = graphs(1)
    y = model(data.x, data.pos, data.edge_index)
    y.sum().backward()
    assert y.shape == (6, 4)
    assert all(parameter.grad is not None for parameter in model.parameters())


def levels():
    """Positions at three levels of two graphs, and the edges of two layers."""
    pos = [torch.randn(count, 2) for count in (10, 4, 2)]
    edges = [torch.stack([torch.arange(10), torch.arange(10) // 5 * 2 + torch.arange(10) % 2])]
    return pos, [*edges, torch.tensor([[0, 1, 2, 3], [0, 0, 1, 1]])]


@pytest.mark.parametrize("weighted", [False, True])
def test_layers_that_coarsen_written_out(weighted):
    model, x, (pos, edges) = SpatialGNN(3, [4, 6], 2, 5, dim=2), torch.randn(10, 3), levels()
    weights = [torch.rand(10), torch.rand(4)] if weighted else [None, None]
    first = model.norms[0](model.convs[0]((x, None), (pos[0], pos[1]), edges[0], weights[0])).relu()
    second = model.norms[1](model.convs[1]((first, None), (pos[1], pos[2]), edges[1], weights[1])).relu()
    y = model(x, pos, edges, edge_weight=weights if weighted else None)
    torch.testing.assert_close(y, model.head(second))
    assert y.shape == (2, 5)
    y.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("pool", [None, "mean"])
def test_a_batch_of_features_on_the_same_levels(norm, pool):
    levels = [torch.randn(5, 2), torch.randn(3, 2), torch.randn(2, 2)]
    edges = [torch.tensor([[0, 1, 2, 3, 4], [0, 1, 2, 2, 0]]), torch.tensor([[0, 1, 2], [0, 0, 1]])]
    model = SpatialGNN(3, [8, 6], 2, 4, dim=2, norm=norm, pool=pool)
    x = torch.randn(7, 5, 3)
    model(x, levels, edges)  # moves the statistics of batch normalisation, over all nodes of all graphs
    y = model.eval()(x, levels, edges)
    assert y.shape == ((7, 4) if pool else (7, 2, 4))
    torch.testing.assert_close(
        y, torch.stack([model(row, levels, edges) for row in x]).view_as(y), rtol=1e-4, atol=1e-5
    )


def test_the_last_level_is_pooled():
    model, x, (pos, edges) = SpatialGNN(3, 4, 1, 5, dim=2, pool="max"), torch.randn(10, 3), levels()
    y = model(x, pos[:2], edges[:1], torch.tensor([0, 0, 1, 1]))
    nodes = model.norms[0](model.convs[0]((x, None), (pos[0], pos[1]), edges[0])).relu()
    torch.testing.assert_close(y, model.head(nodes.view(2, 2, 4).amax(1)))
    with pytest.raises(ValueError, match=r"batch must have shape \(4,\), got \(10,\)"):
        model(x, pos[:2], edges[:1], torch.zeros(10, dtype=torch.int64))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"pos": levels()[0][:2]}, ValueError, "pos must have a member for each of the 3 levels, got 2"),
        ({"edge_index": levels()[1][:1]}, ValueError, "edge_index must have a member for each of the 2 layers, got 1"),
        ({"edge_index": levels()[1][0]}, TypeError, "edge_index must be a list for all 2 layers, got Tensor"),
        ({"edge_weight": torch.ones(10)}, TypeError, "edge_weight must be a list for all 2 layers, got Tensor"),
        ({"edge_index": levels()[1][::-1]}, ValueError, r"edge_index\[0\] must lie between 0 and 3"),
    ],
)
def test_wrong_levels(change, error, message):
    pos, edges = levels()
    with pytest.raises(error, match=message):
        SpatialGNN(3, 4, 2, 5, dim=2)(**{"x": torch.zeros(10, 3), "pos": pos, "edge_index": edges} | change)


def test_graphs_are_learned():
    """Which of two directions the neighbours of a node lie in, in a graph whose features are all alike."""
    torch.manual_seed(1)
    pos = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    edges, x = torch.tensor([[1], [0]]), torch.ones(2, 1)
    samples = [Data(x=x, pos=pos * sign, edge_index=edges, y=int(sign > 0)) for sign in (-1.0, 1.0)] * 4
    batch = Batch.from_data_list(samples)
    model = SpatialGNN(1, 8, 1, 2, dim=2, pool="add")
    optimizer = torch.optim.Adam(sg.parameter_groups(model, lr=3e-3))
    for _ in range(60):
        optimizer.zero_grad()
        y = model(batch.x, batch.pos, batch.edge_index, batch.batch)
        torch.nn.functional.cross_entropy(y, batch.y).backward()
        optimizer.step()
    assert (y.argmax(1) == batch.y).all()


def test_state_dict_round_trip():
    (data,) = graphs(1)
    model = SpatialGNN(3, 8, 2, 4, dim=2)
    stored = io.BytesIO()
    torch.save(model.state_dict(), stored)
    stored.seek(0)
    other = SpatialGNN(-1, 8, 2, 4, dim=2)
    other.load_state_dict(torch.load(stored, weights_only=True))
    arguments = data.x, data.pos, data.edge_index
    assert torch.equal(other(*arguments), model(*arguments))
    other.reset_parameters()
    assert not torch.equal(other(*arguments), model(*arguments))


def test_rates():
    groups = {group["name"]: len(group["params"]) for group in sg.parameter_groups(SpatialGNN(3, 8, 2, 4, dim=2))}
    assert groups == {"positions": 4, "polarities": 2, "biases": 2, "others": 6}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"batch": torch.tensor([0, 0, 1, 0, 1])}, ValueError, "batch must be sorted, got 0 after 1"),
        ({"batch": BATCH.int()}, TypeError, "batch must be int64, got torch.int32"),
        ({"batch": BATCH[:4]}, ValueError, r"batch must have shape \(5,\), got \(4,\)"),
        ({"batch": 2 * BATCH}, ValueError, "batch must leave no graph without nodes, got none of graph 1"),
        ({"batch": 1 + BATCH}, ValueError, "batch must leave no graph without nodes, got none of graph 0"),
        ({"batch": BATCH - 1}, ValueError, "batch must be at least 0, got -1"),
        ({"batch": [0, 0, 0, 1, 1]}, TypeError, "batch must be a tensor, got list"),
        ({"batch_size": 2.0}, TypeError, r"batch_size must be an int, got 2.0 \(float\)"),
        ({"batch_size": -1}, ValueError, "batch_size must be at least 0, got -1"),
        (
            {"edge_index": torch.sparse_coo_tensor([[3], [2]], [1.0], (5, 5), check_invariants=True)},
            ValueError,
            r"edge_index must not connect graphs, got \(2, 3\) from graph 0 to graph 1",
        ),
        ({"x": torch.zeros(5, 3).double()}, TypeError, r"x must have the dtype of the parameters \(torch.float32\)"),
        ({"pos": torch.zeros(5, 2).double()}, TypeError, r"pos must have the dtype of the parameters \(torch.float32"),
        ({"batch_size": 3}, ValueError, r"batch_size must be the number of graphs in batch \(2\), got 3"),
        (
            {"edge_index": torch.tensor([[0, 2], [1, 3]])},
            ValueError,
            r"edge_index must not connect graphs, got \(2, 3\) from graph 0 to graph 1",
        ),
        ({"edge_index": EDGES + 1}, ValueError, r"edge_index\[0\] must lie between 0 and 4, got 5"),
        ({"pos": torch.zeros(5, 3)}, ValueError, "pos must have 2 dimensions"),
    ],
)
def test_wrong_arguments(change, error, message):
    arguments = {"x": torch.zeros(5, 3), "pos": torch.zeros(5, 2), "edge_index": EDGES, "batch": BATCH} | change
    with pytest.raises(error, match=message):
        SpatialGNN(3, 8, 2, 4, dim=2, pool="mean")(**arguments)


def test_a_number_of_graphs_needs_a_batch():
    model = SpatialGNN(3, 8, 2, 4, dim=2, pool="mean")
    with pytest.raises(ValueError, match="batch_size must be None without a batch, got 3"):
        model(torch.zeros(5, 3), torch.zeros(5, 2), EDGES, batch_size=3)


@pytest.mark.parametrize("pool", [None, "add", "mean", "max"])
def test_no_graph_of_a_batch_is_without_nodes(pool):
    model, none = SpatialGNN(3, 8, 2, 4, dim=2, pool=pool), torch.empty(2, 0, dtype=torch.int64)
    nodes = torch.zeros(0, 3), torch.zeros(0, 2), none, none[0]
    with pytest.raises(ValueError, match="batch must leave no graph without nodes, got no node for batch_size=3"):
        model(*nodes, batch_size=3)
    assert model(*nodes, batch_size=0).shape == (0, 4)


def test_an_activation_with_parameters_is_reset():
    act = torch.nn.Sequential(torch.nn.PReLU(), torch.nn.Tanh())
    model = SpatialGNN(3, 8, 2, 4, dim=2, act=act)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
    model.reset_parameters()
    assert act[0].weight.item() == 0.25
    assert not any((parameter == 7.0).any() for parameter in model.parameters())


def test_levels_flow_from_one_to_the_next():
    pos, edges = levels()
    with pytest.raises(ValueError, match="flow must be 'source_to_target' with levels, got 'target_to_source'"):
        SpatialGNN(3, 4, 2, 5, dim=2, flow="target_to_source")(torch.zeros(10, 3), pos, edges)


@pytest.mark.parametrize("pool", ["add", "mean", "max"])
def test_no_node_to_pool(pool):
    model, none = SpatialGNN(3, 8, 2, 4, dim=2, pool=pool), torch.empty(2, 0, dtype=torch.int64)
    with pytest.raises(ValueError, match="x must have at least one node for a graph to be pooled, got none"):
        model(torch.zeros(0, 3), torch.zeros(0, 2), none)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": "sum"}, "pool must be one of 'add', 'mean', 'max', got 'sum'"),
        ({"head": "dense"}, "head must be one of 'linear', 'spatial', got 'dense'"),
        ({"norm": "graph"}, "norm must be one of 'batch', 'layer', got 'graph'"),
        ({"act": "sine"}, "activation must be one of"),
        ({"dropout": 1.5}, "dropout must be between 0 and 1, got 1.5"),
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"hidden_channels": [8]}, "hidden_channels must have a member for each of the 2 layers, got 1"),
        ({"hidden_channels": [8, 0]}, r"hidden_channels\[1\] must be at least 1, got 0"),
    ],
)
def test_wrong_settings(options, message):
    arguments = {"in_channels": 3, "hidden_channels": 8, "num_layers": 2, "out_channels": 4} | options
    with pytest.raises(ValueError, match=message):
        SpatialGNN(**arguments)
