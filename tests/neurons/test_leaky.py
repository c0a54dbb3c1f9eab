"""Neurons: ours, and snnTorch's behind the same face."""

import copy
import gc
import inspect
import pickle
import sys
import weakref

import pytest
import torch
from references import assert_close

from spatialgraph.functional.leaky import FastSigmoid
from spatialgraph.neurons import Leaky, LeakyIntegrator, SnnTorchNeuron, make_surrogate

snntorch = pytest.importorskip("snntorch")
surrogates = pytest.importorskip("snntorch.surrogate")

N = 6
FOREIGN = {
    "Leaky": lambda **o: snntorch.Leaky(beta=0.9, **o),
    "Leaky, zero": lambda **o: snntorch.Leaky(beta=0.9, reset_mechanism="zero", learn_beta=True, **o),
    "Synaptic": lambda **o: snntorch.Synaptic(alpha=0.8, beta=0.9, **o),
    "Alpha": lambda **o: snntorch.Alpha(alpha=0.85, beta=0.8, **o),
    "Lapicque": lambda **o: snntorch.Lapicque(beta=0.9, **o),
    "RLeaky": lambda **o: snntorch.RLeaky(beta=0.9, linear_features=N, **o),
    "RLeaky, one to one": lambda **o: snntorch.RLeaky(beta=0.9, all_to_all=False, V=0.5, **o),
    "RSynaptic": lambda **o: snntorch.RSynaptic(alpha=0.8, beta=0.9, linear_features=N, **o),
}
STATES = {"Leaky": 1, "Leaky, zero": 1, "Synaptic": 2, "Alpha": 3, "Lapicque": 1}
STATES |= {"RLeaky": 2, "RLeaky, one to one": 2, "RSynaptic": 3}
every_foreign = pytest.mark.parametrize("kind", FOREIGN)


@pytest.fixture(autouse=True)
def registry():
    """snnTorch lists neurons for ever: what a test leaves there is taken out again."""
    before = list(snntorch.SpikingNeuron.instances)
    yield
    snntorch.SpikingNeuron.instances = before


def own_loop(module, current, steps, state=None):
    """snnTorch's tutorials: what a step returns is passed into the next one."""
    recurrent = "spk" in inspect.signature(module.forward).parameters
    spikes, potentials = [], []
    values = (None,) * (len(inspect.signature(module.forward).parameters) - 1) if state is None else state
    for step in range(steps):
        spk, *rest = module(current[min(step, len(current) - 1)], *values)
        values = (spk, *rest) if recurrent else tuple(rest)
        spikes.append(spk)
        potentials.append(rest[-1])
    return torch.stack(spikes), torch.stack(potentials), values


# Leaky ----


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_leaky_is_that_of_snntorch(reset):
    current = torch.rand(25, 4, N)
    recording = Leaky(0.9, 1.2, reset).run(current, 25)
    spikes, potentials, state = own_loop(snntorch.Leaky(0.9, 1.2, reset_mechanism=reset), current, 25)
    assert torch.equal(recording.spikes, spikes) and torch.equal(recording.potentials, potentials)
    assert torch.equal(recording.state[0], state[0]) and len(recording.state) == 1


def test_one_step_is_a_call():
    leaky, theirs = Leaky(0.9), snntorch.Leaky(0.9)
    potential = mem = None
    for _ in range(5):
        current = torch.rand(3, N)
        spikes, potential = leaky(current, potential)
        spk, mem = theirs(current, mem)
        assert torch.equal(spikes, spk) and torch.equal(potential, mem)


def test_what_is_wanted_is_recorded():
    leaky = Leaky()
    assert leaky.run(torch.ones(1, N), 3, record="spikes").potentials is None
    assert leaky.run(torch.ones(1, N), 3, record="potentials").spikes is None


def test_weighted_spikes():
    leaky, current, shares = Leaky(0.9), torch.rand(1, 4, N).double(), torch.rand(25).double()
    expected = torch.einsum("t,tbn->bn", shares, leaky.run(current, 25).spikes)
    assert_close(leaky.weighted_spikes(current, shares), expected, 1e-12)


