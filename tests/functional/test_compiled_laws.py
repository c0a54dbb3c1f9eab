"""Calculations with laws of one's own, compiled: here on the CPU, in place of a GPU."""

import contextlib
import warnings

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode

from spatialgraph import SpatialMLP
from spatialgraph.functional import all_to_all, compiled, edge_weight, pairs, pairwise_weight
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.kernels import compilation
from spatialgraph.laws import Law
from spatialgraph.wiring import KNN

FACTOR = 1.0


class Mixed(Law):
    """Exponential and power, with a setting, a parameter, a buffer and a module."""

    share = 0.5

    def __init__(self):
        super().__init__()
        self.rate, self.table, self.is_shifted = 1.0, [0.3], False
        self.power = nn.Parameter(torch.tensor(1.5))
        self.register_buffer("offset", torch.tensor(0.2))
        self.inner = nn.Softplus()

    def from_square(self, square):
        y = FACTOR * torch.exp(-self.rate * square.sqrt()) + self.share * square.pow(-0.5 * self.power)
        y = y + self.table[0] * self.inner(-square) + self.offset
        return self.shifted(y) if self.is_shifted else y

    def shifted(self, y):
        return y + 1.0

    def parameter_slopes(self, square, weight):
        return (-0.5 * self.share * square.log() * square.pow(-0.5 * self.power),)


class Exponential(Law):
    def from_square(self, square):
        return torch.exp(-square.sqrt())


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """No law has been compiled or refused before."""
    torch.compiler.reset()
    compiled._compiled.cache_clear()
    monkeypatch.setattr(compiled, "_REFUSED", set())
    monkeypatch.setattr(compilation, "_warned", set())
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    counters.clear()
    yield
    torch.compiler.reset()
    compiled._compiled.cache_clear()


@contextlib.contextmanager
def compiling():
    compiled.DEVICES.add("cpu")
    try:
        yield
    finally:
        compiled.DEVICES.discard("cpu")


def network(targets, sources, dim=3):
    return [torch.randn(*size, requires_grad=True) for size in ((sources, dim), (targets, dim), (sources,))]


def weights(law):
    return [pairwise_weight(*network(7, 9), law)]


def all_pairs(law, targets=7, sources=9):
    """Weights of all pairs and their gradients."""
    ends = network(targets, sources)
    weight = pairwise_weight(*ends, law)
    return [weight, *torch.autograd.grad(weight, [*ends, *learnt(law)], torch.randn_like(weight))]


def listed(law, targets=7, sources=9):
    """Weights of listed edges, none to the last target or from the first source, and their gradients."""
    mask = torch.rand(targets, sources) < 0.5
    mask[-1], mask[:, 0] = False, False
    ends, edges = network(targets, sources), CompressedEdges.from_mask(mask)
    weight = edge_weight(*ends, law, edges)
    return [weight, *torch.autograd.grad(weight, [*ends, *learnt(law)], torch.randn_like(weight))]


def learnt(law):
    return [parameter for parameter in law.parameters() if parameter.requires_grad]


def assert_same(law, compute=all_pairs, *sizes):
    """Compare with the tensor operations, and return how many graphs were compiled."""
    before = counters["stats"]["unique_graphs"]
    torch.manual_seed(1)
    right = compute(law, *sizes)
    torch.manual_seed(1)
    with compiling():
        found = compute(law, *sizes)
    for own, expected in zip(found, right, strict=True):
        error = (own - expected).abs().max() / expected.abs().max()
        assert error < 1e-6
    return counters["stats"]["unique_graphs"] - before


@pytest.mark.parametrize("compute", [all_pairs, listed])
def test_sizes_do_not_matter(compute):
    law = Mixed()
    assert assert_same(law, compute) == 2  # weights and gradients
    assert assert_same(law, compute, 20, 5) + assert_same(law, compute, 3, 40) == 0
    assert assert_same(Mixed(), compute) == 0  # another object of the class


def changes(law):
    """Ways to change a law, each with whether the compiler must be asked again; None where both would be right."""
    yield "a setting", lambda: setattr(law, "rate", 3.0), False
    yield "the softening", lambda: setattr(law, "softening", 0.5), False
    yield "a parameter", lambda: law.power.data.add_(1.0), False
    yield "memory", lambda: law.power.detach().numpy().fill(2.5), False
    yield "a buffer", lambda: law.offset.mul_(7.0), False
    yield "another buffer", lambda: setattr(law, "offset", torch.tensor(3.0)), None
    yield "a list", lambda: law.table.insert(0, 4.0), None
    yield "a flag", lambda: setattr(law, "is_shifted", True), True
    yield "a method", lambda: setattr(type(law), "shifted", lambda self, y: 2.0 * y), True
    yield "a method of the object", lambda: setattr(law, "shifted", lambda y: 3.0 * y), True
    yield "a class attribute", lambda: setattr(type(law), "share", 2.0), None
    yield "a global number", lambda: globals().__setitem__("FACTOR", 5.0), None
    yield "a module", lambda: setattr(law, "inner", nn.Tanh()), True
    yield "a class", lambda: setattr(law, "__class__", type("Other", (type(law),), {"shifted": lambda _, y: -y})), True


