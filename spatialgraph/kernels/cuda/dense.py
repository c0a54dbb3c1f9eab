"""Fused kernels in Triton for the weights of all pairs, for tensors on a GPU.

They compute the same as the tensor operations in :mod:`spatialgraph.functional`, in one pass over the weights instead
of dozens, in single precision. Half precision is widened where it is read and rounded where it is written.
"""

from collections.abc import Sequence

from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.cuda.launching import is_tensor, launch, three, tiles
from spatialgraph.kernels.cuda.partial_sums import geometry_strides, spread

__all__ = ["TileKernels"]

# Targets and sources of a tile, and groups of 32 threads for it. With fewer threads, or larger tiles, the sums do not
# fit the registers.
_FILL = 16, 256, 4
_PULL = 32, 64, 8


class TileKernels:
    """The kernels of all pairs for one formula.

    Args:
        formula: the name of a law in :data:`spatialgraph.laws.LAWS`.
    """

    def __init__(self, formula: str) -> None:
        self.formula = formula

    def weight(
        self,
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        softening: float,
        settings: Sequence[float | Tensor] = (),
        out: Tensor | None = None,
    ) -> Tensor:
        """Return the ``(m, n)`` matrix of scaled weights; arguments as for the kernels of the CPU."""
        from spatialgraph.kernels.cuda.loops import dense as loops

        checks.geometry(source_pos, target_pos, scale)
        sources, targets = len(source_pos), len(target_pos)
        if out is not None and not checks.shape("out", out, (targets, sources)).is_contiguous():
            raise ValueError(f"out must be contiguous, got strides {out.stride()}")
        result = source_pos.new_empty(targets, sources) if out is None else out
        bj, bi, warps = _FILL
        launch(
            loops.fill, (tiles(targets, bj) * tiles(sources, bi),),
            source_pos, target_pos, scale, result, sources, targets,
            *geometry_strides(source_pos, target_pos, scale), softening**2, *three(settings),
            FORMULA=self.formula, DIM=source_pos.shape[1], FIRST_IS_TENSOR=is_tensor(settings), BJ=bj, BI=bi,
            num_warps=warps,
        )  # fmt: skip
        return result

    def geometry_gradients(
        self,
        grad_weight: Tensor,
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        softening: float,
        settings: Sequence[float | Tensor] = (),
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | float]:
        """Return the gradients of source positions, target positions, scales and the formula's parameter.

        Arguments are those of :meth:`weight`, after the gradient of the weight matrix. The last result is 0 for a
        formula without a parameter.
        """
        from spatialgraph.kernels.cuda.loops import dense as loops

        checks.geometry(source_pos, target_pos, scale)
        shape = len(target_pos), len(source_pos)
        grad = checks.shape("grad_weight", grad_weight, shape).contiguous()
        bj, bi, warps = _PULL
        return spread(
            loops.pull, lambda targets: (grad[targets],),
            source_pos, target_pos, scale, self.formula, softening, settings, (bj, bi), num_warps=warps,
        )  # fmt: skip
