"""Spatial networks from trained dense ones, against the dense networks and NumPy."""

import copy

import numpy as np
import pytest
import torch
from references import assert_close, law_weight, softened_squares
from torch import nn

import spatialgraph as sg
from spatialgraph.conversion.fitting import fit_

SIZES = [7, 6, 5, 3]
ACTIVATIONS = [
    nn.ReLU(),
    nn.ReLU(inplace=True),
    nn.LeakyReLU(),
    nn.LeakyReLU(0.3, inplace=True),
    nn.ELU(0.5),
    nn.GELU("tanh"),
    nn.GELU(),
    nn.SiLU(),
    nn.Tanh(),
    nn.Sigmoid(),
]


def dense_network(activation=None, dtype=torch.float32):
    first, *later = [nn.Linear(n, m, dtype=dtype) for n, m in zip(SIZES[:-1], SIZES[1:], strict=True)]
    hidden = [layer for linear in later for layer in (activation or nn.ReLU(), linear)]
    return nn.Sequential(first, *hidden)


def inputs(dtype=torch.float32):
    return torch.randn(20, 7, dtype=dtype)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# Exact copies ----


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("weight_mode", ["free", "both"])
def test_copies_with_weights_of_their_own_are_exact(weight_mode, activation):
    dense, x = dense_network(activation), inputs()
    model, _ = sg.from_linear(dense, weight_mode=weight_mode, steps=20)
    assert_close(model(x), dense(x).detach(), 1e-6)
    assert model.graph.weight_mode == weight_mode


@pytest.mark.parametrize("law", ["inverse_distance", "cosine", "sine_wave", "mexican_hat", "gaussian"])
def test_factors_make_up_for_any_law(law):
    dense, x = dense_network(dtype=torch.float64), inputs(torch.float64)
    model, _ = sg.from_linear(dense, law=law, weight_mode="both", steps=20)
    assert model.graph.raw_bias.dtype == torch.float64
    assert_close(model(x), dense(x).detach(), 1e-9)


@pytest.mark.parametrize("normalize", [True, False])
def test_dense_baselines_are_copied_with_their_normalisation(normalize):
    dense, x = sg.DenseMLP(SIZES, "tanh", normalize), inputs()
    model, _ = sg.from_linear(dense, weight_mode="free", steps=5)
    assert model.normalize is normalize
    assert_close(model(x), dense(x).detach(), 1e-6)


def test_a_linear_layer_alone_takes_any_leading_axes():
    dense, x = nn.Linear(5, 4, bias=False), torch.randn(2, 3, 5)
    model, explained = sg.from_linear(dense, weight_mode="free", steps=5)
    assert len(explained) == 1
    assert_close(model(x), dense(x).detach(), 1e-6)


def test_dropout_and_identity_are_left_out_and_sequences_may_be_nested():
    dense = nn.Sequential(
        nn.Sequential(nn.Linear(7, 4), nn.Tanh()), nn.Dropout(), nn.Sequential(nn.Identity(), nn.Linear(4, 2))
    ).eval()
    x = inputs()
    model, _ = sg.from_linear(dense, weight_mode="free", steps=5)
    assert not model.training
    assert_close(model(x), dense(x).detach(), 1e-6)


def test_a_converted_model_can_be_saved(tmp_path):
    model, _ = sg.from_linear(dense_network(nn.Tanh()), weight_mode="both", steps=5)
    sg.save(model, tmp_path / "network.safetensors")
    x = inputs()
    assert torch.equal(sg.load(tmp_path / "network.safetensors")(x), model(x))


def test_weights_of_zero_are_explained():
    dense, x = dense_network(nn.Tanh()), inputs()
    nn.init.zeros_(dense[2].weight)
    for weight_mode in ("law", "both"):
        model, explained = sg.from_linear(dense, weight_mode=weight_mode, steps=5)
        assert explained[1] == 1.0
        assert all(p.isfinite().all() for p in model.parameters())
    assert_close(model(x), dense(x).detach(), 1e-6)


# Approximate copies ----


def planted(activation="tanh"):
    """A spatial network, and the dense one that computes the same."""
    model = sg.SpatialMLP(SIZES, law="cosine", normalize=False, activation=activation, dtype=torch.float64)
    nn.init.normal_(model.graph.raw_bias)
    return model, model.to_dense()


