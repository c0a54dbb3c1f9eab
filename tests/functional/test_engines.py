import functools
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import DEVICE
from references import (
    ENGINES,
    LAWS,
    Exponential,
    assert_close,
    complete_edges,
    dense_engine,
    law_scale,
    law_weight,
    product,
    softened_squares,
    sparse_engine,
    streamed_engine,
)

from spatialgraph import SpatialSimpleConv
from spatialgraph.functional import all_to_all, edge_weight, pairs, pairwise_length, pairwise_weight, sparse
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.laws import InverseDistance, InversePower, Law

every_law = pytest.mark.parametrize("make", LAWS.values(), ids=LAWS.keys())
every_engine = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES.keys())
here_only = pytest.mark.skipif(DEVICE.type != "cpu", reason="looks into what the CPU does")
own_engines = pytest.mark.parametrize("engine", [dense_engine, sparse_engine, streamed_engine])
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
BATCH, SOURCES, TARGETS = 4, 7, 5


def operands(dim=3, dtype=torch.float64, batch=BATCH, n=SOURCES, m=TARGETS):
    """x, source_pos, target_pos, scale, all leaves that ask for gradients."""
    shapes = (batch, n), (n, dim), (m, dim), (n,)
    return [torch.randn(*shape).to(dtype).requires_grad_() for shape in shapes]


def run(engine, arguments, law, grad_y):
    """Value and gradients of an engine, in the order of ``Product.items()``."""
    y = engine(*arguments, law)
    return [y, *torch.autograd.grad(y, [*arguments, *law.parameters()], grad_y)]


# One contract for all laws, dimensions, precisions and engines ----


@every_engine
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("dim", [1, 2, 3, 9])
@every_law
def test_engines_agree_with_brute_force(make, dim, dtype, engine):
    law = make().to(dtype)
    arguments = operands(dim, dtype)
    grad_y = torch.randn(BATCH, TARGETS).to(dtype)
    expected = product(*(a.detach().numpy() for a in arguments), law, grad_y.numpy())
    results = run(engine, arguments, law, grad_y)
    for result, (name, right) in zip(results, expected.items(), strict=True):
        assert result.dtype == dtype, name
        assert_close(result, right, TOLERANCE[dtype])


@own_engines
@every_law
@here_only
def test_gradcheck(make, engine):
    law = make().double()
    arguments = operands(2, batch=2, n=3, m=2)
    inputs = (*arguments, *law.parameters())
    assert torch.autograd.gradcheck(lambda *all_: engine(*all_[:4], law), inputs)


@every_law
def test_gradients_of_the_weight_matrix(make):
    law = make().double()
    _, source, target, scale = operands(2, n=3, m=2)
    inputs = (source, target, scale, *law.parameters())
    assert torch.autograd.gradcheck(lambda *all_: pairwise_weight(*all_[:3], law), inputs)
    edges = CompressedEdges.from_edges(complete_edges(3, 2), 3, 2)
    weight, listed = pairwise_weight(source, target, scale, law), edge_weight(source, target, scale, law, edges)
    assert_close(weight.flatten(), listed, 1e-12)
    grad = torch.randn(2, 3, dtype=torch.float64)
    results, rights = (torch.autograd.grad(w, inputs, g) for w, g in ((weight, grad), (listed, grad.flatten())))
    for result, right in zip(results, rights, strict=True):
        assert_close(result, right, 1e-10)


# Accuracy ----


def hard_positions(dim):
    """Float32 positions near 50; each target stands 1e-3 away from a source, others are about 1 away."""
    source = 50.0 + torch.randn(SOURCES, dim)
    target = source[:TARGETS] + 1e-3 * F.normalize(torch.randn(TARGETS, dim), dim=1)
    return source, target


@pytest.mark.parametrize("dim", [1, 2, 3, 9])
@pytest.mark.parametrize("positions", ["hard", "random"])
@every_law
def test_weights_in_single_precision(make, positions, dim):
    law = make()
    source, target = hard_positions(dim)
    if positions == "random":
        source, target = torch.randn(40, dim), torch.randn(30, dim)
    square = softened_squares(source.double().numpy(), target.double().numpy(), law.softening)
    expected = law_weight(law, square)
    n, m = len(source), len(target)
    edges = CompressedEdges.from_edges(complete_edges(n, m), n, m)
    listed = edge_weight(source, target, torch.ones(n), law, edges).detach().view(m, n)
    for weight in (pairwise_weight(source, target, torch.ones(n), law), listed):
        assert weight.dtype == torch.float32
        deviation = np.abs(weight.detach().double().numpy() - expected)
        assert (deviation <= 1e-5 * law_scale(law, square)).all()


