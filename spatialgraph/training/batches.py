"""Shuffled batches of tensors in memory, and where they are kept."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

__all__ = ["Batches", "ShuffledBatches", "kept", "sent"]

# The share of a device's free memory that data may take there.
_SHARE = 0.25


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
        return self.on(torch.device("cpu"))

    def on(self, device: torch.device) -> Iterator[Tensor]:
        """Yield the indices of each batch on a device, which all are moved to at once.

        Example:
            >>> [len(batch) for batch in ShuffledBatches(5, batch_size=3, seed=0).on(torch.device("cpu"))]
            [3, 2]
        """
        generator = torch.Generator("cpu").manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.count, generator=generator, device="cpu").to(device)
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


class Batches:
    """Batches of tensors on the device of a training, in the order of a sampler.

    What takes at most a quarter of a device's free memory is moved there once, when the first batch is asked for, and
    the indices once for each epoch; to take a batch then copies nothing from the CPU. The batches of larger data are
    copied one by one, to CUDA from page-locked memory without waiting.

    Args:
        tensors: samples and classes, of shapes ``(count, ...)``.
        sampler: yields the indices of each batch.
        device: where the batches go.

    Example:
        >>> images, classes = torch.zeros(5, 3), torch.zeros(5)
        >>> loader = Batches((images, classes), ShuffledBatches(5, batch_size=2, seed=0), torch.device("cpu"))
        >>> [images.shape[0] for images, _ in loader]
        [2, 2, 1]
    """

    batch_sampler = None  # as of a loader of PyTorch that has only a sampler, which Lightning looks at

    def __init__(self, tensors: tuple[Tensor, ...], sampler: ShuffledBatches, device: torch.device) -> None:
        self.tensors, self.sampler, self.device = tensors, sampler, device
        self._kept: tuple[Tensor, ...] | None = None

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield each batch."""
        if self._kept is None:
            self._kept = kept(self.tensors, self.device)
        own = self._kept
        for index in self.sampler.on(own[0].device):
            yield tuple(sent(values[index.to(values.device)], self.device) for values in own)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.sampler)

    def release(self) -> None:
        """Free the device's memory."""
        self._kept = None


def kept(tensors: tuple[Tensor, ...], device: torch.device) -> tuple[Tensor, ...]:
    """Return tensors on a device, or as they are where they would take too much of its free memory.

    Example:
        >>> values = torch.zeros(3)
        >>> kept((values,), torch.device("cpu"))[0] is values
        True
    """
    size = sum(values.nbytes for values in tensors if values.device != device)
    return tuple(values.to(device) for values in tensors) if size <= _SHARE * _free_memory(device) else tensors


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; a copy to CUDA is begun, and not waited for.

    Example:
        >>> sent(torch.zeros(3), torch.device("cpu")).device
        device(type='cpu')
    """
    if device.type != "cuda" or values.device.type != "cpu":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def _free_memory(device: torch.device) -> float:
    """Return the free bytes of a device; of others than CUDA they are not known."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf
