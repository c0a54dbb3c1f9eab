"""The precision of a training."""

import contextlib
from collections.abc import Iterator

import torch

__all__ = ["PRECISIONS", "check_precision", "products_in"]

PRECISIONS = ("32-true", "tf32", "bf16-mixed", "16-mixed")
"""Names of precisions: Lightning's, and ``"tf32"``."""


def check_precision(precision: str, device: torch.device) -> None:
    """Check that a device trains in a precision, one of ``PRECISIONS``.

    Raises:
        ValueError: if it does not, or if the settings of TF32 are such that PyTorch cannot read them.

    Example:
        >>> check_precision("16-mixed", torch.device("cpu"))
        Traceback (most recent call last):
            ...
        ValueError: precision must be "bf16-mixed" for half precision on the CPU, got '16-mixed'
    """
    if precision == "16-mixed" and device.type == "cpu":
        raise ValueError(f'precision must be "bf16-mixed" for half precision on the CPU, got {precision!r}')
    if precision == "tf32":
        _settings()


@contextlib.contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Let single-precision products be in TF32 for the precision ``"tf32"``, then as before; else change nothing.

    Raises:
        ValueError: if the settings of TF32 are such that PyTorch cannot read them.

    Example:
        >>> with products_in("tf32"):
        ...     torch.get_float32_matmul_precision()
        'high'
        >>> torch.get_float32_matmul_precision()
        'highest'
    """
    if precision != "tf32":
        yield
        return
    products, convolutions = _settings()
    try:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def _settings() -> tuple[str, bool]:
    """Return the present precision of products, and whether convolutions are in TF32."""
    try:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError as error:  # from PyTorch 2.9 on there is another way to set TF32, and the two do not mix
        raise ValueError(
            "precision must be \"32-true\" where torch.backends sets fp32_precision, got 'tf32'"
        ) from error
