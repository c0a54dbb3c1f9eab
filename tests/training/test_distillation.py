"""Distillation, against its formula and against plain training."""

import copy

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import nn
from trainings import RECIPE, images, interrupting_after, new_model

import spatialgraph as sg
from spatialgraph.training import Distillation, accuracy, distil, fit


def new_teacher(seed=5, outputs=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, outputs))


def weights(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


# The loss ----


class Fixed(nn.Module):
    """A teacher with given answers."""

    def __init__(self, answers):
        super().__init__()
        self.answers = nn.Parameter(answers)

    def forward(self, x):
        return self.answers


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_loss_and_gradient_are_those_of_the_formula(temperature, share):
    z, v = torch.randn(5, 4).double().requires_grad_(), torch.randn(5, 4).double()
    labels = torch.tensor([0, 3, 1, 1, 2])
    teacher = Fixed(v)
    loss = Distillation(teacher, temperature, share)(torch.zeros(5, 2), z, labels)
    loss.backward()
    own, taught, right = z.detach().numpy(), v.numpy(), np.eye(4)[labels]
    q, p = softmax(own / temperature, 1), softmax(taught / temperature, 1)
    divergence = (p * (np.log(p) - np.log(q))).sum(1).mean()
    entropy = -(right * log_softmax(own, 1)).sum(1).mean()
    assert loss.item() == pytest.approx(share * temperature**2 * divergence + (1 - share) * entropy, abs=1e-12)
    slope = (share * temperature * (q - p) + (1 - share) * (softmax(own, 1) - right)) / 5
    np.testing.assert_allclose(z.grad.numpy(), slope, atol=1e-12)
    assert teacher.answers.grad is None


# Trainings ----


def test_a_student_learns_what_the_teacher_answers(tmp_path):
    x, labels = images()
    teacher, student = new_teacher(), sg.DenseMLP([6, 32, 3])
    answers = teacher.eval()(x).argmax(1)
    wrong = (x, (answers + 1) % 3)  # what the labels say must not matter
    before = accuracy(student, (x, answers))
    recipe = sg.training.Recipe(epochs=30, learning_rate=0.05, batch_size=30)
    distil(student, teacher, wrong, recipe, tmp_path, teacher_share=1.0, progress=False)
    assert accuracy(student, (x, answers)) > max(before, 0.85)


def test_without_a_share_of_the_teacher_it_is_fit(tmp_path):
    alone, taught = new_model(), new_model()
    held_out = images(seed=1)
    rows = fit(alone, images(), RECIPE, tmp_path / "alone", validation=held_out, progress=False)
    options = {"teacher_share": 0.0, "validation": held_out, "progress": False}
    others = distil(taught, new_teacher(), images(), RECIPE, tmp_path / "taught", **options)
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), taught.parameters(), strict=True))
    assert [row["validation_loss"] for row in rows] == [row["validation_loss"] for row in others]


def test_validation_loss_is_the_cross_entropy(tmp_path):
    student, (x, y) = new_model(), images(seed=1)
    rows = distil(student, new_teacher(), images(), RECIPE, tmp_path, validation=(x, y), progress=False)
    expected = nn.functional.cross_entropy(student.eval()(x), y).item()
    assert rows[-1]["validation_loss"] == pytest.approx(expected, abs=1e-6)


def test_the_teacher_is_not_changed(tmp_path):
    teacher, student = new_teacher().train(), new_model()
    teacher[3].eval()
    state, modes = copy.deepcopy(teacher.state_dict()), [module.training for module in teacher.modules()]
    distil(student, teacher, images(), RECIPE, tmp_path, progress=False)
    assert all(torch.equal(value, state[name]) for name, value in teacher.state_dict().items())
    assert [module.training for module in teacher.modules()] == modes
    assert all(parameter.grad is None and parameter.requires_grad for parameter in teacher.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(weights(new_model()), weights(student), strict=True))


def test_the_teacher_is_restored_after_a_failure(tmp_path):
    teacher = new_teacher().train()
    nn.init.constant_(teacher[4].bias, torch.inf)
    with pytest.raises(FloatingPointError, match="train loss"):
        distil(new_model(), teacher, images(), RECIPE, tmp_path, progress=False)
    assert all(module.training for module in teacher.modules())


def test_any_module_teaches_any_module(tmp_path):
    teacher, student = sg.SpatialMLP([6, 12, 3], weight_mode="free"), nn.Linear(6, 3)
    before = weights(student)
    assert len(distil(student, teacher, images(), RECIPE, tmp_path, progress=False)) == RECIPE.epochs
    assert not torch.equal(before[0], student.weight)


