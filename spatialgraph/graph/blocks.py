"""Blocks: the neurons of a network in the order in which they are computed."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Blocks", "side_by_side"]


@dataclasses.dataclass(frozen=True)
class Blocks:
    """The neurons that are computed together: the inputs, then the targets of each feed-forward projection.

    Values of neurons are cut by block in one operation, whose backward pass is one operation too. A slice for each
    projection would take a dozen.

    Args:
        members: numbers of the neurons of each block, hidden neurons before outputs.
        sizes: number of neurons in each block.
        order: numbers of all these neurons; None where they are 0 to N - 1.
        ends_in_outputs: whether the last block holds all outputs of the network and no other neuron.

    Example:
        >>> layer = torch.tensor([0, 0, 1])
        >>> blocks = Blocks.of((torch.tensor([0, 1]), torch.tensor([2])), layer == 1)
        >>> blocks.split(torch.tensor([1.0, 2.0, 3.0]))
        (tensor([1., 2.]), tensor([3.]))
    """

    members: tuple[Tensor, ...]
    sizes: list[int]
    order: Tensor | None
    ends_in_outputs: bool

    @classmethod
    def of(cls, members: Sequence[Tensor], is_output: Tensor) -> "Blocks":
        """Return blocks of these members; ``is_output`` marks the output neurons, shape ``(N,)``, bool."""
        order, last = torch.cat(list(members)), members[-1]
        everyone = torch.arange(len(is_output), device=order.device)
        ends_in_outputs = len(last) == int(is_output.sum()) and bool(is_output[last].all())
        sizes = [len(numbers) for numbers in members]
        return cls(tuple(members), sizes, None if torch.equal(order, everyone) else order, ends_in_outputs)

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """Cut values of all neurons, shape ``(N, ...)``, by block, differentiable."""
        ordered = values if self.order is None else values.index_select(0, self.order)
        parts: tuple[Tensor, ...] = ordered.split(self.sizes)
        return parts

    def split_senders(self, values: Tensor) -> tuple[Tensor, ...] | None:
        """Cut values of all neurons but outputs, in their order; None where outputs stand between them."""
        return values.split(self.sizes[:-1]) if self.order is None and self.ends_in_outputs else None

    def split_receivers(self, values: Tensor) -> tuple[Tensor, ...] | None:
        """Cut values of all neurons but inputs, in their order; None where these are not the order of the blocks."""
        return values.split(self.sizes[1:]) if self.order is None else None


def side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """Join values of neurons of several blocks.

    Example:
        >>> side_by_side([torch.tensor([1.0]), torch.tensor([2.0])])
        tensor([1., 2.])
    """
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