def test_polarities_are_found_where_positions_are_known():
    model, dense = planted()
    copied, explained = sg.from_linear(dense, init=model.graph.pos.detach(), steps=0)
    x = inputs(torch.float64)
    assert explained == pytest.approx([1.0, 1.0, 1.0])
    assert_close(copied.graph.weights().detach(), model.graph.weights().detach(), 1e-10)
    assert_close(copied(x), model(x).detach(), 1e-10)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_positions_are_found_from_a_start_nearby(activation):
    model, dense = planted(activation)
    start = model.graph.pos.detach().clone()
    start[:, :2] += 0.05 * torch.randn(len(start), 2)
    before = sg.from_linear(dense, init=start, steps=0).explained
    copied, explained = sg.from_linear(dense, init=start, steps=1000)
    x = inputs(torch.float64)
    assert max(before) < 0.999 < min(explained)
    assert_close(copied(x), model(x).detach(), 0.1)


def weights_by_numpy(graph):
    """Weights of each projection, by loops over nothing but positions and polarities."""
    pos, polarity, layer = (t.detach().numpy() for t in (graph.pos, graph.polarity, graph.layer))
    for number in range(1, layer.max() + 1):
        source, target = layer == number - 1, layer == number
        yield (
            graph.gain
            * polarity[source]
            * law_weight(graph.law, softened_squares(pos[source], pos[target], graph.law.softening))
        )


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.ReLU(), nn.LeakyReLU(0.2)], ids=repr)
def test_explained_is_the_share_of_the_squared_weights(activation):
    dense = dense_network(activation, torch.float64)
    model, explained = sg.from_linear(dense, 4, law="cosine", steps=30)
    biases, before = model.graph.bias.detach().numpy(), np.ones(SIZES[0])
    for number, (weight, share) in enumerate(zip(weights_by_numpy(model.graph), explained, strict=True), start=1):
        linear = dense[2 * (number - 1)]
        # How much a neuron was rescaled shows in its bias.
        scale = linear.bias.detach().numpy() / biases[model.graph.layer.numpy() == number]
        assert (scale > 0).all()
        given, found = linear.weight.detach().numpy(), weight * scale[:, None] / before
        assert share == pytest.approx(1 - ((given - found) ** 2).sum() / (given**2).sum(), abs=1e-9)
        is_rescaled = number < 3 and not isinstance(activation, nn.Tanh)
        assert np.allclose(scale, 1.0) is not is_rescaled
        before = scale


def test_polarities_are_those_of_least_squares():
    dense = nn.Linear(6, 5, dtype=torch.float64)
    model, _ = sg.from_linear(dense, law="gaussian", steps=10)
    graph, given = model.graph, dense.weight.detach().numpy()
    (weight,) = weights_by_numpy(graph)
    polarity = graph.polarity.detach().numpy()[:6]
    for source in range(6):
        (best,), *_ = np.linalg.lstsq(weight[:, [source]] / polarity[source], given[:, source], rcond=None)
        assert polarity[source] == pytest.approx(best)


def test_a_fit_ends_where_no_position_explains_more():
    dense = nn.Linear(4, 3, dtype=torch.float64)
    graph = sg.SpatialGraph.layered([4, 3], 2, law="gaussian", spacing="free", dtype=torch.float64)
    weights = [dense.weight.detach()]
    _, (end,) = fit_(graph, weights, 3000, rescale=False)
    pos, step = graph.pos.detach().clone(), 1e-3
    for neuron in range(7):
        for axis in range(2):
            around = []
            for sign in (-1, 1):
                moved = pos.clone()
                moved[neuron, axis] += sign * step
                around.append(fit_(graph.place_(moved), weights, 0, rescale=False)[1][0])
            assert abs(around[1] - around[0]) / (2 * step) < 1e-3
            assert max(around) < end + 1e-6


def test_a_law_of_one_sign_explains_the_larger_part_of_each_source_at_most():
    dense = nn.Linear(8, 12, dtype=torch.float64)
    weight = dense.weight.detach()
    parts = torch.stack([weight.clamp(min=0).square().sum(0), weight.clamp(max=0).square().sum(0)])
    bound = float(parts.amax(0).sum() / parts.sum())
    single = sg.from_linear(dense, 6, law="inverse_distance", generator=seeded()).explained[0]
    both = sg.from_linear(dense, 6, law="cosine", generator=seeded()).explained[0]
    assert single <= bound < both


def test_learnable_parameters_of_a_law_are_fitted_and_the_given_law_is_not_changed():
    law = sg.laws.Cosine(2.0, learnable=True)
    model, _ = sg.from_linear(dense_network(), law=law, steps=10)
    assert law.wavenumber.item() == 2.0 and law.wavenumber.dtype == torch.float32
    assert model.graph.law.wavenumber.item() != 2.0


