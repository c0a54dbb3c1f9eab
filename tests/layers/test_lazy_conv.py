"""Convolutions that take their number of channels from the first input: saved and loaded before and after it."""

import copy
import io

import pytest
import torch
from torch.nn.parameter import UninitializedParameter, is_lazy

from spatialgraph import SpatialConv, SpatialGNN

X, POS, EDGES = torch.randn(5, 3), torch.randn(5, 2), torch.tensor([[0, 1, 2, 3, 4], [1, 2, 0, 4, 3]])


def stored(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    with torch.serialization.safe_globals([UninitializedParameter]):
        return torch.load(file, weights_only=True)


@pytest.mark.parametrize(
    "make", [lambda: SpatialConv(-1, 4, dim=2), lambda: SpatialGNN(-1, 4, 2, 3, dim=2)], ids=["conv", "gnn"]
)
def test_a_lazy_layer_is_saved_before_the_first_pass(make):
    lazy, other = make(), make()
    state = lazy.state_dict()
    assert list(state) == [name for name, _ in lazy.named_parameters()]
    other.load_state_dict(stored(state))
    for name, value in other.state_dict().items():
        assert is_lazy(value) == is_lazy(state[name])
        if not is_lazy(value):
            assert torch.equal(value, state[name]) and not value.requires_grad
    assert other(X, POS, EDGES).shape == lazy(X, POS, EDGES).shape


def test_its_variables_are_kept_on_request():
    lazy = SpatialConv(-1, 4, dim=2)
    for name, parameter in lazy.state_dict(keep_vars=True).items():
        assert parameter is lazy.get_parameter(name)


def test_a_state_with_channels_is_read_into_a_lazy_layer():
    conv, lazy = SpatialConv(3, 4, dim=2), SpatialConv(-1, 4, dim=2)
    lazy.load_state_dict(stored(conv.state_dict()))
    assert torch.equal(lazy(X, POS, EDGES), conv(X, POS, EDGES))


def test_a_state_without_channels_is_refused_by_a_layer_with_channels():
    conv = SpatialConv(3, 4, dim=2)
    before = copy.deepcopy(conv.state_dict())
    with pytest.raises(RuntimeError, match="uninitialized parameter into an initialized one"):
        conv.load_state_dict(SpatialConv(-1, 4, dim=2).state_dict())
    assert torch.equal(conv.source_offset, before["source_offset"])


@pytest.mark.parametrize("in_channels", [-1, 3])
def test_a_gain_set_to_none_is_the_default_one_from_the_next_pass_on(in_channels):
    conv = SpatialConv(in_channels, 4, dim=2, gain=0.5)
    conv.gain = None
    conv(X, POS, EDGES)
    assert conv.gain == SpatialConv(3, 4, dim=2).gain
