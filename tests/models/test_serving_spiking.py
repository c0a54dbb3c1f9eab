"""Weights that spiking networks keep in eval()."""

import pytest
import torch
from references import assert_close, randomise
from spiking_networks import LOUD, SIZES, features, make

from spatialgraph import SpatialSNN
from spatialgraph.wiring import KNN


def step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with torch.enable_grad():
        model(features(model, 4, dtype=torch.float32)).square().sum().backward()
    optimizer.step()
    model.zero_grad()


CHANGES = {
    "step": step,
    "place": lambda model: model.graph.place_(1.3 * model.graph.pos.detach()[:, :2]),
    "reset": lambda model: model.reset_parameters(),
    "in place": lambda model: randomise(model.graph),
    "rewire": lambda model: model.graph.rewire_(KNN(k=1)),
    "load": lambda model: model.load_state_dict(SpatialSNN(SIZES, wiring=KNN(k=3), **LOUD).state_dict(), strict=False),
}


@pytest.mark.parametrize("kind", ["all-to-all", "nearest", "plain"])
@pytest.mark.parametrize("change", CHANGES)
def test_kept_weights_and_changes(kind, change, builds):
    model = make(kind, torch.float32)
    x = features(model, 4, dtype=torch.float32)
    expected = model(x).detach()
    model.eval()
    with torch.no_grad():
        for _ in range(3):
            assert_close(model(x), expected, 1e-5)
        assert torch.equal(model.simulate(x).spikes[0], model.train().simulate(x).spikes[0])
        assert len(builds) == 1
        CHANGES[change](model.eval())
        after = model(x)
        assert len(builds) == 2
    assert_close(after, model.train()(x).detach(), 1e-4)
    assert not torch.equal(after, expected)


def test_delays_are_never_kept(builds):
    model = make("delays").eval()
    x = features(model, 3)
    with torch.no_grad():
        before = model(x)
        model.graph.place_(1.3 * model.graph.pos[:, :2])
        assert not torch.equal(model(x), before)
    assert not builds
