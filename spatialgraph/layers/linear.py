"""SpatialLinear, a drop-in replacement for ``nn.Linear``."""

from typing import ClassVar, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.functional.dense import all_to_all
from spatialgraph.functional.derived import refusing
from spatialgraph.functional.gains import default_gain
from spatialgraph.functional.pairs import pairwise_length, pairwise_weight
from spatialgraph.functional.polarity import check_polarity, polarity_of
from spatialgraph.laws import Law, make_law
from spatialgraph.layers.cache import Cache, Sources, law_settings, may_be_cached
from spatialgraph.settings import Setting
from spatialgraph.tracing import is_observed

__all__ = ["DerivedWeight", "SpatialLinear"]

_REFUSAL = (
    "weight of a SpatialLinear is computed from the positions of its neurons, so it cannot be written to, replaced, "
    "pruned, normalised or parametrised; change source_pos, target_pos or raw_polarity instead, or the nn.Linear "
    "that to_linear() returns"
)


def _refuse(*args: object, **kwargs: object) -> NoReturn:
    raise TypeError(_REFUSAL)


DerivedWeight = refusing("DerivedWeight", _REFUSAL)


class _Parameters(dict[str, nn.Parameter | None]):
    """The parameters of a layer; explains to utilities that look up ``weight`` why it is not one of them."""

    def __missing__(self, name: str) -> nn.Parameter | None:
        if name == "weight":
            _refuse()
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        if name == "weight":
            _refuse()
        return super().__contains__(name)

    def __delitem__(self, name: str) -> None:
        if name == "weight":
            _refuse()
        super().__delitem__(name)


