"""Recording during training: at the right times, and the same after an interruption."""

import pytest
import torch
from torch import nn
from trainings import RECIPE, images, interrupting_after, new_model

import spatialgraph as sg
from spatialgraph.training import EverySteps, RecordPositions, fit


def train(model, folder, record, callbacks=(), **options):
    return fit(model, images(), RECIPE, folder, callbacks=[record, *callbacks], progress=False, **options)


@pytest.mark.parametrize(("every", "epochs"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (3, [0, 3]), (9, [0])])
def test_positions_are_those_after_the_epochs(tmp_path, every, epochs):
    model, seen = new_model(), []
    seen.append(model.graph.pos.detach().clone())
    watch = EverySteps(1, lambda: seen.append(model.graph.pos.detach().clone()))
    record = RecordPositions(every)
    train(model, tmp_path, record, [watch])
    seen.append(model.graph.pos.detach())  # there is no call after the last of 20 steps
    assert record.recording.epochs == epochs
    assert torch.equal(record.recording.positions, torch.stack([seen[5 * epoch] for epoch in epochs]))
    assert record.recording.polarities.shape == (len(epochs), model.graph.neurons)


@pytest.mark.usefixtures("ctrl_c")
def test_a_resumed_training_continues_its_recording(tmp_path):
    whole, first, second = (RecordPositions() for _ in range(3))
    train(new_model(), tmp_path / "whole", whole)
    with pytest.raises(KeyboardInterrupt):
        train(new_model(), tmp_path / "halves", first, penalty=interrupting_after(2))
    assert first.recording.epochs == [0, 1, 2]
    train(new_model(seed=5), tmp_path / "halves", second, resume=True)
    assert second.recording.epochs == whole.recording.epochs == [0, 1, 2, 3, 4]
    assert torch.equal(second.recording.positions, whole.recording.positions)
    assert torch.equal(second.recording.polarities, whole.recording.polarities)


def test_another_training_starts_another_recording(tmp_path):
    record = RecordPositions(2)
    train(new_model(), tmp_path, record)
    first = record.recording
    train(new_model(), tmp_path, record)
    assert record.recording is not first and record.recording.epochs == first.epochs == [0, 2, 4]


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = new_model(), sg.SpatialMLP([3, 3])

    def forward(self, x):
        return self.second(self.first(x))


def test_one_of_several_networks(tmp_path):
    model = Two()
    record = RecordPositions(network=model.first)
    train(model, tmp_path, record)
    assert torch.equal(record.recording.positions[-1], model.first.graph.pos)
    with pytest.raises(ValueError, match="network must be given where the model has not one spatial network, got 2"):
        train(model, tmp_path, RecordPositions())
    with pytest.raises(ValueError, match="spatial network, got 0"):
        train(nn.Linear(6, 3), tmp_path, RecordPositions())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: RecordPositions(0), ValueError, "every must be at least 1, got 0"),
        (lambda: RecordPositions(1.5), TypeError, r"every must be an int, got 1.5 \(float\)"),
        (lambda: RecordPositions(network=nn.Linear(2, 1)), TypeError, "network must be a SpatialGraph or a model"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()
