"""Quantisation while training: a network computes with numbers of few bits, and learns the numbers behind them."""

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spatialgraph.devices import exact_dtype
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.quantization import codes_of, fit_quantization, scales_of, set_codes_
from spatialgraph.graph.scales import Quantization, check_bits, round_to
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["QuantizeWhileTraining"]

_COORDINATES = ("coords", "grid_coords", "anchor_pos")
_NUMBERS = ("raw_polarity", "raw_grid_polarity", "raw_bias")


class QuantizeWhileTraining:
    r"""Let a network compute with positions, polarities and biases of few bits, and learn the numbers behind them.

    In each pass a number :math:`v` is replaced by :math:`s \cdot \mathrm{clip}(\mathrm{round}(v / s))`, where the scale
    :math:`s` of an axis, or of the polarities or biases of a layer, is that of least squared error when this is
    attached. Numbers of a layer that are all 0 then, as biases are at first, have no scale yet: they are rounded by
    :meth:`remove` alone. The gradient is that of :math:`v` (a straight-through estimator, `Bengio et al., 2013
    <https://arxiv.org/abs/1308.3432>`_). Binary polarities are rounded by :meth:`remove` alone. Attach this to a
    network that is trained already, and train it for a few epochs more.

    The numbers are replaced by ``torch.nn.utils.parametrize``, so that the network is saved, and its neurons placed,
    after :meth:`remove` only.

    Args:
        bits: number of bits, from 2 to 8.

    Raises:
        TypeError: if ``bits`` is not an int.
        ValueError: if it is out of range.

    Example:
        >>> import spatialgraph as sg
        >>> model = sg.SpatialMLP([8, 4])
        >>> quantizer = QuantizeWhileTraining(4).attach(model)  # train the model, then:
        >>> quantizer.remove()
        >>> model.graph.quantization.bits
        4
    """

    def __init__(self, bits: int) -> None:
        self.bits = check_bits(bits)
        self._graph: SpatialGraph | None = None
        self._roundings: list[_Rounding] = []

    def attach(self, network: nn.Module) -> "QuantizeWhileTraining":
        """Attach to a graph or a model that has one, and start rounding.

        Raises:
            TypeError: if ``network`` is neither a SpatialGraph nor a model that has one.
            ValueError: if this is attached to a network, if another one is to this network, or as
                :func:`~spatialgraph.quantize` raises.
        """
        graph = graph_of(network)
        if (
            self._graph is not None
            or parametrize.is_parametrized(graph.positions)
            or parametrize.is_parametrized(graph)
        ):
            raise ValueError("network must not be quantised or parametrised already, call remove() first")
        quantization = fit_quantization(graph, self.bits)  # raises for what cannot be quantised
        self._roundings = []
        for module, names in ((graph.positions, _COORDINATES), (graph, _NUMBERS)):
            for name in names:
                is_rounded = name != "raw_polarity" or graph.polarity_mode == "graded"
                if getattr(module, name).numel() and is_rounded:
                    whole = name if module is graph else f"positions.{name}"
                    rounding = _Rounding(graph, whole, quantization)
                    parametrize.register_parametrization(module, name, rounding, unsafe=True)
                    self._roundings.append(rounding)
        self._graph = graph
        return self

    @torch.no_grad()
    def remove(self) -> None:
        """Give the network the rounded numbers for good, and detach; does nothing if not attached."""
        if self._graph is None:
            return
        graph, self._graph = self._graph, None
        for module in (graph.positions, graph):
            for name in list(getattr(module, "parametrizations", {})):
                parametrize.remove_parametrizations(module, name, leave_parametrized=False)
        graph.quantization = _completed(self._roundings[0].quantization, fit_quantization(graph, self.bits))
        set_codes_(graph, graph.quantization, codes_of(graph, graph.quantization))


def _completed(quantization: Quantization, fitted: Quantization) -> Quantization:
    """Return scales with those that were fitted in place of 0."""

    def chosen(scales: tuple[float, ...], others: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(own if own > 0 else other for own, other in zip(scales, others, strict=True))

    return dataclasses.replace(
        quantization,
        polarity_scales=chosen(quantization.polarity_scales, fitted.polarity_scales),
        bias_scales=chosen(quantization.bias_scales, fitted.bias_scales),
    )


class _Rounding(nn.Module):
    """Rounds one parameter of a network."""

    def __init__(self, graph: SpatialGraph, name: str, quantization: Quantization) -> None:
        super().__init__()
        self._graph = (graph,)  # in a tuple, for it is no part of this module
        self._name = name
        self.use(quantization)

    def use(self, quantization: Quantization) -> None:
        """Round by these scales from now on."""
        self.quantization = quantization
        self._scale = self._located = scales_of(self._graph[0], quantization)[self._name]

    def get_extra_state(self) -> dict[str, Any]:
        """Return the scales, for checkpoints."""
        return self.quantization.to_settings()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Use the scales of a checkpoint."""
        self.use(Quantization.from_settings(state))

    def forward(self, values: Tensor) -> Tensor:
        """Return the rounded numbers, with the gradients of the others."""
        if self._located.device != values.device:  # once: to copy it in each pass would wait for the device
            self._located = self._scale.to(values.device, exact_dtype(values.device))
        scale = self._located
        coded = values.detach()[:, : len(scale)] if values.dim() > 1 else values.detach()  # heights have no codes
        rounded = round_to(coded.to(scale.dtype), scale, self.quantization.largest).to(values.dtype)
        rounded = torch.where(scale > 0, rounded, coded)
        if values.dim() > 1:
            rounded = torch.cat([rounded, values.detach()[:, len(scale) :]], dim=1)
        return values + (rounded - values).detach()
