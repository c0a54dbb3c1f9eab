"""Products whose sources send charges: activations times scale, in at least single precision."""

from collections.abc import Callable

from torch import Tensor

from spatialgraph.functional.compressed import check_product, geometry_in_single
from spatialgraph.functional.precision import product_dtype
from spatialgraph.laws import Law
from spatialgraph.tracing import without_autocast

__all__ = ["of_charges"]


def of_charges(
    product: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    source_pos: Tensor,
    target_pos: Tensor,
    scale: Tensor,
    law: Law,
    bias: Tensor | None = None,
) -> Tensor:
    """Compute a product of charges, and return it as one of activations.

    Args:
        product: from charges ``(batch, n)`` and the positions of both ends to sums ``(batch, m)``.
        x: activations of the sources, shape ``(..., n)``.
        source_pos: positions of the sources, shape ``(n, d)``.
        target_pos: positions of the targets, shape ``(m, d)``.
        scale: polarity times gain of each source, shape ``(n,)``.
        law: the law from length to weight.
        bias: added to each target's input, shape ``(m,)``; None for nothing.

    Returns:
        Inputs of the targets, shape ``(..., m)``.

    Raises:
        TypeError: if an argument is not a tensor of the expected dtype.
        ValueError: if the shapes or devices do not match.
    """
    check_product(x, source_pos, target_pos, scale, law, bias)
    dtype = product_dtype(x, source_pos)
    source_pos, target_pos, scale = geometry_in_single(source_pos, target_pos, scale)
    with without_autocast(x.device.type):
        charge = x.to(source_pos.dtype) * scale
        flat = charge.reshape(charge.shape[:-1].numel(), charge.shape[-1])
        y = product(flat, source_pos, target_pos).view(*x.shape[:-1], target_pos.shape[0])
        return (y if bias is None else y + bias).to(dtype)
