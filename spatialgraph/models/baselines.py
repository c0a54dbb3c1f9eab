"""Dense baselines: the networks of ``nn.Linear`` layers that spatial ones are compared with."""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.models.activations import Activation, make_activation
from spatialgraph.models.options import keywords, refuse_unknown
from spatialgraph.models.spiking_network import SpikingNetwork
from spatialgraph.models.spiking_pass import Pass
from spatialgraph.models.stages import DenseStage, check_normalized
from spatialgraph.settings import Setting

__all__ = ["DenseMLP", "DenseSNN"]


class DenseMLP(nn.Sequential):
    r"""Multi-layer perceptron of ``nn.Linear`` layers, the baseline of a :class:`SpatialMLP`.

    Args:
        sizes: layer sizes, inputs first.
        activation: as in :class:`SpatialMLP`.
        normalize: whether summed inputs of hidden layers are normalised as in :class:`SpatialMLP`, where it is the
            default too; biases then follow the normalisation.
        device: as in ``nn.Linear``.
        dtype: as in ``nn.Linear``.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument has a wrong shape, value or name.

    Example:
        >>> sum(p.numel() for p in DenseMLP([784, 14, 10]).parameters())
        11140
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Activation = "relu",
        normalize: bool = True,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        widths = checks.sizes(sizes)
        if normalize:
            check_normalized(DenseStage.of(widths))
        pairs = zip(widths[:-2], widths[1:-1], strict=True)
        hidden = [_DenseLayer(n, m, make_activation(activation), normalize, device, dtype) for n, m in pairs]
        super().__init__(*hidden, nn.Linear(widths[-2], widths[-1], device=device, dtype=dtype))

    def linears(self) -> list[nn.Linear]:
        """Return the layers, inputs first."""
        return [cast(nn.Linear, layer) for layer in self]


class _DenseLayer(nn.Linear):
    """A linear layer that normalises before its bias and activates after it."""

    normalize = Setting(checks.flag)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: Activation,
        normalize: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__(in_features, out_features, device=device, dtype=dtype)
        self.activation = activation
        self.normalize = normalize

    def forward(self, x: Tensor) -> Tensor:
        if not self.normalize:
            return self.activation(super().forward(x))
        total = F.layer_norm(F.linear(x, self.weight), (self.out_features,))
        return self.activation(total + self.bias)


class DenseSNN(SpikingNetwork):
    """Spiking network of ``nn.Linear`` layers, the baseline of a :class:`SpatialSNN`.

    Args:
        sizes: layer sizes, inputs first.
        device: as in ``nn.Linear``.
        dtype: as in ``nn.Linear``.
        **options: ``num_steps``, ``coding``, ``read_out``, ``beta``, ``threshold``, ``reset_mechanism``,
            ``spike_grad``, ``neuron``, ``normalize`` and ``drive`` as in :class:`SpatialSNN`.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument has a wrong shape, value or name.

    Example:
        >>> sum(p.numel() for p in DenseSNN([784, 14, 10]).parameters())
        11140
    """

    has_delays = False

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,  # noqa: ANN401 - passed on to SpikingNetwork
    ) -> None:
        refuse_unknown("DenseSNN", options, keywords(SpikingNetwork.__init__))
        widths = checks.sizes(sizes)
        self._stages = DenseStage.of(widths)
        super().__init__(self._stages, **options)
        pairs = zip(widths[:-1], widths[1:], strict=True)
        self.layers = nn.ModuleList(nn.Linear(n, m, device=device, dtype=dtype) for n, m in pairs)

    @property
    def stages(self) -> Sequence[DenseStage]:
        """The stages, one for each linear layer."""
        return self._stages

    def fan_outs(self) -> list[Tensor]:
        """Return the number of synapses that leave each neuron: of the inputs, then of each layer."""
        widths = [self._layer(0).in_features, *(stage.n_targets for stage in self._stages), 0]
        return [torch.full((n,), m) for n, m in zip(widths[:-1], widths[1:], strict=True)]

    def _check(self, x: Tensor) -> None:
        first = self._layer(0)
        checks.features("x", x, first.in_features, first.weight)

    def _pass(self, lines: list[Tensor | None]) -> Pass:
        biases = [self._layer(number).bias for number in range(len(self.layers))]
        return Pass(biases, lambda number, x, bias, _: F.linear(x, self._layer(number).weight, bias), {})

    def _layer(self, number: int) -> nn.Linear:
        return cast(nn.Linear, self.layers[number])
