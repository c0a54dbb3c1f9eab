"""Magnitude pruning of linear layers, against a sort of their weights."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import spatialgraph as sg

AMOUNTS = [0.0, 0.3, 0.8, 1.0, 0, 1]


def network(dtype=torch.float32, bias=True):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(9, 12, bias=bias), nn.Tanh(), nn.Linear(12, 4, bias=bias)).to(dtype)


def by_sorting(weight, amount):
    """The weight with its smallest entries at 0, the way a spreadsheet would do it."""
    flat = weight.detach().flatten().tolist()
    gone = sorted(range(len(flat)), key=lambda place: abs(flat[place]))[: round(amount * len(flat))]
    for place in gone:
        flat[place] = 0.0
    return torch.tensor(flat, dtype=weight.dtype).reshape(weight.shape)


def forward(weights, biases, x):
    hidden = torch.tanh(F.linear(x, weights[0], biases[0]))
    return F.linear(hidden, weights[1], biases[1])


def train(model, optimizer, steps=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x, labels = torch.randn(20, 9, generator=generator), torch.randint(4, (20,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("amount", AMOUNTS)
def test_the_smallest_of_each_layer_are_zero_after_pruning(amount, dtype):
    model = network(dtype)
    expected = [by_sorting(layer.weight, amount) for layer in (model[0], model[2])]
    before = dict(model.named_parameters())
    biases = [model[0].bias.clone(), model[2].bias.clone()]
    assert sg.prune_linear_(model, amount) is model
    for layer, weight, bias in zip((model[0], model[2]), expected, biases, strict=True):
        assert torch.equal(layer.weight, weight)
        assert torch.equal(layer.bias, bias)
    after = dict(model.named_parameters())
    assert list(after) == list(before) and all(after[name] is before[name] for name in after)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("amount", AMOUNTS)
def test_passes_leave_the_smallest_out_and_give_them_no_gradient(amount, dtype):
    model, plain = network(dtype), network(dtype)
    x = torch.randn(5, 9, dtype=dtype)
    weights = [by_sorting(plain[place].weight, amount).requires_grad_() for place in (0, 2)]
    biases = [plain[place].bias for place in (0, 2)]
    expected = forward(weights, biases, x)
    references = torch.autograd.grad(expected.square().sum(), [*weights, *biases])
    pruner = sg.PruneLinearWhileTraining(amount).attach(model)
    y = model(x)
    torch.testing.assert_close(y, expected)
    y.square().sum().backward()
    grads = [model[0].weight_orig.grad, model[2].weight_orig.grad, model[0].bias.grad, model[2].bias.grad]
    for number, (grad, reference) in enumerate(zip(grads, references, strict=True)):
        kept = weights[number] != 0 if number < 2 else torch.ones_like(grad, dtype=torch.bool)
        torch.testing.assert_close(grad, torch.where(kept, reference, 0.0))
    pruner.remove()
    assert all(torch.equal(model[place].weight, weights[number]) for number, place in enumerate((0, 2)))
    assert torch.equal(model(x), y)


def test_weights_return():
    layer = nn.Linear(3, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, 2.0, 3.0]])
    sg.PruneLinearWhileTraining(1 / 3).attach(layer)
    x = torch.ones(3)
    assert layer(x).item() == 5.0
    with torch.no_grad():
        layer.weight_orig[0, 2] = 0.5
    assert layer(x).item() == 3.0
    assert layer.weight_mask.tolist() == [[True, True, False]]


def test_of_equal_weights_at_the_border_all_stay():
    layer = nn.Linear(4, 1)
    layer.weight.data = torch.tensor([[0.5, -1.0, 1.0, 3.0]])
    pruner = sg.PruneLinearWhileTraining(0.5).attach(layer)
    pruner.remove()
    assert layer.weight.tolist() == [[0.0, -1.0, 1.0, 3.0]]


def test_the_amount_is_that_of_the_next_pass():
    model = network()
    pruner = sg.PruneLinearWhileTraining(0.0).attach(model)
    for amount in (0.25, 0.75, 0.5):
        pruner.amount = amount
        model(torch.ones(1, 9))
        assert int((~model[0].weight_mask).sum()) == 108 * amount
    assert pruner.amount == 0.5


@pytest.mark.parametrize("before", [True, False])
def test_an_optimiser_made_before_or_between_goes_on(before):
    model = network()
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01) if before else None
    pruner = sg.PruneLinearWhileTraining(0.5).attach(model)
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=0.01)
    assert {id(parameter) for parameter in model.parameters()} == {id(parameter) for parameter in parameters}
    kept = model[0].weight_orig.detach().clone()
    train(model, optimizer, steps=3)
    assert not torch.equal(kept, model[0].weight_orig)
    pruner.remove()
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    kept = model[0].weight.detach().clone()
    train(model, optimizer)
    assert not torch.equal(kept, model[0].weight)
    assert len(optimizer.state) == len(parameters)


def test_training_equals_that_with_masks_by_hand():
    model, plain = network(), network()
    sg.PruneLinearWhileTraining(0.6).attach(model)
    train(model, torch.optim.SGD(model.parameters(), lr=0.5), steps=20)
    weights, biases = ([getattr(plain[place], name) for place in (0, 2)] for name in ("weight", "bias"))

    def masked(x):
        return forward([w * (by_sorting(w, 0.6) != 0) for w in weights], biases, x)

    train(masked, torch.optim.SGD([*weights, *biases], lr=0.5), steps=20)
    for place in (0, 2):
        torch.testing.assert_close(model[place].weight_orig, plain[place].weight)


def test_removing_leaves_no_trace_and_may_be_repeated():
    model = network(bias=False)
    names = list(model.state_dict())
    pruner = sg.PruneLinearWhileTraining(0.5)
    pruner.remove()
    pruner.attach(model)
    assert set(model.state_dict()) == {f"{n}.weight_{kind}" for n in (0, 2) for kind in ("orig", "mask")}
    model(torch.ones(1, 9))
    pruner.remove()
    first = copy.deepcopy(model.state_dict())
    pruner.amount = 1.0
    pruner.remove()
    assert list(model.state_dict()) == names
    assert all(torch.equal(model.state_dict()[name], first[name]) for name in names)
    assert not any(layer._forward_pre_hooks or layer._forward_hooks for layer in (model[0], model[2]))
    assert "weight" not in vars(model[0]) and model(torch.ones(1, 9)).requires_grad
    pruner.attach(model).remove()  # it may be used again
    assert not model[0].weight.any()


def test_remove_counts_the_weights_after_the_last_step():
    model = network()
    pruner = sg.PruneLinearWhileTraining(0.5).attach(model)
    train(model, torch.optim.SGD(model.parameters(), lr=5.0))
    expected = by_sorting(model[0].weight_orig, 0.5)
    pruner.remove()
    assert torch.equal(model[0].weight, expected)


def test_a_state_loads_into_a_network_under_pruning(tmp_path):
    model, again = network(), network()
    for module in (model, again):
        sg.PruneLinearWhileTraining(0.5).attach(module)
    train(model, torch.optim.SGD(model.parameters(), lr=0.5), steps=3)
    torch.save(model.state_dict(), tmp_path / "pruned.pt")
    again.load_state_dict(torch.load(tmp_path / "pruned.pt", weights_only=True))
    x = torch.randn(5, 9)
    assert torch.equal(again(x), model(x))


def test_a_copy_has_a_pruner_of_its_own():
    model = network()
    pruner = sg.PruneLinearWhileTraining(0.5).attach(model)
    model(torch.ones(1, 9))
    twin, its_pruner = copy.deepcopy((model, pruner))
    its_pruner.amount = 1.0
    its_pruner.remove()
    assert not twin[0].weight.any()
    x = torch.randn(5, 9)
    before = model(x)
    pruner.remove()
    assert torch.equal(model(x), before)
    assert int((model[0].weight == 0).sum()) == 54


def test_double_after_attaching():
    model = network()
    pruner = sg.PruneLinearWhileTraining(0.5).attach(model)
    model.double()
    assert model(torch.ones(1, 9, dtype=torch.float64)).dtype == torch.float64
    pruner.remove()
    assert model[0].weight.dtype == torch.float64


def attached():
    pruner = sg.PruneLinearWhileTraining(0.5)
    pruner.attach(network())
    return pruner


def under_pruning():
    model = network()
    sg.PruneLinearWhileTraining(0.5).attach(model)
    return model


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sg.prune_linear_(network(), 1.5), ValueError, "amount must be between 0 and 1, got 1.5"),
        (lambda: sg.prune_linear_(network(), "half"), TypeError, r"amount must be a number, got 'half' \(str\)"),
        (lambda: sg.prune_linear_(None, 0.5), TypeError, "model must be an nn.Module, got NoneType"),
        (lambda: sg.prune_linear_(nn.ReLU(), 0.5), ValueError, "model must have nn.Linear layers, got ReLU without"),
        (lambda: sg.prune_linear_(under_pruning(), 0.5), ValueError, "model must not be under pruning"),
        (lambda: sg.PruneLinearWhileTraining(-0.1), ValueError, "amount must be between 0 and 1, got -0.1"),
        (lambda: setattr(attached(), "amount", 2), ValueError, "amount must be between 0 and 1, got 2"),
        (lambda: attached().attach(network()), ValueError, "attach needs a pruner that is not attached"),
        (lambda: sg.PruneLinearWhileTraining(0.5).attach(3), TypeError, "model must be an nn.Module, got int"),
        (lambda: sg.PruneLinearWhileTraining(0.5).attach(nn.ReLU()), ValueError, "got ReLU without"),
        (lambda: sg.PruneLinearWhileTraining(0.5).attach(under_pruning()), ValueError, "must not be under pruning"),
        (
            lambda: sg.PruneLinearWhileTraining(0.5).attach(nn.MultiheadAttention(4, 2)),
            ValueError,
            "model must call all its nn.Linear layers, got one with nn.MultiheadAttention",
        ),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()