class SpatialLinear(nn.Module):
    r"""Drop-in replacement for :class:`torch.nn.Linear` whose weights are a function of the positions of its neurons.

    .. math:: y_j = \gamma \sum_i s_i\, w(|p_i - q_j|)\, x_i + b_j

    It has O(n) parameters. In ``eval()`` on the CPU, if the positions need no gradients, the weights are cached until a
    parameter changes or the layer is trained.

    Args:
        in_features: number of source neurons.
        out_features: number of target neurons.
        bias: whether targets have a bias.
        dim: number of dimensions d.
        polarity_mode: ``"graded"`` or ``"binary"``, as in :class:`~spatialgraph.SpatialGraph`.
        law: from length to weight, a name or a :class:`~spatialgraph.laws.Law`.
        gain: constant factor :math:`\gamma`; None for one that keeps the scale of the inputs, see
            :func:`~spatialgraph.functional.gains.default_gain`.
        device: as in ``nn.Linear``.
        dtype: as in ``nn.Linear``.

    Raises:
        TypeError: if a number of neurons or dimensions is not an int, ``bias`` is not a bool, ``gain`` is not a number,
            or ``law`` is neither a name nor a law.
        ValueError: if a number of neurons or dimensions is below 1, ``gain`` is not finite, or ``law`` or
            ``polarity_mode`` is unknown.

    Example:
        >>> layer = SpatialLinear(784, 2048)
        >>> layer(torch.zeros(5, 784)).shape, sum(p.numel() for p in layer.parameters())
        (torch.Size([5, 2048]), 11328)
    """

    parameter_kinds: ClassVar[dict[str, str]] = {
        "source_pos": "positions",
        "target_pos": "positions",
        "raw_polarity": "polarities",
        "bias": "biases",
    }

    gain = Setting(checks.number)
    polarity_mode = Setting(check_polarity)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dim: int = 3,
        polarity_mode: str = "graded",
        law: str | Law = "inverse_distance",
        gain: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self._parameters = _Parameters()
        self.in_features = checks.integer("in_features", in_features, minimum=1)
        self.out_features = checks.integer("out_features", out_features, minimum=1)
        self.dim = checks.integer("dim", dim, minimum=1)
        self.polarity_mode = check_polarity("polarity_mode", polarity_mode)
        law = make_law(law)
        self.gain = self._default_gain(law) if gain is None else gain  # first: a law on "meta" has no values
        self.law = law.to(device=device, dtype=dtype)
        self.source_pos = nn.Parameter(torch.empty(in_features, dim, device=device, dtype=dtype))
        self.target_pos = nn.Parameter(torch.empty(out_features, dim, device=device, dtype=dtype))
        self.raw_polarity = nn.Parameter(torch.empty(in_features, device=device, dtype=dtype))
        has_bias = checks.flag("bias", bias)
        self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if has_bias else None
        self._cache: Cache[Tensor] = Cache()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw positions of two layers, 1 apart along the last axis, and polarities from N(0, 1); set biases to 0."""
        with torch.no_grad():
            for values in (self.source_pos, self.target_pos, self.raw_polarity):
                values.normal_()
            self.source_pos[:, -1] = 0.0
            self.target_pos[:, -1] = 1.0
            if self.bias is not None:
                self.bias.zero_()

    @property
    def polarity(self) -> Tensor:
        """Factors on the outputs of the sources, shape ``(in_features,)``."""
        return polarity_of(self.raw_polarity, self.polarity_mode)

    @property
    def weight(self) -> Tensor:
        """The signed weights in the layout of ``nn.Linear``, shape ``(out_features, in_features)``, differentiable.

        They are computed at each access and are read-only.
        """
        weight = self._matrix()
        return weight if is_observed(weight) else weight.as_subclass(DerivedWeight)

    @weight.setter
    def weight(self, value: object) -> None:
        _refuse()

    def to_linear(self) -> nn.Linear:
        """Return an ``nn.Linear`` with a copy of the current weights and bias.

        Example:
            >>> layer, x = SpatialLinear(3, 2), torch.rand(5, 3)
            >>> torch.allclose(layer.to_linear()(x), layer(x), atol=1e-6)
            True
        """
        weight = self.weight.detach()
        linear = nn.Linear(
            self.in_features, self.out_features, self.bias is not None, device=weight.device, dtype=weight.dtype
        )
        with torch.no_grad():
            linear.weight.copy_(weight)
            if self.bias is not None:
                linear.bias.copy_(self.bias)
        return linear.train(self.training)

    def forward(self, x: Tensor) -> Tensor:
        """Map activations of shape ``(..., in_features)`` to ``(..., out_features)``."""
        checks.features("x", x, self.in_features, self.source_pos)
        weight = self._cache.get(self._sources, self._matrix)
        if weight is not None:
            return F.linear(x, weight, self.bias)
        return all_to_all(x, self.source_pos, self.target_pos, self.gain * self.polarity, self.law, self.bias)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Add a parameter, except under names that utilities give to parts of a weight."""
        if name in ("weight", "weight_orig", "weight_g", "weight_v"):
            _refuse()
        super().register_parameter(name, param)

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, dim={self.dim}, "
            f"bias={self.bias is not None}, polarity_mode={self.polarity_mode!r}"
        )

    def _default_gain(self, law: Law) -> float:
        """Return the gain for positions drawn with a fixed seed, so that it does not depend on PyTorch's seed."""
        generator = torch.Generator().manual_seed(0)
        source_pos, target_pos = torch.randn(2, 64, self.dim, generator=generator, device="cpu")
        source_pos[:, -1], target_pos[:, -1] = 0.0, 1.0
        lengths = pairwise_length(source_pos, target_pos)
        device = next((values.device for values in law.state_dict().values()), lengths.device)
        return default_gain(self.in_features, lengths.to(device), law)

    def _matrix(self) -> Tensor:
        return pairwise_weight(self.source_pos, self.target_pos, self.gain * self.polarity, self.law)

    def _sources(self) -> Sources | None:
        """Return the inputs of the weights; None if they must not be cached in this pass."""
        if self.training:  # first, because it is the fastest check
            return None
        tensors = (self.source_pos, self.target_pos, self.raw_polarity, *self.law.parameters())
        if not tensors[0].is_cpu:  # the settings of some laws would have to be waited for
            return None
        of_law = law_settings(self.law)
        if of_law is None or not may_be_cached(self, *tensors) or type(self).polarity is not SpatialLinear.polarity:
            return None
        return Sources(tensors, (self.gain, self.polarity_mode, *of_law))
