"""SpatialLinear, alone."""

import copy
import pickle
import warnings

import pytest
import torch
from references import assert_close, law_weight, linear_twin, softened_squares
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from spatialgraph import SpatialLinear
from spatialgraph.layers import linear
from spatialgraph.layers.linear import DerivedWeight


@pytest.mark.parametrize("leading", [(), (0,), (7,), (2, 3)])
@pytest.mark.parametrize("polarity", ["graded", "binary"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("law", ["inverse_distance", "inverse_power", "gaussian", "yukawa"])
def test_linear_is_a_linear_layer(law, bias, polarity, leading):
    layer = SpatialLinear(6, 4, bias=bias, polarity_mode=polarity, law=law, dtype=torch.float64)
    if bias:
        nn.init.normal_(layer.bias)
    twin = linear_twin(layer)
    x = torch.randn(*leading, 6, dtype=torch.float64, requires_grad=True)
    expected = twin(x)
    assert_close(layer(x), expected, 1e-12)
    (right,) = torch.autograd.grad(expected.square().sum(), x)
    (gradient,) = torch.autograd.grad(layer(x).square().sum(), x)
    assert_close(gradient, right, 1e-12)
    with torch.no_grad():
        assert_close(layer.eval()(x), expected, 1e-12)


def test_weights_of_a_linear_layer_by_hand():
    layer = SpatialLinear(5, 3, dim=2, gain=0.3, law="yukawa", dtype=torch.float64)
    square = softened_squares(layer.source_pos.detach().numpy(), layer.target_pos.detach().numpy(), layer.law.softening)
    expected = 0.3 * law_weight(layer.law, square) * layer.polarity.detach().numpy()
    assert_close(layer.weight, expected, 1e-12)
    # The gain keeps the scale: 4 times as many sources, half of it.
    assert SpatialLinear(16, 2).gain == pytest.approx(2.0 * SpatialLinear(64, 2).gain, rel=1e-12)


@pytest.mark.parametrize(("dim", "bias", "count"), [(3, True, 11_328), (3, False, 9_280), (1, True, 5_664)])
def test_number_of_parameters(dim, bias, count):
    layer = SpatialLinear(784, 2048, bias, dim=dim)
    assert sum(p.numel() for p in layer.parameters()) == count
    assert (layer.bias is None) == (not bias)


def test_start_of_a_linear_layer():
    layer = SpatialLinear(400, 300)
    assert layer.source_pos[:, 2].eq(0.0).all() and layer.target_pos[:, 2].eq(1.0).all() and layer.bias.eq(0.0).all()
    before = copy.deepcopy(layer.state_dict())
    torch.manual_seed(1)
    layer.reset_parameters()
    assert not torch.equal(layer.source_pos, before["source_pos"])
    again = SpatialLinear(400, 300)
    torch.manual_seed(1)
    again.reset_parameters()
    assert torch.equal(again.weight, layer.weight)


def test_linear_layers_learn_with_others():
    model = nn.Sequential(SpatialLinear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), SpatialLinear(8, 2))
    model(torch.randn(16, 6)).square().sum().backward()
    assert all((p.grad != 0).any() for p in model.parameters())


def test_weights_are_cached_in_eval(monkeypatch):
    calls = []
    original = linear.pairwise_weight
    monkeypatch.setattr(linear, "pairwise_weight", lambda *arguments: calls.append(1) or original(*arguments))
    layer = SpatialLinear(6, 4).eval()
    x = torch.randn(3, 6)
    with torch.no_grad():
        for _ in range(3):
            before = layer(x)
        assert len(calls) == 1
        layer.source_pos.mul_(2.0)
        after = layer(x)
        assert len(calls) == 2 and not torch.equal(before, after)
        layer.load_state_dict(SpatialLinear(6, 4).state_dict())
        assert not torch.equal(layer(x), after) and len(calls) == 3
        layer.double()(x.double())
        assert len(calls) == 4
    y = layer(x.double())
    assert y.requires_grad and len(calls) == 4
    y.sum().backward()
    assert layer.source_pos.grad is not None


def test_copies_of_a_linear_layer(tmp_path):
    layer, x = SpatialLinear(6, 4, polarity_mode="binary").eval(), torch.randn(3, 6)
    with torch.no_grad():
        expected = layer(x)
        for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(twin(x), expected)
            twin.target_pos.add_(torch.rand(4, 3))
            assert not torch.equal(twin(x), expected) and torch.equal(layer(x), expected)
        torch.save(layer.state_dict(), tmp_path / "layer.pt")
        other = SpatialLinear(6, 4, polarity_mode="binary")
        other.load_state_dict(torch.load(tmp_path / "layer.pt", weights_only=True))
        assert torch.equal(other.eval()(x), expected)


@pytest.mark.parametrize("training", [True, False])
def test_linear_layer_compiles_and_exports(training):
    layer, x = SpatialLinear(6, 4).train(training), torch.randn(5, 6)
    torch.compiler.reset()
    assert_close(torch.compile(layer, backend="eager", fullgraph=True)(x), layer(x).detach().double(), 1e-6)
    exported = torch.export.export(layer, (x,), dynamic_shapes={"x": {0: torch.export.Dim("batch", min=2)}}).module()
    x = torch.randn(9, 6)
    assert_close(exported(x), layer(x).detach().double(), 1e-6)


def test_repr():
    assert repr(SpatialLinear(6, 4)).startswith(
        "SpatialLinear(\n  in_features=6, out_features=4, dim=3, bias=True, polarity_mode='graded'"
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 4), ValueError, "in_features must be at least 1, got 0"),
        ((6, 2.0), TypeError, r"out_features must be an int, got 2\.0 \(float\)"),
        ((6, 4, 2), TypeError, "bias must be True or False, got 2"),
    ],
)
def test_wrong_sizes(arguments, error, message):
    with pytest.raises(error, match=message):
        SpatialLinear(*arguments)


