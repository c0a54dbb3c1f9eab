"""Products with the weights of all pairs in Triton, which are computed tile by tile and never stored.

They take few activations, or networks whose weights do not fit in memory; for many activations, weights that are stored
once are faster.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.kernels.cuda.launching import is_tensor, launch, three, tiles
from spatialgraph.kernels.cuda.partial_sums import spread

__all__ = ["MOST_BYTES", "ProductKernels", "multiplies_in_tf32"]

MOST_BYTES = 2**30
"""Bytes of the weights of a projection above which they are never stored."""

# Activations up to which weights are computed where they are used: every tile of activations computes them again.
# Without tensor cores the product itself is slower than that of a library.
_MOST_SAMPLES, _MOST_EXACT_SAMPLES = 256, 64

# Up to so many activations: those of a tile, its outer and inner neurons, and groups of 32 threads.
_EXACT = {16: (16, 64, 32, 4), None: (64, 64, 16, 8)}
_ROUNDED = {16: (16, 64, 32, 4), 64: (64, 64, 32, 8), None: (128, 64, 32, 8)}
# Targets, sources and activations of a tile of gradients.
_PULL_EXACT, _PULL_ROUNDED = (64, 64, 16, 8), (64, 64, 32, 16)
# Programs that keep a large GPU busy; with fewer tiles, the inner neurons are shared out among programs.
_PROGRAMS = 264


def multiplies_in_tf32() -> bool:
    """Tell whether PyTorch's products of single precision may round to TF32.

    Example:
        >>> multiplies_in_tf32()
        False
    """
    settings = torch.backends.cuda.matmul
    if hasattr(settings, "fp32_precision"):  # from PyTorch 2.9 on, which refuses to mix both
        return bool(settings.fp32_precision == "tf32")
    return bool(settings.allow_tf32)


class ProductKernels:
    """The kernels of products for one formula.

    Args:
        formula: the name of a law in :data:`spatialgraph.laws.LAWS`.
    """

    def __init__(self, formula: str) -> None:
        self.formula = formula

    @staticmethod
    def is_worthwhile(x: Tensor, targets: int) -> bool:
        """Tell whether a product takes less time, or memory, without stored weights.

        Args:
            x: activations, shape ``(batch, n)``.
            targets: number of targets.
        """
        if x.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            return False
        most = _MOST_EXACT_SAMPLES if _is_exact(x) else _MOST_SAMPLES
        return len(x) <= most or x.shape[1] * targets * x.element_size() > MOST_BYTES

    def multiply(
        self,
        x: Tensor,
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        softening: float,
        settings: Sequence[float | Tensor] = (),
        bias: Tensor | None = None,
        rectify: bool = False,
        is_back: bool = False,
    ) -> Tensor:
        """Send activations from all sources to all targets, or gradients back.

        Args:
            x: activations of the sources, shape ``(batch, n)``; with ``is_back`` gradients of the targets,
                shape ``(batch, m)``.
            source_pos: positions of the sources, shape ``(n, d)``.
            target_pos: positions of the targets, shape ``(m, d)``.
            scale: scales of the sources, shape ``(n,)``.
            softening: that of the law.
            settings: the other numbers of the law.
            bias: added to the results, shape ``(m,)``; None for nothing.
            rectify: whether negative results become 0.
            is_back: whether gradients are sent from targets to sources.
        """
        from spatialgraph.kernels.cuda.loops import products as loops

        checks.geometry(source_pos, target_pos, scale)
        inner, outer = (target_pos, source_pos) if is_back else (source_pos, target_pos)
        batch = len(checks.shape("x", x, (len(x), len(inner))))
        bb, bo, bi, warps = _tile(_EXACT if _is_exact(x) else _ROUNDED, batch)
        grid = tiles(len(outer), bo), tiles(batch, bb)
        share = bi * tiles(tiles(len(inner), bi), _shares(batch, grid, tiles(len(inner), bi)))
        shares = max(1, tiles(len(inner), share)) if share else 1
        is_whole = shares == 1
        # Not a view, where it is the result: autograd forbids to change views in place.
        shape = (batch, len(outer)) if is_whole else (shares, batch, len(outer))
        out = x.new_empty(shape, dtype=x.dtype if is_whole else torch.float32)
        launch(
            loops.multiply, (*grid, shares),
            x.contiguous(), inner, outer, scale, scale if bias is None else bias, out,
            batch, len(inner), len(outer), share,
            *inner.stride(), *outer.stride(), *scale.stride(), 0 if bias is None else bias.stride(0),
            softening**2, *three(settings),
            FORMULA=self.formula, DIM=inner.shape[1], FIRST_IS_TENSOR=is_tensor(settings), SCALES_INNER=not is_back,
            HAS_BIAS=is_whole and bias is not None, RECTIFY=is_whole and rectify, PRECISION=_precision(x),
            BB=bb, BO=bo, BI=bi, num_warps=warps, num_stages=_stages(x),
        )  # fmt: skip
        if is_whole:
            return out
        y = out.sum(0) if bias is None else out.sum(0).add_(bias)
        return (y.relu_() if rectify else y).to(x.dtype)

    def geometry_gradients(
        self,
        grad_y: Tensor,
        x: Tensor,
        source_pos: Tensor,
        target_pos: Tensor,
        scale: Tensor,
        softening: float,
        settings: Sequence[float | Tensor] = (),
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | float]:
        """Return the gradients of source positions, target positions, scales and the formula's parameter.

        Args:
            grad_y: gradient of the result, shape ``(batch, m)``.
            x: activations, shape ``(batch, n)``.
            source_pos: as in :meth:`multiply`.
            target_pos: as there.
            scale: as there.
            softening: as there.
            settings: as there.
        """
        from spatialgraph.kernels.cuda.loops import products as loops

        checks.geometry(source_pos, target_pos, scale)
        checks.shape("grad_y", grad_y, (len(x), len(target_pos)))
        grad, values = grad_y.to(x.dtype).contiguous(), x.contiguous()
        bj, bi, bb, warps = _PULL_EXACT if _is_exact(x) else _PULL_ROUNDED
        return spread(
            loops.pull_product, lambda targets: (grad[:, targets], values, len(values), grad.stride(0)),
            source_pos, target_pos, scale, self.formula, softening, settings, (bj, bi),
            PRECISION=_precision(x), BB=bb, num_warps=warps, num_stages=_stages(x),
        )  # fmt: skip


def _is_exact(x: Tensor) -> bool:
    """Tell whether products of activations are those of single precision."""
    return x.dtype == torch.float32 and not multiplies_in_tf32()


def _precision(x: Tensor) -> str:
    return "ieee" if _is_exact(x) else "tf32"


def _stages(x: Tensor) -> int:
    return 2 if _is_exact(x) else 3


def _tile(tiles_by_batch: dict[int | None, tuple[int, int, int, int]], batch: int) -> tuple[int, int, int, int]:
    return next(tile for most, tile in tiles_by_batch.items() if most is None or batch <= most)


def _shares(batch: int, grid: tuple[int, int], inner_tiles: int) -> int:
    """Return among how many programs the inner neurons are shared out; more would add up more partial sums."""
    if batch > 64:
        return 1
    return max(1, min(inner_tiles, _PROGRAMS // max(1, grid[0] * grid[1])))
