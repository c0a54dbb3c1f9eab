"""Fused kernels in Triton for the weights of listed edges, for tensors on a GPU.

They compute the same as the tensor operations in :mod:`spatialgraph.functional`, in one launch each, in single
precision. The edges are those of :class:`~spatialgraph.functional.compressed_edges.CompressedEdges`, which were checked
when they were made; to check them again would wait for the GPU, so kernels leave out what is out of range.
"""

from collections.abc import Sequence

from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.cuda.launching import is_tensor, launch, three

__all__ = ["EdgeTileKernels"]

# Edges that a program takes at a time.
_BLOCK = 128


class EdgeTileKernels:
    """The kernels of listed edges for one formula; rows are targets, columns sources.

    Args:
        formula: the name of a law in :data:`spatialgraph.laws.LAWS`.
    """

    def __init__(self, formula: str) -> None:
        self.formula = formula

    def weights(
        self,
        pointer: Tensor,
        column: Tensor,
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        softening: float,
        settings: Sequence[float | Tensor] = (),
    ) -> Tensor:
        """Return the scaled weight of each edge; arguments as for the kernels of the CPU."""
        from spatialgraph.kernels.cuda.loops import compressed as loops

        _check(pointer, column, source_pos, target_pos, scale)
        out = source_pos.new_empty(len(column))
        launch(
            loops.weigh, (len(target_pos),),
            pointer, column, source_pos, target_pos, scale, out, len(source_pos), len(column),
            *source_pos.stride(), *target_pos.stride(), *scale.stride(), softening**2, *three(settings),
            FORMULA=self.formula, **_sizes(source_pos, settings),
        )  # fmt: skip
        return out

    def gradients(
        self,
        pointer: Tensor,
        column: Tensor,
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        softening: float,
        grad: Tensor,
        settings: Sequence[float | Tensor],
        by_source: tuple[Tensor, Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | float]:
        """Return the gradients of source positions, target positions, scales and the formula's parameter.

        Arguments are those of the kernels of the CPU. The last result is 0 for a formula without a parameter.
        """
        from spatialgraph.kernels.cuda.loops import compressed as loops

        _check(pointer, column, source_pos, target_pos, scale)
        grad = checks.operand("grad", grad, (len(column),), source_pos).contiguous()
        by_end = source_pos.new_empty(source_pos.shape), target_pos.new_empty(target_pos.shape)
        grad_scale = scale.new_empty(len(scale))
        by_first = scale.new_empty(len(target_pos) if is_tensor(settings) else 0)
        source_pointer, order, targets = by_source
        for is_source, result, rows, columns, own, other in (
            (True, by_end[0], source_pointer, targets, source_pos, target_pos),
            (False, by_end[1], pointer, column, target_pos, source_pos),
        ):
            launch(
                loops.pull, (len(own),),
                rows, columns, order, own, other, scale, grad, result, grad_scale, by_first, len(other), len(column),
                *own.stride(), *other.stride(), *scale.stride(), softening**2, *three(settings),
                FORMULA=self.formula, IS_SOURCE=is_source, **_sizes(source_pos, settings),
            )  # fmt: skip
        return *by_end, grad_scale, by_first.sum() if len(by_first) else 0.0


def _check(pointer: Tensor, column: Tensor, source_pos: Tensor, target_pos: Tensor, scale: Tensor) -> None:
    checks.geometry(source_pos, target_pos, scale)
    for name, values in (("pointer", pointer), ("column", column)):
        checks.same_device(name, checks.indices(name, values), source_pos)
    checks.shape("target_pos", target_pos, (len(pointer) - 1, source_pos.shape[1]))


def _sizes(pos: Tensor, settings: Sequence[float | Tensor]) -> dict[str, int | bool]:
    """Return what a kernel is compiled for; axes are a power of 2."""
    dim = pos.shape[1]
    axes = 1 << (dim - 1).bit_length()
    return {"DIM": dim, "FIRST_IS_TENSOR": is_tensor(settings), "BLOCK": _BLOCK, "AXES": axes}
