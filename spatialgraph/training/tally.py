"""Losses and right answers of a training's batches, read from the device together."""

import torch
from torch import Tensor

from spatialgraph.training.finite import check_loss

__all__ = ["Tally"]

# Batches that are read together, where reading waits for the device.
_TOGETHER = 1000


class Tally:
    """Losses, right answers and penalties of the batches of an epoch.

    To read a number of another device than the CPU waits for all that the device has still to do. There, the numbers of
    a thousand batches, or of an epoch, are read and checked together; on the CPU those of each batch at once.

    Args:
        stage: ``"train"`` or ``"validation"``, for messages.
        epoch: the epoch, counted from 1.

    Example:
        >>> tally = Tally("train", epoch=1)
        >>> tally.add(torch.tensor([0.5, 2.0]), samples=4)
        >>> tally.add(torch.tensor([0.25, 1.0]), samples=2)
        >>> tally.sums()  # of losses over samples, right answers and samples
        [2.5, 3.0, 6.0]
    """

    def __init__(self, stage: str, epoch: int) -> None:
        self.stage, self.epoch = stage, epoch
        self._samples: list[int] = []
        self._read: list[list[float]] = []
        self._waiting: list[Tensor] = []

    def add(self, figures: Tensor, samples: int) -> None:
        """Add a batch.

        Args:
            figures: its mean loss, the number of right answers, and the penalty if there is one.
            samples: number of samples that count.

        Raises:
            FloatingPointError: if a loss or penalty that is read is not finite.
        """
        self._samples.append(samples)
        if figures.is_cpu:
            self._take(figures.tolist())
            return
        self._waiting.append(figures)
        if len(self._waiting) == _TOGETHER:
            self.read()

    def read(self) -> None:
        """Read and check what was added.

        Raises:
            FloatingPointError: if a loss or penalty is not finite; of several, for the first.
        """
        if not self._waiting:
            return
        new, self._waiting = torch.stack(self._waiting).tolist(), []
        for figures in new:
            self._take(figures)

    def sums(self) -> list[float]:
        """Return the sums of losses over samples, of right answers, and of samples.

        Raises:
            FloatingPointError: if a loss or penalty is not finite.
        """
        self.read()
        sums = [0.0, 0.0, 0.0]
        for (loss, right), samples in zip(self._read, self._samples, strict=True):
            if samples:  # else the batch is of other processes
                sums = [sums[0] + loss * samples, sums[1] + right, sums[2] + samples]
        return sums

    def _take(self, figures: list[float]) -> None:
        loss, right, *penalties = figures
        self._read.append([loss, right])
        check_loss(f"{self.stage} loss", loss, self.epoch, len(self._read))
        for penalty in penalties:
            check_loss("penalty", penalty, self.epoch, len(self._read))
