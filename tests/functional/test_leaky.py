"""The leaky engine: its fused kernel, its loop in PyTorch and snnTorch's own loop are one and the same thing."""

import itertools

import pytest
import torch

from spatialgraph.functional.leaky import RESETS, FastSigmoid, Run, leaky_run, leaky_step
from spatialgraph.kernels import handover

snntorch = pytest.importorskip("snntorch")
surrogate = pytest.importorskip("snntorch.surrogate")

BETAS = (0.0, 0.5, 0.95, 1.0)
THRESHOLDS = (0.3, 1.0, 2.5)
GRID = list(itertools.product(RESETS, BETAS, THRESHOLDS))
every_setting = pytest.mark.parametrize(("reset", "beta", "threshold"), GRID)
every_reset = pytest.mark.parametrize("reset", RESETS)
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
ENGINES = ("fused", "steps")
every_engine = pytest.mark.parametrize("engine", ENGINES)


@pytest.fixture(autouse=True)
def chosen(request, monkeypatch):
    """Use the loop in PyTorch in place of the kernel where a test asks for it."""
    if getattr(request.node, "callspec", None) and request.node.callspec.params.get("engine") == "steps":
        monkeypatch.setattr(handover, "available", lambda *values: False)


@pytest.fixture
def without_kernels(monkeypatch):
    """Return a function that runs a call without the fused kernels."""

    def call(function, *arguments, **options):
        with monkeypatch.context() as patch:
            patch.setattr(handover, "available", lambda *values: False)
            return function(*arguments, **options)

    return call


def settings(beta=0.95, threshold=1.0, reset_mechanism="subtract", slope=25.0):
    return {"beta": beta, "threshold": threshold, "reset_mechanism": reset_mechanism, "spike_grad": FastSigmoid(slope)}


def step_with_slope(slope):
    """A step with the slope of a fast sigmoid, by autograd; snnTorch's own turns gradients into single precision."""

    def spike(u):
        smooth = u / (1.0 + slope * u.abs())
        return (u > 0).to(u.dtype) + (smooth - smooth.detach())

    return spike


def snntorch_loop(current, steps, potential, beta, threshold, reset, spike_grad=None):
    """snnTorch's tutorials, literally; it keeps its constants in single precision unless told otherwise."""
    neuron = snntorch.Leaky(
        beta=torch.tensor(beta, dtype=current.dtype),
        threshold=torch.tensor(threshold, dtype=current.dtype),
        reset_mechanism=reset,
        spike_grad=surrogate.fast_sigmoid() if spike_grad is None else spike_grad,
    )
    snntorch.SpikingNeuron.instances.remove(neuron)
    spikes, potentials, mem = [], [], potential
    for step in range(steps):
        spk, mem = neuron(current[min(step, len(current) - 1)], mem)
        spikes.append(spk)
        potentials.append(mem)
    return torch.stack(spikes), torch.stack(potentials)


def drive(rows, *shape, dtype=torch.float32, threshold=1.0):
    """Currents under which some neurons fire at most steps, some sometimes, some never."""
    return (threshold * (torch.rand(rows, *shape, dtype=dtype) * 1.6 - 0.4)).requires_grad_()


def bits(run):
    return [values for values in run if values is not None]


def weighted(*values):
    """A scalar to which every entry contributes differently."""
    total = 0.0
    for value in values:
        total = total + (value * torch.linspace(-1.0, 2.0, value.numel(), dtype=value.dtype).view(value.shape)).sum()
    return total


# Against snnTorch ----


@every_engine
@pytest.mark.parametrize("rows", [1, 25])
@every_setting
def test_spikes_and_potentials_are_those_of_snntorch_to_the_bit(reset, beta, threshold, rows, engine):
    current = drive(rows, 6, 7, threshold=threshold)
    start = 2.0 * threshold * torch.randn(6, 7)
    run = leaky_run(current, 25, start, **settings(beta, threshold, reset))
    spikes, potentials = snntorch_loop(current, 25, start, beta, threshold, reset)
    assert torch.equal(run.spikes, spikes)
    assert torch.equal(run.potentials, potentials)
    assert torch.equal(run.last, potentials[-1])
    assert 0.0 < spikes.mean() < 1.0


