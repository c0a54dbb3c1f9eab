"""The operations that have kernels, and the kernels of the library for them."""

from typing import Any

import torch
from torch import Tensor

from spatialgraph.kernels import channels, compressed, delays, dense, handover, leaky, normalization, stencils
from spatialgraph.kernels.cuda import compressed as gpu_compressed
from spatialgraph.kernels.cuda import delays as gpu_delays
from spatialgraph.kernels.cuda import dense as gpu_dense
from spatialgraph.kernels.cuda import launching
from spatialgraph.kernels.cuda import leaky as gpu_leaky
from spatialgraph.kernels.cuda import normalization as gpu_normalization
from spatialgraph.kernels.cuda import products as gpu_products
from spatialgraph.kernels.cuda import rows as gpu_rows
from spatialgraph.kernels.registry import find, register
from spatialgraph.laws import (
    LAWS,
    Compact,
    Cosine,
    CosineWave,
    Gaussian,
    InverseDistance,
    Law,
    MexicanHat,
    SineWave,
    Yukawa,
)

__all__ = [
    "COMPRESSED",
    "DELAYS",
    "GATHERED_DELAYS",
    "LEAKY",
    "NORMALIZATION",
    "STENCILS",
    "channel_law",
    "compressed_law",
    "dense_law",
    "parameter_gradients",
    "product_law",
    "settings_of",
]

COMPRESSED = "product in compressed rows"
DELAYS = "delayed product"
GATHERED_DELAYS = "delayed product, target by target"
LEAKY = "leaky integrate-and-fire"
NORMALIZATION = "layer normalization"
STENCILS = "points on a grid"


def _available(*values: Tensor) -> bool:
    return handover.available(*values)


register(COMPRESSED, compressed, _available)
register(DELAYS, delays, _available)
register(LEAKY, leaky, _available)
register(NORMALIZATION, normalization, _available)
register(STENCILS, stencils, _available)

# The names of the laws' formulas in kernels/loops/formulas.py.
_FORMULAS: dict[type[Law], str] = {
    InverseDistance: "inverse_distance",
    Gaussian: "gaussian",
    Yukawa: "yukawa",
    Cosine: "cosine",
    SineWave: "sine_wave",
    CosineWave: "cosine_wave",
    MexicanHat: "mexican_hat",
    Compact: "compact",
}
for _law, _formula in _FORMULAS.items():
    register(("dense", _law), dense.PairKernels(_formula), _available)
    register(("compressed", _law), compressed.EdgeKernels(_formula), _available)
    register(("channels", _law), channels.ChannelKernels(_formula), _available)
register(COMPRESSED, gpu_rows, launching.available)
register(GATHERED_DELAYS, gpu_delays, launching.available)
register(LEAKY, gpu_leaky, launching.available)
register(NORMALIZATION, gpu_normalization, launching.available)
# Those of Triton have the names of the laws.
for _formula, _law in LAWS.items():
    register(("dense", _law), gpu_dense.TileKernels(_formula), launching.available)
    register(("compressed", _law), gpu_compressed.EdgeTileKernels(_formula), launching.available)
    register(("products", _law), gpu_products.ProductKernels(_formula), launching.available)


def dense_law(law: Law, *values: Tensor) -> Any | None:  # noqa: ANN401
    """Return the kernels for weights of all pairs by a law, None where there are none for these tensors.

    Example:
        >>> import torch
        >>> dense_law(InverseDistance(), torch.zeros(1, 1, dtype=torch.float16)) is None
        True
    """
    return find(("dense", type(law)), *values)


def compressed_law(law: Law, *values: Tensor) -> Any | None:  # noqa: ANN401
    """Return the kernels for weights of listed edges by a law, None where there are none for these tensors."""
    return find(("compressed", type(law)), *values)


def product_law(law: Law, *values: Tensor) -> Any | None:  # noqa: ANN401
    """Return the kernels for products with weights of all pairs by a law, None where there are none for these tensors.

    They compute the weights where they are used.
    """
    return find(("products", type(law)), *values)


def channel_law(law: Law, *values: Tensor) -> Any | None:  # noqa: ANN401
    """Return the kernels for weights of pairs of channels by a law, None where there are none for these tensors."""
    return find(("channels", type(law)), *values)


def settings_of(law: Law) -> list[float | Tensor]:
    """Return the numbers of a law that its kernels take besides the softening, in the order of its arguments.

    Parameters and buffers stay tensors: to read their values would wait for a GPU.

    Example:
        >>> from spatialgraph.laws import make_law
        >>> settings_of(make_law("mexican_hat")), settings_of(make_law("inverse_distance"))
        ([tensor(1.), 2.0, 0.5], [])
    """
    names = _NUMBERS.get(type(law))
    if names is None:
        numbers = [name for name, value in law.settings().items() if not isinstance(value, bool)]
        names = _NUMBERS[type(law)] = [name for name in numbers if name != "softening"]
    return [getattr(law, name) for name in names]


_NUMBERS: dict[type[Law], list[str]] = {}


def parameter_gradients(law: Law, gradient: float | Tensor) -> list[Tensor]:
    """Return the gradients of a law's parameters from that of its kernels, which have one parameter at most."""
    if isinstance(gradient, Tensor):
        return [gradient.to(parameter) for parameter in law.parameters()]
    return [torch.full_like(parameter, gradient) for parameter in law.parameters()]
