"""Models on the device meta: shapes without values, for which there is no autocast."""

import copy

import pytest
import torch

import spatialgraph as sg

EDGES = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])


def nodes(*features):
    """Features of four nodes, their positions, and the edges of a ring."""
    return [torch.zeros(4, count, device="meta") for count in features] + [EDGES.to("meta")]


MODELS = {
    "mlp": (lambda: sg.SpatialMLP([6, 5, 3]), lambda: [torch.zeros(2, 6, device="meta")], (2, 3)),
    "linear": (lambda: sg.SpatialLinear(6, 3), lambda: [torch.zeros(2, 6, device="meta")], (2, 3)),
    "conv": (lambda: sg.SpatialConv(6, 3, dim=2), lambda: nodes(6, 2), (4, 3)),
    "simple conv": (sg.SpatialSimpleConv, lambda: nodes(6, 2), (4, 6)),
    "gnn": (lambda: sg.SpatialGNN(6, 5, 2, 3, dim=2), lambda: nodes(6, 2), (4, 3)),
}
for cell in ("plain", "leaky", "gated"):
    MODELS[f"{cell} rnn"] = (
        lambda cell=cell: sg.SpatialRNN([6, 5, 3], cell=cell),
        lambda: [torch.zeros(7, 2, 6, device="meta")],
        (2, 3),
    )


@pytest.mark.parametrize(("make", "given", "shape"), MODELS.values(), ids=MODELS)
def test_a_pass_on_meta(make, given, shape):
    model = copy.deepcopy(make()).to("meta")
    y = model(*given())
    y = y[0] if isinstance(y, tuple) else y
    assert y.device.type == "meta" and y.shape == shape
