"""Weights cached in eval(): whatever changes and however, a pass equals one without a cache."""

import copy
import pickle
import weakref
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import LAWS, Exponential, assert_close, in_threads, with_masked_from
from torch import nn
from torch.nn.utils import parametrize, prune

from spatialgraph import PruneWhileTraining, SpatialGraph, SpatialLinear, SpatialMLP, SpatialSNN, prune_, regrow_
from spatialgraph.laws import Gaussian, InverseDistance, InversePower, Yukawa
from spatialgraph.wiring import KNN, Random

SIZES = [6, 9, 7, 4]


def network(kind, **options):
    """A model of one of the kinds, small enough for many passes."""
    torch.manual_seed(1)
    if kind == "linear":
        return SpatialLinear(6, 4, **options)
    model = SpatialSNN if kind == "snn" else SpatialMLP
    extra = {"num_steps": 4, "beta": 0.9, "normalize": False, "read_out": "potential"} if kind == "snn" else {}
    return model(SIZES, gain=0.7, **extra, **options)


def untouched(model, x):
    """What a copy with an empty cache computes, in train() where nothing is cached."""
    with torch.no_grad():
        return copy.deepcopy(model).train()(x)


def inputs(model):
    wanted = next(model.parameters())
    return torch.rand(5, 6, dtype=wanted.dtype)


def parts(model):
    """The tensors that weights follow from, and the module of the settings."""
    graph = model if isinstance(model, SpatialLinear) else model.graph
    return [p for p in graph.parameters() if p.numel()], graph


# Routes that change a model ----


def fused_step(optimiser, model):
    optimizer = optimiser(model.parameters(), lr=0.05, fused=True)
    with torch.enable_grad():
        model(inputs(model)).square().sum().backward()
    optimizer.step()
    model.zero_grad()


def each(change, model):
    with torch.no_grad():
        for parameter in parts(model)[0]:
            change(parameter, parameter.detach() + torch.rand_like(parameter))


def to_numpy(parameter, values):
    parameter.detach().numpy()[...] = values.numpy()


def set_data(parameter, values):
    parameter.data = values


def halfway(parameter, values):
    parameter.data.lerp_(values, 0.5)


def other_state(model, assign):
    state = {n: v + torch.rand_like(v) if v.is_floating_point() else v for n, v in model.state_dict().items()}
    model.load_state_dict(state, assign=assign)


def set_law(law, model):
    parts(model)[1].law = law().to(next(model.parameters()))


def set_setting(name, value, model):
    setattr(parts(model)[1], name, value)


def soften(model):
    law = parts(model)[1].law
    law.softening += 0.3
    if isinstance(law, Gaussian | Yukawa):
        law.__dict__["sigma" if isinstance(law, Gaussian) else "screening"] *= 1.7
    elif isinstance(law, InversePower):
        law.exponent.data.mul_(1.3)


ROUTES = {
    "AdamW(fused=True)": partial(fused_step, torch.optim.AdamW),
    "SGD(fused=True)": partial(fused_step, torch.optim.SGD),
    "param.data.copy_": partial(each, lambda parameter, values: parameter.data.copy_(values)),
    "param.data =": partial(each, set_data),
    "soft update": partial(each, halfway),
    "in place": partial(each, lambda parameter, values: parameter.copy_(values)),
    "NumPy": partial(each, to_numpy),
    "foreach": lambda model: torch._foreach_mul_([p.data for p in parts(model)[0]], 1.4),
    "load_state_dict": partial(other_state, assign=False),
    "load_state_dict(assign=True)": partial(other_state, assign=True),
    "gain": partial(set_setting, "gain", -0.4),
    "polarity": partial(set_setting, "polarity_mode", "binary"),
    "another law": partial(set_law, lambda: Gaussian(2.0)),
    "a law of one's own": partial(set_law, Exponential),
    "the law's settings": soften,
    "double": lambda model: model.double(),
    "reset": lambda model: model.reset_parameters(),
    "nothing": lambda model: None,
}
GRAPH_ROUTES = {
    "place": lambda model: model.graph.place_(1.5 * model.graph.pos.detach()[:, :2]),
    "prune": lambda model: prune_(model.graph, 0.3),
    "rewire": lambda model: model.graph.rewire_(KNN(k=3)),
    "rewire at random": lambda model: model.graph.rewire_(Random(0.4)),
    "regrow": lambda model: regrow_(model.graph, 0.2),
    "dense engine": lambda model: with_masked_from(model.graph, 0.0),
    "sparse engine": lambda model: with_masked_from(model.graph, 2.0),
    "masked": lambda model: setattr(model.graph, "masked_share", 0.4),
    "nothing masked": lambda model: setattr(model.graph, "masked_share", 0.0),
    "prune while training": lambda model: PruneWhileTraining(0.3).attach(model.graph),
}