@every_engine
@every_dtype
@every_reset
def test_from_rest_in_either_precision(reset, dtype, engine):
    current = drive(25, 6, 7, dtype=dtype)
    run = leaky_run(current, 25, torch.zeros(6, 7, dtype=dtype), **settings(0.9, 1.0, reset))
    spikes, potentials = snntorch_loop(current, 25, None, 0.9, 1.0, reset)
    assert run.spikes.dtype == run.potentials.dtype == run.last.dtype == dtype
    assert torch.equal(run.spikes, spikes)
    assert torch.equal(run.potentials, potentials)


@every_engine
@pytest.mark.parametrize("rows", [1, 12])
@every_setting
def test_gradients_are_those_of_autograd_through_snntorch(reset, beta, threshold, rows, engine):
    current = drive(rows, 5, 3, dtype=torch.float64, threshold=threshold)
    start = (2.0 * threshold * torch.randn(5, 3, dtype=torch.float64)).requires_grad_()
    run = leaky_run(current, 12, start, **settings(beta, threshold, reset, slope=4.0))
    gradients = torch.autograd.grad(weighted(run.spikes, run.potentials), (current, start))
    expected = snntorch_loop(current, 12, start, beta, threshold, reset, step_with_slope(4.0))
    expected = torch.autograd.grad(weighted(*expected), (current, start))
    for gradient, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-12, atol=1e-12)