def test_wrong_features():
    with pytest.raises(ValueError, match=r"x must have shape \(..., 6\), got \(3, 5\)"):
        SpatialLinear(6, 4)(torch.zeros(3, 5))


# The weight ----


def test_the_weight_is_differentiable():
    layer = SpatialLinear(4, 3, law="gaussian", polarity_mode="binary", dtype=torch.float64)
    wanted = [layer.source_pos, layer.target_pos, layer.raw_polarity]
    x, y = torch.randn(5, 4).double(), torch.randn(5, 3).double()
    through = torch.autograd.grad((nn.functional.linear(x, layer.weight, layer.bias) * y).sum(), wanted)
    right = torch.autograd.grad((layer(x) * y).sum(), wanted)
    for gradient, expected in zip(through, right, strict=True):
        assert_close(gradient, expected, 1e-12)
    assert layer.weight.shape == (3, 4) and not layer.requires_grad_(False).weight.requires_grad


def test_what_is_computed_with_the_weight_is_plain():
    weight = SpatialLinear(4, 3).weight
    assert type(weight) is DerivedWeight and isinstance(weight, torch.Tensor)
    for value in (weight.detach(), weight.clone(), weight + 1, weight.t(), weight.sum()):
        assert type(value) is torch.Tensor
    assert torch.equal(pickle.loads(pickle.dumps(weight.detach())), weight)


def test_the_weight_is_saved_as_a_plain_tensor(tmp_path):
    layer = SpatialLinear(4, 3).requires_grad_(False)
    torch.save({"weight": layer.weight}, tmp_path / "weight.pt")
    loaded = torch.load(tmp_path / "weight.pt", weights_only=True)["weight"]
    assert type(loaded) is torch.Tensor and torch.equal(loaded, layer.weight)