def check(model, tolerance=1e-5):
    """Compare two passes in eval() with one without a cache."""
    model.eval()
    x = inputs(model)
    expected = untouched(model, x)
    with torch.no_grad():
        assert_close(model(x), expected.double(), tolerance)
        assert_close(model(x), expected.double(), tolerance)
    return expected


def parts_and_kind():
    for kind in ("linear", "mlp", "snn"):
        for name in [*ROUTES, *(GRAPH_ROUTES if kind != "linear" else ())]:
            yield pytest.param(kind, (ROUTES | GRAPH_ROUTES)[name], name, id=f"{kind}, {name}")


@pytest.mark.parametrize(("kind", "change", "name"), list(parts_and_kind()))
def test_every_route_of_change_is_seen(kind, change, name):
    model = network(kind, **({} if kind == "linear" else {"wiring": KNN(k=4)}))
    before = check(model)
    change(model)
    after = check(model)
    if name not in ("nothing", "double", "dense engine", "sparse engine", "nothing masked"):
        assert (after - before).abs().max() > 1e-3 * before.abs().max()


@settings(max_examples=60)
@given(data=st.data())
def test_eval_equals_train_after_any_changes(data):
    kind = data.draw(st.sampled_from(["linear", "mlp", "snn"]), "kind")
    options = {
        "law": LAWS[data.draw(st.sampled_from(sorted(LAWS)), "law")](),
        "polarity_mode": data.draw(st.sampled_from(["graded", "binary"]), "polarity"),
    }
    routes = dict(ROUTES)
    if kind != "linear":
        options |= {
            "wiring": data.draw(
                st.sampled_from([None, KNN(k=3), KNN(k=6), KNN(k=2, reach="all"), Random(0.5)]), "wiring"
            ),
            "weight_mode": data.draw(st.sampled_from(["law", "both", "free"]), "weights"),
            "spacing": data.draw(st.sampled_from(["fixed", "learned", "free"]), "spacing"),
            "anchored": data.draw(st.sampled_from([None, [0], [1, 3]]), "anchored"),
        }
        routes |= GRAPH_ROUTES
        if options["spacing"] == "fixed":
            options["anchored"] = None
    if kind == "mlp":
        options["normalize"] = data.draw(st.booleans(), "normalize")
    model = network(kind, **options)
    check(model)
    for name in data.draw(st.lists(st.sampled_from(sorted(routes)), max_size=3), "changes"):
        if name == "regrow" and (model.graph.wiring is None or model.graph.synapses > 80):
            continue
        if name == "load_state_dict(assign=True)" and kind != "linear" and options["spacing"] == "fixed":
            continue
        routes[name](model)
        check(model)


# What is cached, and when ----


@pytest.mark.parametrize("kind", ["mlp", "snn"])
def test_unchanged_weights_are_built_once(kind, builds):
    model = network(kind).eval()
    x = inputs(model)
    with torch.no_grad():
        for _ in range(3):
            model(x)
        with torch.inference_mode():
            model(x)
        model.graph.raw_bias = nn.Parameter(model.graph.raw_bias.clone())  # another tensor with the same values
        model(x)
        model(x)
    assert len(builds) == 1
    assert model(x).requires_grad and len(builds) == 1
    model.requires_grad_(False)
    for _ in range(2):
        assert not model(x).requires_grad and len(builds) == 2  # the pass with gradients has freed what was kept


@pytest.mark.parametrize("way", ["train", "gradients"])
@pytest.mark.parametrize("kind", ["linear", "mlp", "snn"])
def test_weights_are_freed_where_they_are_of_no_use(kind, way):
    model = network(kind).eval()
    x = inputs(model)
    cache = model._cache if kind == "linear" else model._served._cache
    with torch.no_grad():
        model(x)
    kept = weakref.ref(cache._entry[1])
    model.train(way == "train")(x)
    assert kept() is None


def test_a_number_that_is_not_one_is_built_anew(builds):
    model = network("mlp", normalize=False).eval()
    with torch.no_grad():
        model.graph.raw_bias[0] = float("nan")
        for _ in range(2):
            assert torch.isnan(model(inputs(model))).any()


def test_nothing_is_cached_of_a_law_of_ones_own(builds):
    class Scaled(InverseDistance):
        factor = 1.0

        def from_square(self, square):
            return self.factor * super().from_square(square)

    model = network("mlp", law=Scaled(), normalize=False).eval()
    x = inputs(model)
    with torch.no_grad():
        before = model(x)
        model.graph.law.factor = 2.0
        assert not torch.allclose(model(x), before)
        Scaled.factor = 3.0
        assert_close(model(x), untouched(model, x).double(), 1e-6)
    assert not builds


