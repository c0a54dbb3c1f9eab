"""The streamed engine: all pairs, of which the weights of a few targets exist at a time."""

import subprocess
import sys

import pytest
import torch
from references import LAWS, assert_close
from torch.autograd import gradcheck, gradgradcheck

import spatialgraph as sg
from spatialgraph.functional import all_to_all, engines, memory, streamed, streaming
from spatialgraph.functional.dense_engine import DenseEngine
from spatialgraph.functional.streamed_engine import StreamedEngine
from spatialgraph.laws import InverseDistance, InversePower

BATCH, SOURCES, TARGETS = 4, 7, 5


@pytest.fixture
def few_weights(monkeypatch):
    """Blocks of two targets."""
    monkeypatch.setattr(streaming, "_CPU_BLOCK", 2 * SOURCES)


@pytest.fixture
def little_memory(monkeypatch):
    """Weights of more than 60 pairs are too many."""
    monkeypatch.setattr(memory, "memory_bytes", lambda: int(60 * 4 / memory.SHARE))


def drawn(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=torch.float64).to(dtype).requires_grad_()


def operands(dim=2):
    return drawn(BATCH, SOURCES), drawn(SOURCES, dim), drawn(TARGETS, dim), drawn(SOURCES), drawn(TARGETS)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("block", [1, SOURCES, 2 * SOURCES, 10**6])
def test_blocks_change_nothing(law, block, monkeypatch):
    monkeypatch.setattr(streaming, "_CPU_BLOCK", block)
    law = LAWS[law]().double()
    inputs, grad_y = operands(3), torch.randn(BATCH, TARGETS, dtype=torch.float64)
    results = []
    for engine in (streamed, all_to_all):
        y = engine(*inputs[:4], law, inputs[4])
        results.append([y, *torch.autograd.grad(y, [*inputs, *law.parameters()], grad_y)])
    for own, other in zip(*results, strict=True):
        assert_close(own, other, 1e-12)


@pytest.mark.parametrize("law", [InverseDistance(), InversePower(learnable=True).double()], ids=repr)
def test_derivatives(law, few_weights):
    parameters = list(law.parameters())

    def compute(x, source_pos, target_pos, scale, bias, *_):
        return streamed(x, source_pos, target_pos, scale, law, bias)

    inputs = (*operands(), *parameters)
    assert gradcheck(compute, inputs)
    assert gradgradcheck(compute, inputs)


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (3,), (4,), (0, 4), (1, 3)])
def test_only_what_is_asked_for(needed, few_weights):
    law, inputs = InverseDistance(), [values.detach() for values in operands()]
    wanted = [inputs[number].requires_grad_() for number in needed]
    found = [
        torch.autograd.grad(engine(*inputs[:4], law, inputs[4]).sum(), wanted) for engine in (streamed, all_to_all)
    ]
    for own, other in zip(*found, strict=True):
        assert_close(own, other, 1e-12)


def test_half_precision_and_autocast(few_weights):
    law, inputs = InverseDistance(), [values.detach().float() for values in operands()]
    half = [values.bfloat16() for values in inputs]
    own, other = (engine(*half[:4], law, half[4]) for engine in (streamed, all_to_all))
    assert own.dtype == other.dtype == torch.bfloat16
    assert_close(own, other.double(), 1e-2)
    with torch.autocast("cpu", torch.bfloat16):
        own, other = (engine(*inputs[:4], law, inputs[4]) for engine in (streamed, all_to_all))
    assert own.dtype == other.dtype == torch.bfloat16
    assert_close(own, other.double(), 1e-2)


def test_numbers_that_are_not_finite_reach_all_targets(few_weights):
    x, *rest = (values.detach() for values in operands())
    x[1, 2] = torch.nan
    y = streamed(x, *rest[:3], InverseDistance(), rest[3])
    assert y[1].isnan().all() and not y[[0, 2, 3]].isnan().any()


def test_it_serves_what_memory_does_not_hold(little_memory):
    assert type(engines.choose(6, 10)) is DenseEngine
    assert type(engines.choose(6, 11)) is StreamedEngine
    assert type(StreamedEngine(6, 11).restricted(torch.ones(6) > 0, torch.arange(11) < 10)) is DenseEngine


@pytest.mark.parametrize("kind", [sg.SpatialMLP, sg.SpatialSNN])
def test_models_compute_the_same(kind, monkeypatch, few_weights):
    sizes = [SOURCES, 12, 3]
    torch.manual_seed(0)
    dense = kind(sizes)
    monkeypatch.setattr(memory, "memory_bytes", lambda: int(60 * 4 / memory.SHARE))
    model = kind(sizes)
    model.load_state_dict(dense.state_dict())
    assert [type(each.engine) for each in model.graph.projections] == [StreamedEngine, DenseEngine]
    x = torch.rand(BATCH, SOURCES)
    results = []
    for each in (dense, model):
        y = each.train()(x)
        grads = torch.autograd.grad(y.sum(), list(each.parameters()), allow_unused=True)
        with torch.no_grad():
            served = [each.eval()(x), each(x)]  # the second time from what is kept
        results.append([y, *served, *(grad for grad in grads if grad is not None)])
    for own, other in zip(*results, strict=True):
        assert_close(own, other.double(), 1e-5)


def test_kept_values_are_never_old(little_memory):
    model = sg.SpatialMLP([SOURCES, 12, 3]).eval()
    x = torch.rand(BATCH, SOURCES)
    with torch.no_grad():
        before = model(x)
        model.graph.positions.coords.add_(0.5 * torch.rand_like(model.graph.positions.coords))
        after = model(x)
    assert not torch.equal(before, after)
    assert_close(after, model.train()(x), 1e-6)


def test_pruned_and_masked_networks(little_memory, monkeypatch):
    monkeypatch.setattr("spatialgraph.pruning.removal.check_fits", lambda *given, **named: None)
    model = sg.SpatialMLP([SOURCES, 12, 3])
    weights = model.graph.weights()
    model.graph.masked_share = 0.5
    assert int(model.graph.weights().count_nonzero()) <= len(weights) - (SOURCES * 12) // 2
    assert torch.isfinite(model(torch.rand(BATCH, SOURCES))).all()
    model.graph.masked_share = 0.0
    sg.prune_(model, 0.5)
    assert StreamedEngine not in {type(each.engine) for each in model.graph.projections}


@pytest.mark.parametrize("ask", ["weights", "lengths", "edge_index"])
def test_what_does_not_fit_is_refused(ask):
    graph = sg.SpatialGraph.layered([10**6, 10**6])
    names = {"weights": "weights", "lengths": "lengths", "edge_index": "numbers"}
    message = f"{names[ask]} of all synapses must fit into half of the memory .*, got 1,000,000,000,000 synapses"
    with pytest.raises(ValueError, match=message):
        found = getattr(graph, ask)
        found() if callable(found) else found


MEASURED = """
import resource, torch
from spatialgraph.functional import streamed
from spatialgraph.laws import InverseDistance
torch.set_num_threads(1)
n = 12_000
x, pos = torch.randn(2, n), torch.randn(n, 3, requires_grad=True)
streamed(x[:, :9], pos[:9], pos[:9], torch.ones(9), InverseDistance()).sum().backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
streamed(x, pos, pos, torch.ones(n), InverseDistance()).sum().backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (4 * n * n))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs ru_maxrss in kilobytes")
def test_memory_is_a_small_share_of_that_of_the_weights():
    done = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.15