def test_nothing_is_learned_and_nothing_kept():
    leaky = Leaky()
    before = vars(leaky).copy()
    leaky.run(torch.ones(1, N, requires_grad=True), 3)
    assert not list(leaky.parameters()) and not leaky.state_dict() and vars(leaky) == before


def test_repr():
    text = repr(Leaky(0.9, 1.5, "zero", "atan"))
    assert text == "Leaky(beta=0.9, threshold=1.5, reset_mechanism='zero', spike_grad='atan')"
    assert "spike_grad='custom'" in repr(Leaky(spike_grad=FastSigmoid(10.0)))
    assert repr(LeakyIntegrator(0.9)) == "LeakyIntegrator(beta=0.9)"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"beta": 1.1}, ValueError, "beta must be between 0 and 1, got 1.1"),
        ({"beta": -0.1}, ValueError, "beta must be between 0 and 1, got -0.1"),
        ({"beta": "high"}, TypeError, r"beta must be a number, got 'high' \(str\)"),
        ({"beta": torch.tensor(0.5)}, TypeError, r"beta must be a number, got tensor\(0\.5000\) \(Tensor\)"),
        ({"threshold": 0.0}, ValueError, "threshold must be above 0, got 0.0"),
        ({"threshold": -1}, ValueError, "threshold must be above 0, got -1"),
        (
            {"reset_mechanism": "hard"},
            ValueError,
            "reset_mechanism must be one of 'subtract', 'zero', 'none', got 'hard'",
        ),
        (
            {"spike_grad": "step"},
            ValueError,
            "spike_grad must be one of 'fast_sigmoid', 'wide_fast_sigmoid', 'straight_through_estimator'",
        ),
        ({"spike_grad": 3}, ValueError, "got 3"),
        ({"spike_grad": "custom_surrogate"}, ValueError, "got 'custom_surrogate'"),
    ],
)
def test_wrong_arguments(options, error, message):
    with pytest.raises(error, match=message):
        Leaky(**options)


# Outputs that integrate ----


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("rows", [1, 12])
def test_integrator_by_brute_force(beta, rows):
    integrator, current = LeakyIntegrator(beta), 3.0 * torch.randn(rows, 4, N, dtype=torch.float64)
    recording = integrator.run(current, 12)
    potential, potentials = torch.zeros(4, N), []
    for step in range(12):
        potential = beta * potential + current[min(step, rows - 1)]
        potentials.append(potential)
    assert_close(recording.potentials, torch.stack(potentials), 1e-14)
    assert torch.equal(recording.spikes, torch.zeros(12, 4, N))
    assert torch.equal(recording.state[0], recording.potentials[-1])
    assert_close(integrator.mean_potential(current, 12), recording.potentials.mean(0), 1e-12)


@pytest.mark.parametrize("steps", [1, 2, 25])
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.95, 1.0])
def test_shares_by_brute_force(beta, steps):
    expected = [sum(beta ** (later - step) for later in range(step, steps)) / steps for step in range(steps)]
    shares = LeakyIntegrator(beta).shares(steps)
    assert shares.shape == (steps,)
    assert_close(shares.double(), torch.tensor(expected, dtype=torch.float64), 1e-12)


def test_the_mean_potential_has_its_gradient():
    current = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    integrator = LeakyIntegrator(0.7)
    assert torch.autograd.gradcheck(lambda current: integrator.mean_potential(current, 5), current)
    assert torch.autograd.gradcheck(lambda current: integrator.mean_potential(current[:1], 5), current)


@pytest.mark.parametrize("beta", [-0.1, 1.5])
def test_wrong_integrator(beta):
    with pytest.raises(ValueError, match=f"beta must be between 0 and 1, got {beta}"):
        LeakyIntegrator(beta)


# snnTorch's neurons ----


def wrapped(kind, **options):
    """One neuron behind our face, and its twin as snnTorch made it."""
    module = FOREIGN[kind](**options)
    twin = copy.deepcopy(module)
    return SnnTorchNeuron(module), twin