@pytest.mark.parametrize("patch", ["method", "hook", "subclass", "global hook"])
def test_nothing_is_cached_of_positions_that_something_else_changes(patch, builds):
    model = network("mlp").eval()
    x, positions = inputs(model), model.graph.positions
    shift = torch.zeros(1, 3)
    with torch.no_grad():
        model(x)
        handle = None
        if patch == "method":
            original = positions.forward
            positions.forward = lambda: original() * (1 + shift)
        elif patch == "hook":
            positions.register_forward_hook(lambda module, args, out: out * (1 + shift))
        elif patch == "global hook":
            changes = lambda module, args, out: out * (1 + shift) if module is positions else None  # noqa: E731
            handle = nn.modules.module.register_module_forward_hook(changes)
        else:
            kind = type("Shifted", (SpatialGraph,), {"pos": property(lambda self: self.positions() * (1 + shift))})
            model.graph.__class__ = kind
        try:
            for value in (0.0, 0.5, 1.0):
                shift.fill_(value)
                x = inputs(model)
                model.eval()
                y = model(x)
                assert_close(y, model.train()(x).double(), 1e-6)
        finally:
            if handle is not None:
                handle.remove()


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = 2.0

    def forward(self, values):
        return self.factor * values


@pytest.mark.parametrize("kind", ["linear", "mlp", "snn"])
def test_parametrised_positions(kind):
    model = network(kind)
    owner, name = (model, "source_pos") if kind == "linear" else (model.graph.positions, "coords")
    check(model)
    parametrize.register_parametrization(owner, name, Twice())
    first = check(model)
    owner.parametrizations[name][0].factor = 3.0
    second = model.eval()(inputs(model)).detach()
    assert second.shape == first.shape
    x = inputs(model)
    with torch.no_grad():
        assert_close(model(x), model.train()(x).double(), 1e-6)


def test_pruned_positions():
    model = network("mlp")
    check(model)
    prune.l1_unstructured(model.graph.positions, "coords", 0.5)
    x = inputs(model)
    with torch.no_grad():
        for _ in range(2):
            y = model.eval()(x)
            assert_close(y, model.train()(x).double(), 1e-6)
            model.graph.positions.coords_orig.data.mul_(1.5)


@pytest.mark.parametrize("kind", ["linear", "mlp", "snn"])
def test_other_parameters_for_one_call(kind):
    model = network(kind).eval()
    x = inputs(model)
    own = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        expected = model(x)
        for factor in (1.5, 2.0, 2.5):
            other = {name: factor * values for name, values in own.items()}
            result = torch.func.functional_call(model, other, (x,))
            twin = copy.deepcopy(model)
            twin.load_state_dict(other, strict=False)
            assert_close(result, untouched(twin, x).double(), 1e-6)
            assert torch.equal(model(x), expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("kind", ["linear", "mlp", "snn"])
def test_copies_keep_for_themselves(kind, copied):
    model = network(kind)
    expected = check(model)
    twin = copied(model)
    each(lambda parameter, values: parameter.data.copy_(values), twin)
    assert not torch.allclose(check(twin), expected)
    check(model)


@pytest.mark.parametrize("kind", ["linear", "mlp", "snn"])
@pytest.mark.parametrize("route", ["built", "loaded", "moved", "given a state", "used"])
def test_inference_mode(kind, route):
    model = network(kind)
    x = inputs(model)
    with torch.inference_mode():
        if route == "built":
            model = network(kind)
        elif route == "loaded":
            model = pickle.loads(pickle.dumps(model))
        elif route == "moved":
            model = model.double().float()
        elif route == "given a state":
            model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)
        model.eval()
        inside = model(x)
    expected = untouched(network(kind), x)
    assert_close(inside.clone(), expected.double(), 1e-6)
    with torch.no_grad():
        assert_close(model(x), expected.double(), 1e-6)
    model.requires_grad_(False)
    leaf = x.clone().requires_grad_()
    y = model(leaf)
    assert_close(y, expected.double(), 1e-6)
    (gradient,) = torch.autograd.grad(y.square().sum(), leaf)
    twin = network(kind)
    right = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(twin(right).square().sum(), right)
    assert_close(gradient, expected.double(), 1e-5)


@pytest.mark.parametrize("kind", ["linear", "mlp", "snn"])
def test_threads_serve_one_model(kind):
    model = network(kind).eval()
    x = inputs(model)
    expected = untouched(model, x)

    def serve():
        with torch.no_grad():
            for _ in range(30):
                assert_close(model(x), expected.double(), 1e-6)

    in_threads(serve, serve, serve)
