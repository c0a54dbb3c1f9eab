"""Recordings: the positions and polarities of a network at several times of its training."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spatialgraph import atomic, checks
from spatialgraph.graph.network import graph_of

__all__ = ["Recording"]

_NAMES = ("epochs", "positions", "polarities")


class Recording:
    """The positions and polarities of a network at several times of its training.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> recording, graph = Recording(), SpatialGraph.layered([3, 2])
        >>> recording.add(graph, epoch=0)
        >>> recording.add(graph, epoch=10)
        >>> recording, recording.positions.shape
        (Recording(times=2, neurons=5, dim=3), torch.Size([2, 5, 3]))
    """

    def __init__(self) -> None:
        self._epochs: list[float] = []
        self._positions: list[Tensor] = []
        self._polarities: list[Tensor] = []

    @property
    def epochs(self) -> list[float]:
        """When the network was recorded, a copy."""
        return list(self._epochs)

    @property
    def positions(self) -> Tensor:
        """Positions of all neurons, shape ``(K, N, d)``, in length units, on the CPU; ``(0, 0, 0)`` where empty."""
        return torch.stack(self._positions) if self._positions else torch.empty(0, 0, 0)

    @property
    def polarities(self) -> Tensor:
        """Polarities of all neurons, shape ``(K, N)``, on the CPU; ``(0, 0)`` where empty."""
        return torch.stack(self._polarities) if self._polarities else torch.empty(0, 0)

    def add(self, network: nn.Module, epoch: float) -> None:
        """Record the present positions and polarities.

        Args:
            network: a graph, or a model that has one, with as many neurons and axes as before.
            epoch: when this is, in epochs or any other unit; later than what is recorded already.

        Raises:
            TypeError: if ``network`` is neither a graph nor a model that has one, or ``epoch`` is not a number.
            ValueError: if the numbers of neurons or axes have changed, ``epoch`` is not above the last one, or a
                position or polarity is infinite or NaN.
        """
        graph = graph_of(network)
        position = graph.positions().detach().cpu().clone()
        self._append(position, graph.polarity.detach().cpu().as_subclass(Tensor).clone(), epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return ``epochs``, ``positions`` and ``polarities``."""
        return {"epochs": self.epochs, "positions": self.positions, "polarities": self.polarities}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "Recording":
        """Return the recording whose :meth:`state_dict` is given.

        Raises:
            TypeError: if an entry is of the wrong type.
            ValueError: if an entry is missing, or has a wrong shape or value.
        """
        if not isinstance(state, dict) or set(state) != set(_NAMES):
            got = sorted(map(str, state)) if isinstance(state, dict) else type(state).__name__
            raise ValueError(f"a recording must have the entries {', '.join(_NAMES)}, got {got}")
        epochs, positions, polarities = (state[name] for name in _NAMES)
        if checks.tensor("positions", positions).dim() != 3:
            raise ValueError(f"positions must have shape (times, neurons, axes), got {tuple(positions.shape)}")
        checks.shape("polarities", polarities, positions.shape[:2])
        if not isinstance(epochs, list) or len(epochs) != len(positions):
            raise ValueError(f"epochs must be a list of {len(positions)} numbers, got {epochs!r}")
        recording = cls()
        for position, polarity, epoch in zip(positions, polarities, epochs, strict=True):
            recording._append(position.cpu().clone(), polarity.cpu().clone(), epoch)
        return recording

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recording to a file by ``torch.save``, atomically.

        Args:
            path: the file.

        Raises:
            OSError: if the file cannot be written; an existing file is then unchanged.
        """
        atomic.write(path, partial(torch.save, self.state_dict()))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Recording":
        """Read a recording that :meth:`save` wrote; no code in the file is run.

        Args:
            path: the file.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged or holds no recording.

        Example:
            >>> import tempfile
            >>> path = Path(tempfile.mkdtemp()) / "training.pt"
            >>> Recording().save(path)
            >>> len(Recording.load(path))
            0
        """
        with Path(path).open("rb") as file:
            try:
                return cls.from_state_dict(torch.load(file, map_location="cpu", weights_only=True))
            except Exception as error:  # a damaged file can raise almost any
                raise ValueError(f"{os.fspath(path)} must be a recording that Recording.save wrote: {error}") from error

    def __len__(self) -> int:
        """Return the number of times K."""
        return len(self._epochs)

    def __repr__(self) -> str:
        """Return a one-line description."""
        neurons, dim = self._positions[0].shape if self._positions else (0, 0)
        return f"Recording(times={len(self)}, neurons={neurons}, dim={dim})"

    def _append(self, position: Tensor, polarity: Tensor, epoch: float) -> None:
        checks.number("epoch", epoch)
        checks.positions("pos", position)
        checks.finite("polarity", polarity)
        if self._epochs and epoch <= self._epochs[-1]:
            raise ValueError(f"epoch must be above the last one ({self._epochs[-1]:g}), got {epoch:g}")
        if self._positions and position.shape != self._positions[0].shape:
            before, now = tuple(self._positions[0].shape), tuple(position.shape)
            raise ValueError(f"network must have as many neurons and axes as before, {before}, got {now}")
        self._epochs.append(epoch if isinstance(epoch, int) else float(epoch))
        self._positions.append(position)
        self._polarities.append(polarity)