@every_foreign
@pytest.mark.parametrize("rows", [1, 10])
def test_foreign_neurons_by_their_own_loop(kind, rows):
    neuron, twin = wrapped(kind)
    current = 4.0 * torch.rand(rows, 4, N)
    for _ in range(2):  # the second run starts at rest again
        recording = neuron.run(current, 10)
        spikes, potentials, state = own_loop(copy.deepcopy(twin), current, 10)
        assert torch.equal(recording.spikes, spikes) and torch.equal(recording.potentials, potentials)
        assert len(recording.state) == STATES[kind]
        assert all(torch.equal(a, b) for a, b in zip(recording.state, state, strict=True))
    assert spikes.sum() > 0


@every_foreign
def test_foreign_neurons_in_parts(kind):
    neuron, _ = wrapped(kind)
    current = torch.rand(10, 4, N)
    whole, first = neuron.run(current, 10), neuron.run(current[:4], 4)
    second = neuron.run(current[4:], 6, first.state)
    for name in ("spikes", "potentials"):
        parts = torch.cat([getattr(first, name), getattr(second, name)])
        assert torch.equal(parts, getattr(whole, name))
    assert all(torch.equal(a, b) for a, b in zip(second.state, whole.state, strict=True))


@every_foreign
def test_foreign_neurons_have_their_own_gradients(kind):
    neuron, twin = wrapped(kind)
    current = torch.rand(6, 4, N, requires_grad=True)
    gradients = torch.autograd.grad(neuron.run(current, 6).potentials.sum(), [current, *neuron.parameters()])
    expected = torch.autograd.grad(own_loop(twin, current, 6)[1].sum(), [current, *twin.parameters()])
    for gradient, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, right)


@every_foreign
def test_foreign_neurons_forget(kind):
    listed = len(snntorch.SpikingNeuron.instances)
    neuron = SnnTorchNeuron(FOREIGN[kind]())
    assert len(snntorch.SpikingNeuron.instances) == listed
    before = {name: value.clone() for name, value in neuron.state_dict().items()}
    neuron.run(torch.rand(5, 4, N, requires_grad=True), 5)
    for name, tensor in {**vars(neuron.module), **dict(neuron.module.named_buffers())}.items():
        if isinstance(tensor, torch.Tensor):
            assert tensor.grad_fn is None and tensor.numel() <= 1, name
    assert before.keys() == neuron.state_dict().keys()
    twin = copy.deepcopy(neuron)  # tensors with a history could not be copied
    current = torch.rand(5, 4, N)
    assert torch.equal(twin.run(current, 5).potentials, neuron.run(current, 5).potentials)
    assert len(snntorch.SpikingNeuron.instances) == listed


def test_others_stay_in_the_registry():
    other = snntorch.Leaky(beta=0.5)
    SnnTorchNeuron(snntorch.Leaky(beta=0.9))
    assert snntorch.SpikingNeuron.instances[-1] is other


def test_foreign_neurons_are_freed():
    neuron = SnnTorchNeuron(snntorch.Synaptic(alpha=0.8, beta=0.9))
    neuron.run(torch.rand(5, 4, N, requires_grad=True), 5)
    module = weakref.ref(neuron.module)
    del neuron
    gc.collect()
    assert module() is None


@pytest.mark.parametrize("kind", ["Leaky", "Synaptic", "Alpha", "Lapicque"])  # snnTorch's recurrent ones refuse it
def test_foreign_neurons_in_double_precision(kind):
    neuron = wrapped(kind)[0].double()
    recording = neuron.run(torch.rand(5, 4, N).double(), 5)
    assert recording.spikes.dtype == recording.potentials.dtype == torch.float64


def test_foreign_surrogates_in_double_precision():
    recording = Leaky(spike_grad="atan").run(torch.rand(5, 4, N).double(), 5)
    assert recording.spikes.dtype == recording.potentials.dtype == torch.float64