@every_reset
def test_gradients_in_single_precision(reset):
    # Sums over 25 steps with a decay of 0.95 lose a few of the 24 bits; 1e-5 of the largest leaves room for that.
    current = drive(25, 8, 9)
    start = torch.zeros(8, 9)
    gradient = torch.autograd.grad(
        leaky_run(current, 25, start, **settings(reset_mechanism=reset)).spikes.sum(), current
    )[0]
    expected = torch.autograd.grad(snntorch_loop(current, 25, None, 0.95, 1.0, reset)[0].sum(), current)[0]
    assert (gradient - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_the_default_surrogate_is_that_of_snntorch():
    u = torch.linspace(-1.0, 1.0, 201).requires_grad_()
    ours, theirs = FastSigmoid()(u), surrogate.fast_sigmoid()(u)
    assert torch.equal(ours, theirs)
    ours, theirs = (torch.autograd.grad(weighted(values), u)[0] for values in (ours, theirs))
    torch.testing.assert_close(ours, theirs)


# By hand ----


@every_engine
def test_by_hand(engine):
    # A spike lowers the potential one step later: 1.5 fires, then 0.5 * 1.5 + 1 - 1 = 0.75.
    run = leaky_run(torch.tensor([[1.0]]), 4, torch.zeros(1), **settings(beta=0.5))
    assert run.potentials[:, 0].tolist() == [1.0, 1.5, 0.75, 1.375]
    assert run.spikes[:, 0].tolist() == [0.0, 1.0, 0.0, 1.0]
    run = leaky_run(torch.tensor([[1.0]]), 4, torch.zeros(1), **settings(beta=0.5, reset_mechanism="zero"))
    assert run.potentials[:, 0].tolist() == [1.0, 1.5, 1.0, 1.5]
    run = leaky_run(torch.tensor([[1.0]]), 4, torch.zeros(1), **settings(beta=0.5, reset_mechanism="none"))
    assert run.potentials[:, 0].tolist() == [1.0, 1.5, 1.75, 1.875]


@every_engine
def test_gradients_by_hand(engine):
    # v1 = 0.5 v0 + I, v2 = 0.5 v1 + I, so d v2 / d I = 1.5 and d v2 / d v0 = 0.25; no gradient through the reset.
    for reset in ("subtract", "none"):
        current, start = torch.tensor([[2.0]], requires_grad=True), torch.tensor([1.0], requires_grad=True)
        run = leaky_run(current, 2, start, **settings(beta=0.5, reset_mechanism=reset))
        assert [g.item() for g in torch.autograd.grad(run.last.sum(), (current, start))] == [1.5, 0.25]
    # Reset to zero: v1 = 2.5 fired, so that v2 = I forgets it.
    run = leaky_run(current, 2, start, **settings(beta=0.5, reset_mechanism="zero"))
    assert [g.item() for g in torch.autograd.grad(run.last.sum(), (current, start))] == [1.0, 0.0]
    # One step: the surrogate's slope at v - threshold = 0.5 is 1 / (1 + 4 * 0.5)^2.
    current = torch.tensor([[1.5]], requires_grad=True)
    run = leaky_run(current, 1, torch.zeros(1), **settings(slope=4.0))
    assert torch.autograd.grad(run.spikes.sum(), current)[0].item() == pytest.approx(1 / 9)


def test_a_potential_at_the_threshold_does_not_fire():
    run = leaky_run(torch.tensor([[1.0, 1.0 + 2**-20]]), 1, torch.zeros(2), **settings())
    assert run.spikes[0].tolist() == [0.0, 1.0]


# The kernel against the loop ----


@every_dtype
@every_reset
@pytest.mark.parametrize("count", [1, 511, 512, 513, 5000])
def test_any_number_of_neurons(count, reset, dtype, without_kernels):
    steps = 7
    current, start = drive(steps, count, dtype=dtype), torch.randn(count, dtype=dtype).requires_grad_()
    shares = torch.rand(steps, dtype=dtype)
    results = []
    for run in (leaky_run, lambda *a, **k: without_kernels(leaky_run, *a, **k)):
        recorded = run(current, steps, start, shares=shares, **settings(reset_mechanism=reset, slope=3.0))
        results.append((recorded, torch.autograd.grad(weighted(*bits(recorded)), (current, start))))
    (fused, fused_gradients), (plain, plain_gradients) = results
    assert all(torch.equal(a, b) for a, b in zip(bits(fused), bits(plain), strict=True))
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for gradient, right in zip(fused_gradients, plain_gradients, strict=True):
        assert gradient.shape == right.shape
        assert (gradient - right).abs().max() <= tolerance * right.abs().max()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3, 5)], ids=str)
@every_engine
def test_any_shape(shape, engine):
    current = torch.rand(4, *shape, requires_grad=True)
    run = leaky_run(current, 4, torch.zeros(shape), shares=torch.ones(4), **settings())
    assert run.spikes.shape == run.potentials.shape == (4, *shape) and run.last.shape == run.summed.shape == shape
    (gradient,) = torch.autograd.grad(weighted(*bits(run)), current)
    assert gradient.shape == current.shape


@every_reset
def test_memory_layout_does_not_matter(reset):
    base, start = drive(6, 5, 4), torch.randn(5, 4)
    layouts = [
        (base, start),
        (base.detach().permute(2, 1, 0).contiguous().permute(2, 1, 0), start.t().contiguous().t()),
        (torch.stack([base.detach(), base.detach()], -1)[..., 0], torch.stack([start, start], -1)[..., 1]),
    ]
    results = []
    for current, potential in layouts:
        current, potential = current.detach().requires_grad_(), potential.detach().requires_grad_()
        run = leaky_run(current, 6, potential, **settings(reset_mechanism=reset))
        loss = weighted(run.spikes.transpose(1, 2), run.potentials, run.last.t())
        results.append([*bits(run), *torch.autograd.grad(loss, (current, potential))])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, results[0], strict=True))