@pytest.mark.usefixtures("ctrl_c")
def test_a_resumed_distillation_ends_at_the_same_bits(tmp_path):
    whole, halves, teacher = new_model(), new_model(), new_teacher()
    options = {"seed": 3, "progress": False}
    distil(whole, teacher, images(), RECIPE, tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        distil(halves, teacher, images(), RECIPE, tmp_path / "halves", penalty=interrupting_after(2), **options)
    again = new_model(seed=9)
    distil(again, new_teacher(), images(), RECIPE, tmp_path / "halves", resume=True, **options)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"temperature": 3.0}, "loss.temperature was 2.0, got 3.0"),
        ({"teacher_share": 0.5}, "loss.teacher_share was 0.9, got 0.5"),
        ({"teacher": new_teacher(seed=6)}, "loss.teacher was 'sha256 "),
    ],
)
def test_a_resumed_distillation_needs_the_same_teacher_and_settings(tmp_path, changed, message):
    settings = {"teacher": new_teacher(), "train": images(), "recipe": RECIPE, "folder": tmp_path, "progress": False}
    distil(new_model(), **settings)
    with pytest.raises(ValueError, match=message):
        distil(new_model(), **settings | changed, resume=True)
    with pytest.raises(ValueError, match="loss.temperature was 2.0, got None"):
        fit(new_model(), images(), RECIPE, tmp_path, resume=True, progress=False)


# Other losses ----


def test_fit_takes_a_loss(tmp_path):
    def squared(samples, logits, labels):
        return (logits - samples[:, :3]).square().mean()

    student, (x, y) = new_model(), images()
    before = squared(x, student.eval()(x), y).item()
    rows = fit(student, (x, y), RECIPE, tmp_path, loss=squared, progress=False)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] < 2 * before
    assert squared(x, student.eval()(x), y).item() < before


def test_a_loss_is_a_function(tmp_path):
    with pytest.raises(TypeError, match="loss must be a function of samples, logits and classes, got str"):
        fit(new_model(), images(), RECIPE, tmp_path, loss="mse", progress=False)


# Wrong arguments ----


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"teacher": "model"}, TypeError, "teacher must be a torch.nn.Module, got str"),
        ({"student": 3}, TypeError, "student must be a torch.nn.Module, got int"),
        ({"temperature": 0.0}, ValueError, "temperature must be above 0, got 0.0"),
        ({"temperature": float("nan")}, ValueError, "temperature must be finite, got nan"),
        ({"temperature": "hot"}, TypeError, r"temperature must be a number, got 'hot' \(str\)"),
        ({"teacher_share": 1.5}, ValueError, "teacher_share must be between 0 and 1, got 1.5"),
        ({"teacher_share": True}, TypeError, r"teacher_share must be a number, got True \(bool\)"),
        ({"teacher": new_teacher(outputs=4)}, ValueError, r"as many outputs as the student \(3\), got 4"),
        ({"teacher": nn.Linear(5, 3)}, ValueError, r"train\[0\] must hold samples that the model takes"),
        ({"train": torch.zeros(3, 6)}, TypeError, "train must be a pair of tensors"),
        ({"recipe": {}}, TypeError, "recipe must be a Recipe, got dict"),
    ],
)
def test_wrong_arguments(tmp_path, changed, error, message):
    arguments = {"student": new_model(), "teacher": new_teacher(), "train": images(), "recipe": RECIPE}
    with pytest.raises(error, match=message):
        distil(**arguments | {"folder": tmp_path} | changed)


def test_a_student_does_not_teach_itself(tmp_path):
    student = new_model()
    for teacher in (student, nn.Sequential(student)):
        with pytest.raises(ValueError, match="teacher must share no parameters with the student"):
            distil(student, teacher, images(), RECIPE, tmp_path)


def test_a_loss_with_a_teacher_in_training_mode():
    teacher = new_teacher().train()
    loss, x, logits, labels = Distillation(teacher), torch.rand(9, 6), torch.rand(9, 3), torch.arange(9) % 3
    first = loss(x, logits, labels)
    assert torch.equal(loss(x, logits, labels), first)
    assert teacher.training and int(teacher[1].num_batches_tracked) == 0
    with pytest.raises(ValueError, match=r"teacher must answer with shape \(9, 2\), got \(9, 3\)"):
        loss(x, torch.rand(9, 2), labels)
