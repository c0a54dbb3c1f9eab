"""Rows that are taken and summed by index, in the same order in each run on every device.

On a GPU, ``index_add``, and so the gradient of ``index_select``, adds in the order in which threads arrive.
"""

from torch import Tensor

__all__ = ["add_", "summed", "taken"]


def taken(values: Tensor, index: Tensor) -> Tensor:
    """Return rows of a tensor, differentiable.

    Args:
        values: shape ``(n, *)``.
        index: which rows, shape ``(E,)``.

    Example:
        >>> import torch
        >>> taken(torch.tensor([1.0, 2.0]), torch.tensor([1, 1, 0]))
        tensor([2., 2., 1.])
    """
    return values.index_select(0, index) if values.device.type == "cpu" else values[index]


def summed(values: Tensor, index: Tensor, count: int) -> Tensor:
    """Return sums of rows, differentiable.

    Args:
        values: shape ``(E, *)``.
        index: to which sum each row belongs, shape ``(E,)``.
        count: number of sums n.

    Returns:
        Tensor of shape ``(n, *)``.

    Example:
        >>> import torch
        >>> summed(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1, 1, 0]), 3)
        tensor([4., 3., 0.])
    """
    total = values.new_zeros(count, *values.shape[1:])
    if values.device.type == "cpu":
        return total.index_add(0, index, values)
    return total.index_put((index,), values, accumulate=True)


def add_(total: Tensor, index: Tensor, values: Tensor) -> None:
    """Add rows to those of another tensor in place.

    Example:
        >>> import torch
        >>> total = torch.ones(2)
        >>> add_(total, torch.tensor([1, 1]), torch.tensor([1.0, 2.0]))
        >>> total
        tensor([1., 4.])
    """
    if total.device.type == "cpu":
        total.index_add_(0, index, values)
    else:
        total.index_put_((index,), values, accumulate=True)
