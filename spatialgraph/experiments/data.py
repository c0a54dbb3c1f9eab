"""The images of the experiments."""

import warnings
from typing import Any

from spatialgraph import training
from spatialgraph.experiments import records

__all__ = ["LazyMnist", "load_mnist"]


def load_mnist(folder: str | None = None) -> training.Mnist:
    """Load MNIST, or the sample that is part of the package, which a printed note says.

    Args:
        folder: folder with MNIST; None for the usual places.
    """
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        data = training.load_mnist(folder)
    for note in notes:
        records.note(str(note.message))
    return data


class LazyMnist:
    """MNIST, loaded once by each process that asks for it; a copy for another process is sent without the images.

    Args:
        folder: as for :func:`load_mnist`.

    Example:
        >>> data = LazyMnist("folder")
        >>> data
        LazyMnist('folder')
        >>> images = data().train_images  # doctest: +SKIP
    """

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self._data: training.Mnist | None = None

    def __call__(self) -> training.Mnist:
        """Return the images and labels."""
        if self._data is None:
            self._data = load_mnist(self._folder)
        return self._data

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs."""
        return {"_folder": self._folder, "_data": None}

    def __repr__(self) -> str:
        """Return how it was made."""
        return f"LazyMnist({self._folder!r})"
