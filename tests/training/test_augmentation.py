"""Distorted images: against whole pixels, quarter turns and SciPy."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from spatialgraph.training import RandomAffine, Recipe, augmentation, fit

STILL = {"degrees": 0, "translate": 0, "scale": (1, 1), "shear": 0}


@pytest.fixture
def most(monkeypatch):
    """Let every draw be the largest."""
    monkeypatch.setattr(augmentation, "_uniform", lambda images: torch.ones(len(images), dtype=torch.float64))


@pytest.fixture
def images():
    return torch.rand(3, 56, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def distorted(images, **changes):
    return RandomAffine((7, 8), **STILL | changes)(images).reshape(-1, 7, 8)


def test_nothing_changes_without_amounts(images):
    torch.testing.assert_close(distorted(images), images.reshape(-1, 7, 8))


def test_a_shift_by_whole_pixels(images, most):
    moved = distorted(images, translate=1 / 8)  # one column, and 7/8 of a row
    columns = images.reshape(-1, 7, 8)[:, :, 1:]
    torch.testing.assert_close(moved[:, :6, :7], 0.125 * columns[:, :6] + 0.875 * columns[:, 1:])
    assert (moved[:, :, 7] == 0).all()


def test_a_half_turn(images, most):
    torch.testing.assert_close(distorted(images, degrees=180), images.reshape(-1, 7, 8).flip(1, 2))


@pytest.mark.parametrize("changes", [{"degrees": 30}, {"shear": 20}, {"scale": (0.8, 0.8)}])
def test_against_scipy(changes, most):
    picture = np.zeros((21, 31))
    picture[8:13, 12:20] = np.arange(40).reshape(5, 8) / 40
    found = RandomAffine((21, 31), **STILL | changes)(torch.from_numpy(picture.reshape(1, -1))).reshape(21, 31).numpy()
    angle, lean = math.radians(changes.get("degrees", 0)), math.tan(math.radians(changes.get("shear", 0)))
    size = changes.get("scale", (1, 1))[0]
    # From places in the result to places in the picture, as (row, column).
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    matrix = turn @ np.array([[1, lean], [lean, 1]]) / size
    middle = np.array([10.0, 15.0])
    expected = ndimage.affine_transform(picture, matrix, middle - matrix @ middle, order=1)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_each_image_is_distorted_differently():
    torch.manual_seed(0)
    same = torch.rand(1, 784).expand(4, -1)
    first, second = RandomAffine((28, 28))(same), RandomAffine((28, 28))(same)
    assert len({tuple(row.tolist()) for row in torch.cat([first, second])}) == 8
    torch.manual_seed(0)
    assert torch.equal(RandomAffine((28, 28))(torch.rand(1, 784).expand(4, -1)), first)


def test_training_on_distorted_images(tmp_path):
    seen = []

    class Counted(RandomAffine):
        def __call__(self, images):
            seen.append(super().__call__(images))
            return seen[-1]

    data = torch.rand(20, 56), torch.arange(20) % 2

    def train(folder, augment, epochs=2, resume=False):
        torch.manual_seed(0)
        model = torch.nn.Linear(56, 2)
        recipe = Recipe(epochs, batch_size=10, schedule="constant")
        fit(model, data, recipe, folder, augment=augment, resume=resume, progress=False)
        return model.weight.detach()

    with_augmentation = train(tmp_path / "a", Counted((7, 8)))
    assert len(seen) == 4 and len({float(each.sum()) for each in seen}) == 4
    assert not torch.equal(with_augmentation, train(tmp_path / "b", None))
    assert torch.equal(with_augmentation, train(tmp_path / "a", Counted((7, 8)), resume=True))
    for other in (None, Counted((7, 8), degrees=3)):
        with pytest.raises(ValueError, match="augment"):
            train(tmp_path / "a", other, resume=True)
    with pytest.raises(TypeError, match="augment must be a function of samples, got int"):
        train(tmp_path / "c", 3)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"shape": 28}, TypeError, "shape must be a pair of numbers, got 28"),
        ({"shape": (28, 0)}, ValueError, "shape must be at least 1, got 0"),
        ({"degrees": -1}, ValueError, "degrees must not be negative, got -1"),
        ({"degrees": math.nan}, ValueError, "degrees must be"),
        ({"scale": (0, 1)}, ValueError, "scale must be"),
        ({"scale": (1.2, 1)}, ValueError, "scale must have the smallest factor first"),
        ({"scale": 1.0}, TypeError, "scale must be a pair of numbers, got 1.0"),
    ],
)
def test_wrong_settings(changes, error, message):
    with pytest.raises(error, match=message):
        RandomAffine(**{"shape": (7, 8)} | changes)


def test_images_of_another_size(images):
    with pytest.raises(ValueError, match=r"images must have shape \(3, 784\), got \(3, 56\)"):
        RandomAffine((28, 28))(images)