@every_engine
@pytest.mark.parametrize("dim", [1, 2, 3, 9])
@every_law
def test_gradients_in_single_precision_of_near_neurons_far_from_the_origin(make, dim, engine):
    # Every term of a gradient has a relative error of some rounding steps of 6e-8; summed, they may deviate
    # by that share of the sum of their absolute values. 1e-5 of it leaves room for about 150 steps; expanding
    # the square would miss it by far, since near neurons' differences are 1e-5 of the coordinates.
    law = make()
    source, target = hard_positions(dim)
    arguments = [torch.randn(BATCH, SOURCES), source, target, torch.randn(SOURCES)]
    grad_y = torch.randn(BATCH, TARGETS)
    arrays = [a.double().numpy() for a in arguments]
    expected = product(*arrays, law, grad_y.double().numpy())
    bound = product(*arrays, law, grad_y.double().numpy(), magnitude=np.abs)
    results = run(engine, [a.requires_grad_() for a in arguments], law, grad_y)
    for result, (name, right), (_, size) in zip(results, expected.items(), bound.items(), strict=True):
        assert (np.abs(result.detach().double().numpy() - right) <= 1e-5 * size).all(), name


# Shapes ----


@pytest.mark.parametrize("block", [1, SOURCES, 2 * SOURCES, 3 * SOURCES + 1, 10**6])
@every_law
@here_only
def test_blocks_of_rows_change_nothing(make, block, monkeypatch):
    law = make().double()
    arguments, grad_y = operands(), torch.randn(BATCH, TARGETS, dtype=torch.float64)
    expected = run(sparse_engine, arguments, law, grad_y)
    monkeypatch.setattr(pairs, "_CPU_BLOCK", block)
    for result, right in zip(run(all_to_all, arguments, law, grad_y), expected, strict=True):
        assert_close(result, right, 1e-12)
    weight = pairwise_weight(*(a.detach() for a in arguments[1:3]), torch.ones(SOURCES).double(), law)
    square = softened_squares(*(a.detach().numpy() for a in arguments[1:3]), law.softening)
    assert_close(weight, law_weight(law, square), 1e-12)


@pytest.mark.parametrize("batch", [1, TARGETS - 1, TARGETS + 1, 50])
def test_narrow_and_wide_batches(batch):
    law = InverseDistance()
    arguments = operands(batch=batch)
    grad_y = torch.randn(batch, TARGETS, dtype=torch.float64)
    expected = product(*(a.detach().numpy() for a in arguments), law, grad_y.numpy())
    for engine in ENGINES.values():
        for result, (_, right) in zip(run(engine, arguments, law, grad_y), expected.items(), strict=True):
            assert_close(result, right, 1e-10)


@own_engines
@pytest.mark.parametrize("leading", [(), (1,), (2, 3), (2, 1, 4)])
def test_leading_axes(engine, leading):
    law = InversePower(learnable=True).double()
    x, *rest = operands()
    x = torch.randn(*leading, SOURCES, dtype=torch.float64, requires_grad=True)
    flat = x.detach().reshape(-1, SOURCES).requires_grad_()
    grad_y = torch.randn(*leading, TARGETS, dtype=torch.float64)
    y, grad_x, *others = run(engine, [x, *rest], law, grad_y)
    right, right_x, *right_others = run(engine, [flat, *rest], law, grad_y.reshape(-1, TARGETS))
    assert y.shape == (*leading, TARGETS) and grad_x.shape == x.shape
    assert_close(y.reshape(-1, TARGETS), right, 1e-14)
    assert_close(grad_x.reshape(-1, SOURCES), right_x, 1e-14)
    for gradient, expected in zip(others, right_others, strict=True):
        assert_close(gradient, expected, 1e-14)


@own_engines
@pytest.mark.parametrize("leading", [(0,), (3, 0)])
def test_empty_batch(engine, leading):
    law = InversePower(learnable=True).double()
    _, *rest = operands()
    x = torch.zeros(*leading, SOURCES, dtype=torch.float64, requires_grad=True)
    y, grad_x, *others = run(engine, [x, *rest], law, x.new_zeros(*leading, TARGETS))
    assert y.shape == (*leading, TARGETS) and grad_x.shape == x.shape
    assert all(torch.equal(g, torch.zeros_like(g)) for g in others)