def test_expanded_gradients_and_currents():
    # The gradient of a sum is one number expanded to the full shape.
    current = torch.rand(1, 5).expand(6, 5).requires_grad_()
    constant = current.detach()[:1].clone().requires_grad_()
    run = leaky_run(current, 6, torch.zeros(5), **settings())
    same = leaky_run(constant, 6, torch.zeros(5), **settings())
    assert all(torch.equal(a, b) for a, b in zip(bits(run), bits(same), strict=True))
    (gradient,) = torch.autograd.grad(run.spikes.sum() + run.last.sum(), current)
    (right,) = torch.autograd.grad(same.spikes.sum() + same.last.sum(), constant)
    torch.testing.assert_close(gradient.sum(0, keepdim=True), right)


@every_engine
@pytest.mark.parametrize("record", ["", "spikes", "potentials", "spikes potentials"])
def test_what_is_recorded(record, engine):
    current = drive(5, 8)
    whole = leaky_run(current, 5, torch.zeros(8), shares=torch.ones(5), **settings())
    run = leaky_run(current, 5, torch.zeros(8), record=record, **settings())
    assert isinstance(run, Run) and run.summed is None
    assert (run.spikes is None) == ("spikes" not in record) and (run.potentials is None) == ("potentials" not in record)
    for values, right in zip(run, whole, strict=True):
        assert values is None or torch.equal(values, right)


@every_engine
def test_nothing_is_changed(engine):
    current, start = torch.rand(5, 8), torch.rand(8)
    before = current.clone(), start.clone()
    leaky_run(current, 5, start, **settings())
    assert torch.equal(current, before[0]) and torch.equal(start, before[1])


# Sums of spikes ----


@every_engine
@pytest.mark.parametrize("rows", [1, 9])
def test_the_sum_is_that_of_the_stored_spikes(rows, engine):
    current, start = drive(rows, 4, 5, dtype=torch.float64), torch.zeros(4, 5).double().requires_grad_()
    shares = torch.randn(9, dtype=torch.float64)
    run = leaky_run(current, 9, start, shares=shares, record="", **settings(slope=3.0))
    stored = leaky_run(current, 9, start, **settings(slope=3.0))
    expected = torch.einsum("t,tbn->bn", shares, stored.spikes)
    torch.testing.assert_close(run.summed, expected, rtol=1e-12, atol=1e-12)
    gradients = torch.autograd.grad(weighted(run.summed), (current, start))
    for gradient, right in zip(gradients, torch.autograd.grad(weighted(expected), (current, start)), strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-12, atol=1e-12)


# Runs in parts ----


@every_engine
@every_reset
@pytest.mark.parametrize("rows", [1, 25])
def test_a_run_in_parts(rows, reset, engine):
    current, start = drive(rows, 4, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64).requires_grad_()
    options = settings(reset_mechanism=reset, slope=2.0)
    whole = leaky_run(current, 25, start, **options)
    first = leaky_run(current[:10], 10, start, **options)
    second = leaky_run(current if rows == 1 else current[10:], 15, first.last, **options)
    assert torch.equal(torch.cat([first.spikes, second.spikes]), whole.spikes)
    assert torch.equal(torch.cat([first.potentials, second.potentials]), whole.potentials)
    assert torch.equal(second.last, whole.last)
    parts = torch.cat([first.spikes, second.spikes]), torch.cat([first.potentials, second.potentials]), second.last
    gradients = torch.autograd.grad(weighted(*parts), (current, start))
    expected = torch.autograd.grad(weighted(whole.spikes, whole.potentials, whole.last), (current, start))
    for gradient, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-12, atol=1e-12)


@every_engine
def test_steps_one_by_one(engine):
    current, potential = torch.rand(8, 6), torch.zeros(6)
    run = leaky_run(current, 8, potential, **settings())
    for step in range(8):
        spikes, potential = leaky_step(current[step], potential, **settings())
        assert torch.equal(spikes, run.spikes[step]) and torch.equal(potential, run.potentials[step])


