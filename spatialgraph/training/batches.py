"""Shuffled batches of tensors in memory."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, TensorDataset

__all__ = ["ShuffledBatches", "batches"]


class ShuffledBatches(Sampler[Tensor]):
    """Batches of indices whose order depends only on the seed and the epoch.

    A training that is resumed at an epoch therefore uses the same batches as an uninterrupted one. With several
    processes, each takes every ``world``-th index of each batch, so that the whole batch is the same. A process without
    an index of a small batch gets the first one, which is not counted.

    Args:
        count: number of samples.
        batch_size: samples in a batch, over all processes.
        seed: seed of the shuffling.
        rank: rank of this process.
        world: number of processes.

    Example:
        >>> [len(batch) for batch in ShuffledBatches(5, batch_size=2, seed=0)]
        [2, 2, 1]
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.world = rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the indices of each batch."""
        generator = torch.Generator("cpu").manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.count, generator=generator, device="cpu")
        for batch in order.split(self.batch_size):
            own = batch[self.rank :: self.world]
            yield own if len(own) else batch[:1]

    def sizes(self, number: int) -> tuple[int, int]:
        """Return the number of counted samples of a batch in this process and in all processes.

        Example:
            >>> sampler = ShuffledBatches(5, batch_size=2, seed=0, rank=1, world=2)
            >>> [sampler.sizes(number) for number in range(3)]
            [(1, 2), (1, 2), (0, 1)]
        """
        whole = min(self.batch_size, self.count - number * self.batch_size)
        return len(range(self.rank, whole, self.world)), whole

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-self.count // self.batch_size)


def batches(images: Tensor, labels: Tensor, sampler: ShuffledBatches) -> DataLoader[tuple[Tensor, ...]]:
    """Return a loader that indexes whole batches at once.

    Args:
        images: samples, shape ``(count, features)``.
        labels: classes, shape ``(count,)``.
        sampler: yields the indices of each batch.

    Example:
        >>> loader = batches(torch.zeros(5, 3), torch.zeros(5), ShuffledBatches(5, batch_size=2, seed=0))
        >>> [images.shape[0] for images, _ in loader]
        [2, 2, 1]
    """
    # A loader draws a seed for workers; a separate generator leaves PyTorch's random state to the model.
    unused = torch.Generator("cpu")
    return DataLoader(TensorDataset(images, labels), sampler=sampler, batch_size=None, generator=unused)