@own_engines
def test_memory_layout_does_not_matter(engine):
    law, (x, source, target, scale) = InverseDistance(), operands()
    grad_y = torch.randn(BATCH, TARGETS, dtype=torch.float64)
    strided = [
        x.detach().t().contiguous().t(),
        source.detach().t().contiguous().t(),
        target.detach().flip(1).flip(1),
    ]
    strided = [t.requires_grad_() for t in strided]
    y_strides = grad_y.t().contiguous().t()
    expected = run(engine, [x, source, target, scale], law, grad_y)
    results = run(engine, [*strided, scale], law, y_strides)
    expanded = run(engine, [x, source, target, scale], law, torch.ones(1, 1).double().expand(BATCH, TARGETS))
    ones = run(engine, [x, source, target, scale], law, torch.ones(BATCH, TARGETS).double())
    for result, right in zip(results + expanded, expected + ones, strict=True):
        assert_close(result, right, 1e-12)


@pytest.mark.parametrize("has_bias", [False, True])
def test_results_by_columns_can_be_changed_in_place(has_bias):
    """As sparse projections leave activations to those after them; autograd forbids it for views."""
    x, source, target, scale = operands(batch=50)
    bias = torch.randn(TARGETS, dtype=torch.float64) if has_bias else None
    by_columns = x.detach().t().contiguous().t().requires_grad_()
    y, right = (all_to_all(each, source, target, scale, InverseDistance(), bias) for each in (by_columns, x))
    y.mul_(2.0).sum().backward()
    (2.0 * right).sum().backward()
    assert_close(y, 2.0 * right, 1e-12)
    assert_close(by_columns.grad, x.grad, 1e-12)


def test_no_edges_at_all():
    x, source, target, scale = operands()
    edges = CompressedEdges.from_edges(torch.empty(2, 0, dtype=torch.int64), SOURCES, TARGETS)
    y = sparse(x, edge_weight(source, target, scale, InverseDistance(), edges), edges)
    assert torch.equal(y, torch.zeros_like(y)) and y.shape == (BATCH, TARGETS)
    for gradient in torch.autograd.grad(y.sum(), (x, source, target, scale)):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@every_law
def test_some_edges(make):
    law, (x, source, target, scale) = make().double(), operands()
    chosen = complete_edges(SOURCES, TARGETS)[:, torch.rand(SOURCES * TARGETS) < 0.4]
    edges = CompressedEdges.from_edges(chosen, SOURCES, TARGETS)
    square = softened_squares(source.detach().numpy(), target.detach().numpy(), law.softening)
    exists = np.zeros((TARGETS, SOURCES))
    exists[chosen[1], chosen[0]] = 1.0
    weights = exists * law_weight(law, square) * scale.detach().numpy()
    y = sparse(x, edge_weight(source, target, scale, law, edges), edges)
    assert_close(y, x.detach().numpy() @ weights.T, 1e-12)
    grad_y = torch.randn_like(y)
    (grad_x,) = torch.autograd.grad(y, x, grad_y)
    assert_close(grad_x, grad_y.numpy() @ weights, 1e-12)


# Gradients of some arguments only ----


@every_engine
@pytest.mark.parametrize("wanted", [w for w in itertools.product([True, False], repeat=5) if any(w)], ids=str)
def test_gradients_of_some_arguments(engine, wanted):
    law = InversePower(learnable=True).double()
    arguments, grad_y = operands(), torch.randn(BATCH, TARGETS, dtype=torch.float64)
    expected = run(sparse_engine, arguments, law, grad_y)[1:]
    tensors = [*arguments, law.exponent]  # which is on the device now
    for tensor, wants in zip(tensors, wanted, strict=True):
        tensor.requires_grad_(wants)
    engine(*arguments, law).backward(grad_y)
    for tensor, right, wants in zip(tensors, expected, wanted, strict=True):
        if wants:
            assert_close(tensor.grad, right, 1e-12)
        else:
            assert tensor.grad is None


@every_engine
def test_no_gradient_is_recorded_where_none_is_asked(engine):
    arguments = [a.detach() for a in operands()]
    assert not engine(*arguments, InverseDistance()).requires_grad
    with torch.no_grad():
        assert not engine(*operands(), InverseDistance()).requires_grad