WRITERS = {
    "xavier_uniform_": lambda layer: nn.init.xavier_uniform_(layer.weight),
    "kaiming_normal_": lambda layer: nn.init.kaiming_normal_(layer.weight),
    "zeros_": lambda layer: nn.init.zeros_(layer.weight),
    "trunc_normal_": lambda layer: nn.init.trunc_normal_(layer.weight),
    "sparse_": lambda layer: nn.init.sparse_(layer.weight, 0.5),
    "copy_": lambda layer: layer.weight.copy_(torch.zeros(3, 4)),
    "+=": lambda layer: layer.weight.__iadd__(1.0),
    "[...] =": lambda layer: layer.weight.__setitem__(0, 1.0),
    ".data.fill_": lambda layer: layer.weight.data.fill_(1.0),
    ".data =": lambda layer: setattr(layer.weight, "data", torch.zeros(3, 4)),
    "requires_grad_": lambda layer: layer.weight.requires_grad_(False),
    "= tensor": lambda layer: setattr(layer, "weight", torch.zeros(3, 4)),
    "= parameter": lambda layer: setattr(layer, "weight", nn.Parameter(torch.zeros(3, 4))),
    "register_parameter": lambda layer: layer.register_parameter("weight", nn.Parameter(torch.zeros(3, 4))),
    "functional_call": lambda layer: torch.func.functional_call(layer, {"weight": torch.zeros(3, 4)}, torch.zeros(4)),
    "prune.l1_unstructured": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "prune.ln_structured": lambda layer: prune.ln_structured(layer, "weight", 0.5, 2, 0),
    "prune.global_unstructured": lambda layer: prune.global_unstructured(
        [(layer, "weight")], prune.L1Unstructured, amount=0.5
    ),
    "spectral_norm": lambda layer: nn.utils.spectral_norm(layer),
    "weight_norm": lambda layer: nn.utils.weight_norm(layer),
    "parametrizations.spectral_norm": parametrizations.spectral_norm,
    "parametrizations.weight_norm": parametrizations.weight_norm,
    "parametrizations.orthogonal": parametrizations.orthogonal,
    "register_parametrization": lambda layer: parametrize.register_parametrization(layer, "weight", nn.Identity()),
    "fuse_linear_bn_eval": lambda layer: nn.utils.fuse_linear_bn_eval(layer.eval(), nn.BatchNorm1d(3).eval()),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("writer", WRITERS)
def test_who_wants_to_write_the_weight_is_told_what_to_do(writer, training):
    layer, x = SpatialLinear(4, 3).train(training), torch.randn(2, 4)
    with torch.no_grad():
        expected, state, names = layer(x), copy.deepcopy(layer.state_dict()), sorted(vars(layer))
        with pytest.raises(
            TypeError, match=r"weight of a SpatialLinear is computed from the positions .* to_linear\(\)"
        ):
            WRITERS[writer](layer)
        assert type(layer) is SpatialLinear and sorted(vars(layer)) == names
        assert layer.state_dict().keys() == state.keys() and not layer._forward_pre_hooks
        assert torch.equal(layer(x), expected)
    assert all(p.requires_grad for p in layer.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_writes_that_no_tensor_can_refuse_change_nothing(training):
    layer, x = SpatialLinear(4, 3).train(training), torch.randn(2, 4)
    with torch.no_grad():
        expected = layer(x)
        layer.weight.detach().numpy()[...] = 0.0
        layer.weight.t().zero_()
        torch.eye(3, 4, out=layer.weight)
        assert torch.equal(layer(x), expected) and torch.equal(linear_twin(layer)(x), linear_twin(layer)(x))
        assert (layer.weight != 0).all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_as_a_linear_layer_of_its_own(bias, training):
    layer = SpatialLinear(4, 3, bias=bias, dtype=torch.float64).train(training)
    dense, x = layer.to_linear(), torch.randn(2, 4).double()
    assert type(dense) is nn.Linear and dense.training == training
    assert_close(dense(x), layer(x).detach(), 1e-12)
    before = layer(x).detach()
    prune.l1_unstructured(dense, "weight", 0.5)
    nn.utils.fuse_linear_bn_eval(layer.to_linear().eval(), nn.BatchNorm1d(3).double().eval())
    assert torch.equal(layer(x), before)


def test_positions_can_be_parametrised_and_pruned():
    layer, x = SpatialLinear(4, 3), torch.randn(2, 4)
    parametrizations.spectral_norm(layer, "source_pos")
    prune.l1_unstructured(layer, "raw_polarity", 0.5)
    layer.train()(x)
    expected = nn.functional.linear(x, layer.weight, layer.bias)
    with torch.no_grad():
        for mode in (True, False):
            assert_close(layer.train(mode)(x), nn.functional.linear(x, layer.weight, layer.bias).double(), 1e-5)
    assert (layer.weight[:, layer.raw_polarity == 0] == 0).all() and expected.requires_grad


def test_dynamic_quantisation_leaves_the_layer_alone():
    module = nn.Sequential(SpatialLinear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    x = torch.randn(5, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated in favour of torchao
        quantised = torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, torch.qint8)
    assert type(quantised[0]) is SpatialLinear and type(quantised[2]) is not nn.Linear
    assert torch.equal(quantised[0](x), module[0](x))
    assert_close(quantised(x), module(x).detach().double(), 0.05)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bias": "no"}, TypeError, "bias must be True or False, got 'no'"),
        ({"gain": float("nan")}, ValueError, "gain must be finite, got nan"),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        SpatialLinear(4, 3, **options)


def test_bias_comes_third_as_in_linear():
    assert SpatialLinear(8, 4, False).bias is None and nn.Linear(8, 4, False).bias is None
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        SpatialLinear(8, 4, dim=0)


def test_settings_are_checked_later_too():
    layer = SpatialLinear(4, 3)
    with pytest.raises(TypeError, match=r"gain must be a number, got 'x' \(str\)"):
        layer.gain = "x"
    with pytest.raises(ValueError, match="polarity_mode must be one of 'binary', 'graded', got 'Binary'"):
        layer.polarity_mode = "Binary"


@pytest.mark.parametrize("law", ["inverse_distance", "inverse_power"])
def test_a_layer_without_values(law):
    """As of ``nn.Linear``, memory may be given to it later."""
    layer = SpatialLinear(3, 2, law=law, device="meta")
    with torch.device("meta"):
        assert SpatialLinear(3, 2).source_pos.is_meta
    usual = SpatialLinear(3, 2, law=law)
    assert layer.source_pos.is_meta and layer.gain == usual.gain
    layer.to_empty(device="cpu").load_state_dict(usual.state_dict())
    assert torch.equal(layer(torch.ones(1, 3)), usual(torch.ones(1, 3)))
