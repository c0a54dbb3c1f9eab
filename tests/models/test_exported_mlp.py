"""Perceptrons, exported by PyTorch."""

import pytest
import torch
from perceptrons import DENSE, KINDS, features
from references import assert_close


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", DENSE)
def test_export(kind, training):
    model = KINDS[kind]().train(training)
    x = features(model, 8)
    batch = torch.export.Dim("batch", min=2)
    for shapes in (None, {"x": {0: batch}}):
        exported = torch.export.export(model, (x,), dynamic_shapes=shapes).module()
        assert_close(exported(x), model(x).detach().double(), 1e-5)
    more = features(model, 13)
    assert_close(exported(more), model(more).detach().double(), 1e-5)
