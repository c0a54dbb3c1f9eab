"""The state of SpatialRNN: the order of its numbers, and its precision under autocast."""

import pytest
import torch
from cyclic_graphs import cyclic_graph

import spatialgraph as sg

CELLS = ["plain", "leaky", "gated"]


def test_the_state_is_ordered_by_layer_and_within_a_layer_by_number():
    pos = torch.randn(8, 2, dtype=torch.float64)
    # The second cycle, 1 and 3, receives from the first, 4 and 6, so that numbers do not ascend with layers.
    edges = torch.tensor([[0, 4, 6, 6, 1, 3, 3], [4, 6, 4, 1, 3, 1, 7]])
    keep = torch.tensor([0, 1, 3, 4, 6, 7])
    number = torch.full((8,), -1).scatter(0, keep, torch.arange(6))
    graph = sg.SpatialGraph(pos[keep], number[edges])
    order = number[torch.tensor([4, 6, 1, 3])]
    assert graph.layer[order].diff().ge(0).all() and not order.diff().ge(0).all()
    model = sg.SpatialRNN(graph, normalize=False)
    x = torch.randn(3, 2, 1, dtype=torch.float64)
    torch.testing.assert_close(model(x)[1][0], model.activations(x)[-1][:, order])


@pytest.mark.parametrize("seed", range(5))
def test_the_state_of_a_random_network_with_cycles(seed):
    graph = cyclic_graph(seed)
    model = sg.SpatialRNN(graph, normalize=False)
    x = torch.randn(3, 2, len(graph.inputs), dtype=torch.float64)
    state = model(x)[1][0]
    stages = graph.feed_forward_projections
    is_in_state = torch.zeros(graph.neurons, dtype=torch.bool)
    for place in graph.recurrent_numbers:
        is_in_state[stages[place].targets[: stages[place].hidden]] = True
    neurons = sorted(is_in_state.nonzero()[:, 0].tolist(), key=lambda n: (int(graph.layer[n]), n))
    torch.testing.assert_close(state, model.activations(x)[-1][:, neurons])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("x_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wiring", [sg.wiring.AllToAll(), sg.wiring.KNN(k=1)], ids=repr)
def test_autocast(cell, normalize, x_dtype, wiring):
    model = sg.SpatialRNN([4, 9, 3], cell=cell, normalize=normalize, recurrent=wiring)
    x = torch.rand(6, 2, 4).to(x_dtype)
    with torch.autocast("cpu", torch.bfloat16):
        _, state = model(x[:3])
        outputs, last = model(x[3:], state)
    outputs.float().square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    expected, end = model(x.float())
    torch.testing.assert_close(outputs.float(), expected, rtol=0.05, atol=0.05)
    torch.testing.assert_close(last.float(), end, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("cell", CELLS)
def test_a_state_in_half_precision_under_autocast(cell):
    model = sg.SpatialRNN([4, 9, 3], cell=cell)
    x, state = torch.rand(3, 2, 4), torch.rand(1, 2, 9).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model(x, state)[0], model(x, state.float())[0])


@pytest.mark.parametrize("cell", CELLS)
def test_double_precision_is_refused_under_autocast(cell):
    model = sg.SpatialRNN([4, 9, 3], cell=cell)
    x, state = torch.rand(3, 2, 4), torch.rand(1, 2, 9)
    with torch.autocast("cpu", torch.bfloat16):
        for arguments, name in (((x.double(),), "x"), ((x, state.double()), "state")):
            with pytest.raises(TypeError, match=rf"{name} must have the dtype of the parameters \(torch.float32\)"):
                model(*arguments)


@pytest.mark.parametrize("cell", CELLS)
def test_a_generator_settles_all_parameters(cell):
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        models.append(sg.SpatialRNN([4, 9, 3], cell=cell, generator=torch.Generator().manual_seed(0)))
    for (name, first), second in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        assert torch.equal(first, second), name
