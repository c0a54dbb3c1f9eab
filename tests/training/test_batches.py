"""Where data are kept during training, and in which order they are used."""

import pytest
import torch

from spatialgraph.training import batches
from spatialgraph.training.batches import Batches, ShuffledBatches, kept

CPU, META = torch.device("cpu"), torch.device("meta")


def test_batches_are_rows_in_the_order_of_the_sampler():
    x, y = torch.randn(50, 3), torch.arange(50)
    loader = Batches((x, y), ShuffledBatches(50, 8, seed=4), CPU)
    for epoch in (0, 1):
        loader.sampler.set_epoch(epoch)
        found = list(loader)
        assert len(found) == len(loader) == 7
        for (samples, classes), index in zip(found, loader.sampler, strict=True):
            assert torch.equal(samples, x[index]) and torch.equal(classes, index)


@pytest.mark.parametrize(("free", "kind"), [(4 * 320, "meta"), (4 * 320 - 1, "cpu")])
def test_data_are_moved_where_they_take_a_quarter_of_the_memory(monkeypatch, free, kind):
    monkeypatch.setattr(batches, "_free_memory", lambda device: free)
    data = torch.zeros(10, 6), torch.zeros(10, dtype=torch.int64)  # 10 * (6 * 4 + 8) bytes
    assert [values.device.type for values in kept(data, META)] == [kind, kind]
    assert all(own is other for own, other in zip(kept(data, CPU), data, strict=True))


def test_data_are_moved_once_until_they_are_released():
    loader = Batches((torch.zeros(5, 3), torch.zeros(5)), ShuffledBatches(5, 2, seed=0), META)
    list(loader)
    held = loader._kept
    list(loader)
    assert loader._kept is held and held[0].is_meta
    loader.release()
    assert loader._kept is None and len(list(loader)) == 3