@every_engine
@pytest.mark.parametrize("state", [(3,), (7, 3), (5, 4), (6,)], ids=str)
def test_a_state_of_another_shape_is_refused(state, engine):
    with pytest.raises(ValueError, match=r"potential must have shape \(5, 3\), got \("):
        leaky_run(torch.rand(4, 5, 3), 4, torch.zeros(state), **settings())


@every_engine
def test_a_current_of_another_length_is_refused(engine):
    with pytest.raises(ValueError, match="record must be one of 'spikes', 'potentials', got 'spike'"):
        leaky_run(torch.zeros(6, 3), 6, torch.zeros(3), record="spike", **settings())
    with pytest.raises(ValueError, match="current must have 1 or 6 rows, one for each step, got 4"):
        leaky_run(torch.rand(4, 5), 6, torch.zeros(5), **settings())


# Finite differences ----


@every_engine
@pytest.mark.parametrize("rows", [1, 5])
def test_gradcheck_of_potentials(rows, engine):
    # Without a reset potentials are linear in the current.
    current, start = drive(rows, 2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64).requires_grad_()
    options = settings(0.8, reset_mechanism="none")
    assert torch.autograd.gradcheck(lambda *a: leaky_run(a[0], 5, a[1], **options)[1::2], (current, start))


@every_engine
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_gradcheck_of_potentials_between_spikes(reset, engine):
    # With a reset they are as long as no neuron comes near the threshold. No gradient passes through the reset, and
    # none is due where it does not change.
    current = torch.tensor([[2.3, -0.7, 0.2]], dtype=torch.float64).expand(4, 3).clone().requires_grad_()
    start = torch.tensor([0.4, 3.0, -0.5], dtype=torch.float64, requires_grad=True)
    options = settings(0.5, reset_mechanism=reset)
    potentials = leaky_run(current, 4, start, **options).potentials
    assert (potentials - 1.0).abs().min() > 0.01 and (potentials > 1.0).any() and (potentials < 1.0).any()
    assert torch.autograd.gradcheck(lambda *a: leaky_run(a[0], 4, a[1], **options)[1::2], (current, start))


def test_gradcheck_of_smooth_spikes():
    # Any function may stand in for the step: a smooth one has the gradient that it claims to have.
    current, start = drive(5, 2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64).requires_grad_()
    options = settings(0.8, reset_mechanism="none") | {"spike_grad": lambda u: torch.sigmoid(3.0 * u)}
    shares = torch.rand(5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *a: leaky_run(a[0], 5, a[1], shares=shares, **options), (current, start))


class Flat(FastSigmoid):
    """A surrogate of one's own made from ours."""

    def __call__(self, u):
        return super().__call__(u).detach() + 0.5 * (u - u.detach())


def test_the_kernel_does_not_stand_in_for_a_subclass():
    current = torch.tensor([[0.3, 1.7]], requires_grad=True)
    run = leaky_run(current, 1, torch.zeros(2), **(settings() | {"spike_grad": Flat()}))
    assert torch.autograd.grad(run.spikes.sum(), current)[0].tolist() == [[0.5, 0.5]]


# Threads ----


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_the_number_of_threads_changes_no_bit(threads):
    current, start = drive(3, 50_001), torch.randn(50_001).requires_grad_()
    results = []
    for count in (1, 2, 2, 3):
        threads(count)
        run = leaky_run(current, 3, start, shares=torch.rand(3).new_tensor([0.1, 0.2, 0.3]), **settings())
        results.append([*bits(run), *torch.autograd.grad(weighted(*bits(run)), (current, start))])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, results[0], strict=True))


def test_unknown_names_and_slopes_are_refused():
    with pytest.raises(ValueError, match="reset_mechanism must be one of .*, got 'sub'"):
        leaky_step(torch.ones(1), torch.ones(1), 0.9, 1.0, "sub", FastSigmoid())
    with pytest.raises(ValueError, match="slope must be above 0, got -25"):
        FastSigmoid(-25.0)
