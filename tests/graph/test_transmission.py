"""Delays that follow from the positions of neurons."""

import numpy as np
import pytest
import torch
from delayed_spikes import every_way, loops
from references import assert_close, randomise

from spatialgraph import SpatialGraph
from spatialgraph.wiring import KNN, AllToAll, Random

# From positions ----


WIRINGS = {"all-to-all": AllToAll(), "nearest": KNN(k=2), "random": Random(density=0.7)}
every_wiring = pytest.mark.parametrize("wiring", WIRINGS.values(), ids=WIRINGS.keys())


def spatial(wiring, velocity=0.9, **options):
    return randomise(SpatialGraph.layered([4, 3], 2, wiring=wiring, velocity=velocity, **options).double())


def arrivals(graph, x, line=None):
    transmission = graph.transmission()
    return transmission.send_delayed(0, x, line, transmission.delay(0))


@every_wiring
@every_way
def test_delays_follow_from_positions(way, wiring):
    graph = spatial(wiring, spacing="free")
    pos = graph.pos.detach()
    source, target = graph.edge_index
    expected = (pos[source] - pos[target]).square().sum(1).sqrt() / 0.9
    assert_close(graph.delays(), expected, 1e-12)
    delay, weight = torch.zeros(3, 4).double(), torch.zeros(3, 4).double()
    delay[target - 4, source], weight[target - 4, source] = expected, graph.weights().detach()
    x = torch.randn(7, 2, 4, dtype=torch.float64)
    assert_close(arrivals(graph, x), loops(x, weight, delay), 1e-12)


@every_wiring
@every_way
@pytest.mark.parametrize(
    "options",
    [{}, {"weight_mode": "free"}, {"weight_mode": "both"}, {"delay_mode": "free"}],
    ids=lambda o: str(dict(o)),
)
@pytest.mark.parametrize("spacing", ["fixed", "learned", "free"])
def test_gradcheck_down_to_positions(spacing, options, way, wiring):
    graph = spatial(wiring, spacing=spacing, **options)
    x = torch.randn(5, 1, 4, dtype=torch.float64, requires_grad=True)
    names, values = zip(*graph.named_parameters(), strict=True)
    times = graph.delays()
    assert (times - times.round()).abs().min() > 1e-5  # finite differences of 1e-6 stay within a step

    class Arrivals(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.graph = graph

        def forward(self, x):
            return arrivals(self.graph, x)

    def run(x, *values):
        named = {f"graph.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(Arrivals(), named, (x,))

    assert torch.autograd.gradcheck(run, (x, *values))


@every_wiring
def test_two_neurons_may_meet(wiring):
    graph = spatial(wiring, spacing="free")
    graph.place_(torch.zeros(7, 2))
    assert torch.equal(graph.delays(), torch.zeros_like(graph.delays()))
    y = arrivals(graph, torch.ones(5, 1, 4, dtype=torch.float64))
    for gradient in torch.autograd.grad(y.sum() + graph.delays().sum(), graph.positions.parameters()):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dim", [1, 2, 3, 9])
@every_wiring
def test_lengths_in_single_precision(wiring, dim):
    # Neurons 1e-3 apart at coordinates near 50: differences keep what the expanded square would lose.
    source = 50.0 + torch.randn(4, dim)
    target = source[:3] + 1e-3 * torch.nn.functional.normalize(torch.randn(3, dim), dim=1)
    graph = SpatialGraph.layered([4, 3], dim, wiring=wiring, spacing="free", init=torch.cat([source, target]))
    pos = graph.pos.detach().double().numpy()
    ends = graph.edge_index.numpy()
    expected = np.sqrt(((pos[ends[0]] - pos[ends[1]]) ** 2).sum(1))
    lengths = graph.transmission().length(0).detach().flatten()
    np.testing.assert_allclose(lengths.double().numpy(), expected, rtol=1e-5)
    assert torch.equal(lengths, graph.lengths().detach())


# Physics ----


@every_wiring
@every_way
def test_only_lengths_matter(way, wiring):
    graph = spatial(wiring, spacing="free")
    x = torch.randn(6, 2, 4, dtype=torch.float64)
    pos, before, y = graph.pos.detach(), graph.delays().detach(), arrivals(graph, x)
    rotation = torch.linalg.qr(torch.randn(2, 2).double()).Q
    for moved in (pos + torch.tensor([7.0, -3.0]).double(), pos @ rotation, -pos):
        graph.place_(moved)
        assert_close(graph.delays(), before, 1e-12)
        assert_close(arrivals(graph, x), y, 1e-10)
    graph.place_(2.0 * pos)
    assert_close(graph.delays(), 2.0 * before, 1e-12)


@every_wiring
def test_twice_the_velocity_half_the_delay(wiring):
    slow, fast = (spatial(wiring, velocity, spacing="free", init=torch.randn(7, 2)) for velocity in (0.5, 1.0))
    fast.load_state_dict(slow.state_dict())
    assert_close(slow.delays(), 2.0 * fast.delays(), 1e-15)
    still = SpatialGraph.layered([4, 3], 1, wiring=wiring, spacing="fixed")
    assert torch.equal(still.delays(), torch.zeros(still.synapses)) and still.velocity is None


def test_free_delays_start_from_the_lengths_and_stay_above_0():
    graph = SpatialGraph.layered([4, 3], velocity=0.5, delay_mode="free")
    torch.testing.assert_close(graph.delays(), graph.lengths() / 0.5)
    with torch.no_grad():
        graph.free_synapses.delay.fill_(-1.5)
    assert torch.equal(graph.delays(), torch.full((12,), 1.5))
    graph.place_(2.0 * graph.pos.detach()[:, :2])
    assert torch.equal(graph.delays(), torch.full((12,), 1.5))