def test_what_is_no_spiking_neuron():
    with pytest.raises(TypeError, match="neuron must return a spiking neuron of snnTorch, got Linear"):
        SnnTorchNeuron(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="neuron must return one made with init_hidden=False, got init_hidden=True"):
        SnnTorchNeuron(snntorch.Leaky(beta=0.9, init_hidden=True))


# Surrogates ----

WITHOUT_ARGUMENTS = [
    name
    for name, function in vars(surrogates).items()
    if inspect.isfunction(function) and function.__module__ == surrogates.__name__
]
WITHOUT_ARGUMENTS.remove("custom_surrogate")
WITHOUT_ARGUMENTS.remove("LSO")  # broken in snnTorch 1.0: it applies another function with too few arguments


@pytest.mark.parametrize("name", WITHOUT_ARGUMENTS)
def test_every_surrogate_by_name(name):
    u = torch.linspace(-1.0, 1.0, 21).requires_grad_()
    ours, theirs = make_surrogate(name), getattr(surrogates, name)()
    results = []
    for function in (ours, theirs):
        torch.manual_seed(0)  # one of them is random
        spikes = function(u)
        assert torch.equal(spikes, (u > 0).float())
        results.append(torch.autograd.grad(spikes.sum(), u)[0])
    torch.testing.assert_close(*results)
    assert len(WITHOUT_ARGUMENTS) >= 7
    torch.manual_seed(0)
    recording = Leaky(spike_grad=name).run(torch.rand(1, N, requires_grad=True), 5)
    assert recording.spikes.requires_grad and f"spike_grad={name!r}" in repr(Leaky(spike_grad=name))


def test_a_function_is_a_surrogate():
    function = surrogates.atan(alpha=3.0)
    assert make_surrogate(function) is function and Leaky(spike_grad=function).spike_grad is function
    assert isinstance(make_surrogate("fast_sigmoid"), FastSigmoid)


def test_without_snntorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "snntorch", None)
    monkeypatch.delitem(sys.modules, "snntorch.surrogate")
    hint = r'snnTorch; install it with: pip install "spatialgraph\[snn\]"'
    with pytest.raises(ImportError, match=hint):
        Leaky(spike_grad="atan")
    with pytest.raises(ImportError, match=hint):
        SnnTorchNeuron(torch.nn.Identity())
    assert Leaky().run(torch.ones(1, N), 3).spikes.shape == (3, N)


@pytest.mark.parametrize("spike_grad", ["fast_sigmoid", "wide_fast_sigmoid", "atan", FastSigmoid(3.0)])
def test_saved_settings(spike_grad):
    pytest.importorskip("snntorch")
    neuron = Leaky(0.9, 1.5, "zero", spike_grad)
    assert repr(Leaky.from_saved(neuron.saved_settings())) == repr(neuron)
    with pytest.raises(ValueError, match="spike_grad must be a name or a FastSigmoid to be saved"):
        Leaky(spike_grad=torch.sigmoid).saved_settings()


def test_repr_follows_the_surrogate():
    neuron = Leaky()
    neuron.spike_grad = make_surrogate("wide_fast_sigmoid")
    assert "spike_grad='wide_fast_sigmoid'" in repr(neuron)


def test_pickle():
    for neuron in (Leaky(0.9, 1.5, "zero"), LeakyIntegrator(0.8), Leaky(spike_grad=FastSigmoid(10.0))):
        twin = pickle.loads(pickle.dumps(neuron))
        assert repr(twin) == repr(neuron)
        assert torch.equal(twin.run(torch.ones(1, N), 3).potentials, neuron.run(torch.ones(1, N), 3).potentials)


@pytest.mark.parametrize("name", WITHOUT_ARGUMENTS)
def test_pickle_of_a_surrogate_by_name(name):
    leaky = Leaky(spike_grad=name)
    for twin in (pickle.loads(pickle.dumps(leaky)), copy.deepcopy(leaky)):
        current = torch.rand(1, N, requires_grad=True)
        results = []
        for neuron in (twin, leaky):
            torch.manual_seed(0)
            results.append(torch.autograd.grad(neuron.run(current, 5).spikes.sum(), current)[0])
        assert repr(twin) == repr(leaky) and torch.equal(*results)