def test_no_change_is_missed(monkeypatch):
    monkeypatch.setitem(globals(), "FACTOR", 1.0)
    law = type("Changed", (Mixed,), {})()
    assert_same(law, weights)
    for what, change, is_new in changes(law):
        change()
        graphs = assert_same(law, weights)
        assert is_new is None or bool(graphs) == is_new, what


def test_hooks_are_called():
    law = Mixed()
    assert_same(law)
    law.inner.register_forward_hook(lambda module, inputs, output: 2.0 * output)
    assert assert_same(law) == 0  # by tensor operations


class Branching(Law):
    def from_square(self, square):
        return square.rsqrt() if square.min() > 0.1 else square.rsqrt() + 1.0


class Failing(Law):
    def from_square(self, square):
        raise ArithmeticError("a law that fails")


@pytest.mark.parametrize("compute", [all_pairs, listed])
def test_laws_that_cannot_be_compiled(compute):
    law = Branching()
    with compiling(), pytest.warns(RuntimeWarning, match="The law Branching cannot be compiled; slower"):
        compute(law)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one warning is enough
        assert assert_same(law, compute) == 0
    with compiling(), pytest.raises(ArithmeticError, match="a law that fails"):
        compute(Failing())


def test_a_broken_compiler(monkeypatch):
    def broken(graph, inputs):
        raise OSError("no compiler")

    monkeypatch.setattr(compiled, "BACKEND", broken)
    law = Mixed()
    with pytest.warns(RuntimeWarning, match="slower tensor operations are used instead .*BackendCompilerFailed"):
        assert_same(law)
    assert_same(law, listed)


def test_lack_of_memory_is_no_fault_of_the_compiler(monkeypatch):
    def short(*operands):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(compiled, "_compile", lambda function: short)
    with compiling(), pytest.raises(torch.OutOfMemoryError):
        all_pairs(Exponential())
    assert not compiled._REFUSED


class WithoutSlopes(Exponential):
    def __init__(self):
        super().__init__()
        self.size = nn.Parameter(torch.tensor(2.0))

    def from_square(self, square):
        return self.size * super().from_square(square)


def test_parameters_without_slopes_are_left_to_autograd():
    assert assert_same(WithoutSlopes(), listed) == 0


def test_what_is_not_compiled():
    """Double precision, transforms and further derivatives use the compositions; laws of the library their kernels."""
    x, law = torch.rand(2, 3), Exponential()
    with compiling():
        ends = network(4, 3)
        y = all_to_all(x, *ends, law)
        (slope,) = torch.autograd.grad(y.sum(), ends[0], create_graph=True)
        graphs = counters["stats"]["unique_graphs"]
        slope.square().sum().backward()
        torch.func.vmap(lambda row: all_to_all(row, *(end.detach() for end in ends), law))(x)
        pairwise_weight(*(end.double() for end in ends), law)
        assert counters["stats"]["unique_graphs"] == graphs == 1
        program = torch.compile(lambda x: all_to_all(x, *ends, law), backend="eager", fullgraph=True)
        torch.testing.assert_close(program(x), y)


@pytest.mark.parametrize("wiring", [None, KNN(k=2)], ids=["dense", "sparse"])
def test_training(wiring):
    """Networks learn the same, in the same order of sums in each run."""

    def losses():
        torch.manual_seed(0)
        model = SpatialMLP([20, 16, 8, 3], law=Mixed(), **({} if wiring is None else {"wiring": wiring}))
        optimizer, x = torch.optim.SGD(model.parameters(), lr=0.01), torch.rand(4, 20)
        found = []
        for _ in range(3):
            loss = model(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    right = losses()
    with compiling():
        found, again = losses(), losses()
    assert found == pytest.approx(right, rel=1e-5)
    assert found == again


class Operations(TorchDispatchMode):
    """Counts operations on tensors."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += not function.is_view
        return function(*args, **(kwargs or {}))


def test_operations_are_fused(monkeypatch):
    """One kernel computes all weights, a few compute the gradients, where tensor operations take dozens."""
    from torch._inductor import metrics

    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    ends, grad, law = [end.detach() for end in network(40, 50)], torch.randn(40, 50), Exponential()
    counted, kernels = [], []
    for compute, operands in ((pairs.build_weight, ends), (pairs.geometry_gradients, [grad, *ends])):
        with Operations() as operations:
            compute(*operands, law)
        counted.append(operations.count)
        metrics.reset()
        with compiling():
            compute(*operands, law)
        kernels.append(metrics.generated_kernel_count)
    assert kernels[0] == 1 < counted[0]
    assert kernels[1] <= 11 < counted[1] / 2