# Autocast ----


class Recording(Law):
    """An inverse distance that remembers the precision of its lengths."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def from_square(self, square):
        self.seen.add(square.dtype)
        return square.rsqrt()


@own_engines
@here_only
def test_autocast_lowers_the_products_but_not_the_lengths(engine):
    law = Recording()
    arguments = operands(dtype=torch.float32, batch=16, n=32, m=8)
    grad_y = torch.randn(16, 8)
    x, source, target, scale = (a.detach() for a in arguments)
    weight = pairwise_weight(source, target, scale, InverseDistance()).requires_grad_()
    copy = x.clone().requires_grad_()
    law.seen.clear()
    with torch.autocast("cpu", torch.bfloat16):
        y = engine(*arguments, law)
        dense = F.linear(copy, weight)
        dense.backward(grad_y.to(dense.dtype))
        y.backward(grad_y.to(y.dtype))  # inside, where the products of the backward pass are lowered too
    assert law.seen == {torch.float32}
    assert_close(y, dense.double(), 2e-2)
    assert_close(arguments[0].grad, copy.grad.double(), 2e-2)
    exact = product(*(a.detach().numpy() for a in arguments), InverseDistance(), grad_y.numpy())
    for argument, (_, right) in zip(arguments, exact.items()[1:], strict=True):
        assert argument.grad.dtype == torch.float32
        assert_close(argument.grad, right, 2e-2)


@here_only
def test_autocast_gives_bfloat16():
    with torch.autocast("cpu", torch.bfloat16):
        assert dense_engine(*operands(dtype=torch.float32), InverseDistance()).dtype == torch.bfloat16


# Memory ----


def saved_shapes(compute):
    shapes = []

    def note(tensor):
        shapes.append(tuple(tensor.shape))
        if tensor.layout == torch.sparse_csr:
            shapes.append(tuple(tensor.values().shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = compute()
    y.sum().backward()
    assert shapes
    return shapes


@every_law
def test_all_to_all_saves_no_tensor_with_an_axis_for_coordinates(make):
    batch, n, m, dim = 17, 30, 23, 3
    arguments = operands(dim, torch.float32, batch, n, m)
    shapes = saved_shapes(lambda: all_to_all(*arguments, make()))
    assert max(np.prod(shape, dtype=int) for shape in shapes) <= n * m
    assert [sorted(shape) for shape in shapes].count(sorted((m, n))) == 1


@every_law
def test_sparse_saves_no_message(make):
    batch, n, m, dim = 17, 30, 23, 3
    x, source, target, scale = operands(dim, torch.float32, batch, n, m)
    chosen = complete_edges(n, m)
    edges = CompressedEdges.from_edges(chosen, n, m)
    adj_t = torch.sparse_csr_tensor(
        edges.target_pointer, edges.sources, torch.ones(n * m), (m, n), check_invariants=False
    )
    features = x.t(), torch.zeros(m, batch)
    for compute in (
        lambda: sparse(x, edge_weight(source, target, scale, make(), edges), edges),
        lambda: SpatialSimpleConv(make())(features, (source, target), adj_t, polarity=scale),
    ):
        shapes = saved_shapes(compute)
        assert max(np.prod(shape, dtype=int) for shape in shapes) <= n * m * dim
        assert not [shape for shape in shapes if n * m in shape and batch in shape]


def test_messages_would_be_noticed():
    batch, n, m = 17, 30, 23
    arguments = operands(3, torch.float32, batch, n, m)
    shapes = saved_shapes(functools.partial(ENGINES["messages"], *arguments, Exponential()))
    assert (n * m, batch) in shapes


@own_engines
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool], ids=str)
def test_whole_numbers_are_sent_as_floats(engine, dtype):
    x, *geometry = (values.detach() for values in operands())
    x = (x > 0).to(dtype)
    assert_close(engine(x, *geometry, InverseDistance()), engine(x.double(), *geometry, InverseDistance()), 1e-12)


def test_lengths_of_other_dimensions_are_refused():
    source_pos, target_pos = torch.rand(3, 2), torch.rand(4, 3)
    with pytest.raises(ValueError, match=r"target_pos must have shape \(4, 2\), got \(4, 3\)"):
        pairwise_length(source_pos, target_pos)
    with pytest.raises(TypeError, match="source_pos must be floating point, got torch.int64"):
        pairwise_length(source_pos.long(), target_pos)
