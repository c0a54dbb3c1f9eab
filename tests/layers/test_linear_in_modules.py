"""SpatialLinear in the modules of PyTorch and PyG that hold an nn.Linear."""

import copy

import pytest
import torch
import torch_geometric.nn as pyg
from references import assert_close, linear_twin
from torch import nn

from spatialgraph import SpatialLinear


def encoder_layer(**options):
    layer = nn.TransformerEncoderLayer(12, 2, 20, batch_first=True, dropout=0.0, **options)
    layer.linear1, layer.linear2 = SpatialLinear(12, 20), SpatialLinear(20, 12)
    layer.self_attn.out_proj = SpatialLinear(12, 12)
    return layer


def decoder_layer():
    layer = nn.TransformerDecoderLayer(12, 2, 20, batch_first=True, dropout=0.0)
    layer.linear1, layer.linear2 = SpatialLinear(12, 20), SpatialLinear(20, 12)
    layer.multihead_attn.out_proj = SpatialLinear(12, 12)
    return layer


def attention():
    module = nn.MultiheadAttention(12, 2, batch_first=True)
    module.out_proj = SpatialLinear(12, 12)
    return module


def adaptive_softmax():
    module = nn.AdaptiveLogSoftmaxWithLoss(12, 30, [5, 12], div_value=2.0)
    module.head = SpatialLinear(12, 7, bias=False)
    module.tail[0][0] = SpatialLinear(12, 6, bias=False)
    return module


def graph_convolution(kind, *names):
    module = kind(12, 8)
    for name in names:
        old = getattr(module, name)
        setattr(module, name, SpatialLinear(old.in_channels, old.out_channels, bias=old.bias is not None))
    return module


SEQUENCE = (3, 5, 12)
EDGES = torch.tensor([[0, 1, 2, 2, 3, 0, 4], [1, 2, 1, 3, 0, 3, 3]])
HOLDERS = {
    "sequential": lambda: (
        nn.Sequential(SpatialLinear(12, 9), nn.GELU(), SpatialLinear(9, 4)),
        (torch.randn(SEQUENCE),),
    ),
    "encoder layer": lambda: (encoder_layer(), (torch.randn(SEQUENCE),)),
    "encoder layer, gelu, norm first": lambda: (
        encoder_layer(activation="gelu", norm_first=True),
        (torch.randn(SEQUENCE),),
    ),
    "encoder": lambda: (nn.TransformerEncoder(encoder_layer(), 2), (torch.randn(SEQUENCE),)),
    "decoder layer": lambda: (decoder_layer(), (torch.randn(SEQUENCE), torch.randn(3, 4, 12))),
    "decoder": lambda: (nn.TransformerDecoder(decoder_layer(), 2), (torch.randn(SEQUENCE), torch.randn(3, 4, 12))),
    "attention": lambda: (attention(), (torch.randn(SEQUENCE),) * 3),
    "adaptive softmax": lambda: (adaptive_softmax(), (torch.randn(6, 12), torch.randint(0, 30, (6,)))),
    "GCNConv": lambda: (graph_convolution(pyg.GCNConv, "lin"), (torch.randn(5, 12), EDGES)),
    "SAGEConv": lambda: (graph_convolution(pyg.SAGEConv, "lin_l", "lin_r"), (torch.randn(5, 12), EDGES)),
    "GATConv": lambda: (graph_convolution(pyg.GATConv, "lin"), (torch.randn(5, 12), EDGES)),
}


def dense_twin(module):
    """The same module with an ``nn.Linear`` in place of each spatial layer."""
    twin = copy.deepcopy(module)
    for owner in list(twin.modules()):
        for name, child in owner.named_children():
            if isinstance(child, SpatialLinear):
                setattr(owner, name, linear_twin(child))
    return twin


def result(module, arguments):
    value = module(*arguments)
    return value[0] if isinstance(value, tuple) else value


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("holder", HOLDERS)
def test_the_module_computes_as_with_a_linear_layer(holder, training, gradients):
    module, arguments = HOLDERS[holder]()
    twin = dense_twin(module).train(training)
    module.train(training)
    assert not any(isinstance(part, SpatialLinear) for part in twin.modules())
    with torch.set_grad_enabled(gradients):
        y, expected = result(module, arguments), result(twin, arguments)
    assert_close(y, expected.double(), 1e-5)
    if not gradients:
        return
    y.square().sum().backward()
    expected.square().sum().backward()
    layers = pairs(module, twin)
    assert layers
    for layer, dense in layers:
        (by_hand,) = torch.autograd.grad(layer.weight, layer.source_pos, dense.weight.grad)
        assert_close(layer.source_pos.grad, by_hand.double(), 1e-4)
        assert (layer.source_pos.grad != 0).any()


def pairs(module, twin):
    """Each spatial layer with the dense layer in its place."""
    others = dict(twin.named_modules())
    return [(layer, others[name]) for name, layer in module.named_modules() if isinstance(layer, SpatialLinear)]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_padded_sequences_take_the_fast_path_as_with_linear_layers():
    module = nn.TransformerEncoder(encoder_layer(), 2).eval()
    x, padded = torch.randn(SEQUENCE), torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1]]).bool()
    with torch.no_grad():
        expected = dense_twin(module)(x, src_key_padding_mask=padded)
        assert_close(module(x, src_key_padding_mask=padded), expected.double(), 1e-5)
        module.layers[0].linear1.source_pos.data.mul_(2.0)
        expected = dense_twin(module)(x, src_key_padding_mask=padded)
        assert_close(module(x, src_key_padding_mask=padded), expected.double(), 1e-5)


def test_a_transformer_of_spatial_layers_learns_and_serves():
    torch.manual_seed(2)
    module, x = encoder_layer(), torch.randn(SEQUENCE)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    losses = []
    for _ in range(15):
        loss = (module.train()(x) - x.flip(0)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            losses.append((module.eval()(x) - x.flip(0)).square().mean().item())
            assert losses[-1] == pytest.approx((module.train()(x) - x.flip(0)).square().mean().item(), rel=1e-4)
    assert losses[-1] < losses[0]