@pytest.mark.parametrize("spacing", ["fixed", "learned", "free"])
def test_anchored_neurons_stay(spacing):
    model, _ = sg.from_linear(dense_network(), spacing=spacing, init="grid", anchored=[0], steps=10)
    fresh = sg.SpatialGraph.layered(SIZES, init="grid", spacing=spacing, anchored=[0])
    layer = fresh.layer
    assert torch.equal(model.graph.pos[layer == 0, :2], fresh.pos[layer == 0, :2])
    assert not torch.allclose(model.graph.pos[layer == 1], fresh.pos[layer == 1])


def test_the_start_decides_and_nothing_else_is_changed():
    dense = dense_network()
    before, state = copy.deepcopy(dense.state_dict()), torch.get_rng_state()
    with torch.no_grad():
        first, second, other = (sg.from_linear(dense, steps=10, generator=seeded(seed)).model for seed in (3, 3, 4))
    sg.from_linear(dense, steps=1, weight_mode="both", generator=seeded())
    assert torch.equal(first.graph.pos, second.graph.pos) and torch.equal(first.graph.polarity, second.graph.polarity)
    assert not torch.equal(first.graph.pos, other.graph.pos)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in dense.state_dict().items())
    assert all(parameter.grad is None for parameter in [*dense.parameters(), *first.parameters()])


def test_a_copy_goes_on_learning():
    model, _ = sg.from_linear(dense_network(), steps=10)
    x, y = inputs(), torch.arange(20) % 3
    optimizer = torch.optim.Adam(sg.parameter_groups(model))
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


# Wrong arguments ----


def linears(*between):
    return nn.Sequential(nn.Linear(4, 3), *between, nn.Linear(3, 2))


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (nn.ReLU(), TypeError, "module must be an nn.Linear or nn.Sequential, got ReLU"),
        (nn.Sequential(), ValueError, "got nothing at the end"),
        (linears(), ValueError, "got Linear as layer 1"),
        (linears(nn.Softplus()), ValueError, "got Softplus as layer 1"),
        (linears(nn.BatchNorm1d(3), nn.ReLU()), ValueError, "got BatchNorm1d as layer 1"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), ValueError, "got Flatten as layer 0"),
        (nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()), ValueError, "begin and end with nn.Linear, got Sigmoid"),
        (nn.Sequential(*sg.DenseMLP([4, 3, 2])), ValueError, "got _DenseLayer as layer 0"),
        (nn.Sequential(sg.SpatialLinear(4, 3)), ValueError, "got SpatialLinear as layer 0"),
        (
            nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(4, 2)),
            ValueError,
            "got 3 outputs of linear layer 0 and 4 inputs of the next",
        ),
        (
            nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)),
            ValueError,
            r"one activation for all hidden layers, got ReLU\(\), Tanh\(\)",
        ),
        (
            nn.Sequential(nn.Linear(4, 3), nn.ELU(), nn.Linear(3, 3), nn.ELU(0.5), nn.Linear(3, 2)),
            ValueError,
            "one activation for all hidden layers",
        ),
    ],
)
def test_modules_that_cannot_be_copied(module, error, message):
    with pytest.raises(error, match=message):
        sg.from_linear(module)


def test_weights_that_are_not_finite():
    dense = nn.Linear(3, 2)
    nn.init.constant_(dense.weight, torch.nan)
    with pytest.raises(ValueError, match="weight must be finite"):
        sg.from_linear(dense)


def test_factors_need_a_law_that_reaches_every_synapse():
    far = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="law must not be 0 where a weight is not, for weight_mode='both', got 0 for"):
        sg.from_linear(nn.Linear(2, 1), 2, law=sg.laws.Compact(2.0), init=far, weight_mode="both", steps=2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"weight_mode": "none"}, ValueError, "weight_mode must be one of 'law', 'free', 'both', got 'none'"),
        ({"steps": -1}, ValueError, "steps must be at least 0, got -1"),
        ({"steps": 1.5}, TypeError, "steps must be an int"),
        ({"law": "coulomb"}, ValueError, "law must be one of"),
        ({"spacing": "tight"}, ValueError, "spacing must be one of"),
        ({"dim": 0}, ValueError, "dim must be at least 1"),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        sg.from_linear(nn.Linear(3, 2), **options)
