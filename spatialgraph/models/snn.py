"""Spiking networks: spatial ones and their dense baseline."""

import functools
import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.functional.delays import line_length
from spatialgraph.functional.leaky import Surrogate
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.transmission import Transmission
from spatialgraph.models.mlp import make_graph
from spatialgraph.models.serving import Served
from spatialgraph.models.spiking_network import NeuronFactory, Sender, SpikingNetwork, Stage
from spatialgraph.settings import Setting
from spatialgraph.tracing import is_observed

__all__ = ["DenseSNN", "SpatialSNN"]


def _check_max_delay(name: str, value: Any) -> int | None:  # noqa: ANN401 - any value is checked
    return None if value is None else checks.integer(name, value, minimum=1)


class SpatialSNN(SpikingNetwork):
    r"""Spiking network whose weights, and delays if wanted, follow from the positions of its neurons.

    The current of a neuron is :math:`I_j[t] = \mathrm{norm}(\gamma \sum_i s_i\, w(r_{ij})\, x_i[t - r_{ij}/v]) + b_j`,
    the neurons are leaky integrate-and-fire ones (see :class:`~spatialgraph.neurons.Leaky`). It is the spiking network
    of `Erb et al. (2025) <https://arxiv.org/abs/2506.13410>`_, with O(n) parameters; delays follow from lengths as in
    `arXiv 2511.01632 <https://arxiv.org/abs/2511.01632>`_. No state is kept between calls. In ``eval()`` without
    gradients the weights are computed once and kept until what they follow from changes.

    Args:
        graph: layer sizes, inputs first, or a :class:`~spatialgraph.SpatialGraph`.
        dim: number of axes d, with sizes only.
        steps: number of time steps T of a run.
        coding: how inputs enter: ``"current"`` (the values, constant over time), ``"rate"`` (random spikes),
            ``"latency"`` (one spike each, the sooner the larger the value), or None for a time series.
        read_out: ``"potential"`` (outputs integrate and never fire; logits are mean potentials) or ``"count"`` (outputs
            fire; logits are numbers of spikes).
        beta: share of the potential that stays in each step.
        threshold: the potential above which a neuron fires.
        reset: ``"subtract"``, ``"zero"`` or ``"none"``.
        surrogate: gradient of a spike, ``"fast_sigmoid"`` or another name from ``snntorch.surrogate``. Outputs that are
            counted have a wider fast sigmoid by default, of slope 2.
        neuron: makes the neurons of a group from their number in place of leaky integrate-and-fire ones, such as
            ``lambda n: snntorch.Synaptic(alpha=0.9, beta=0.8)``; ``beta`` is then that of ``"potential"`` outputs.
        normalize: whether the currents of each stage's hidden neurons are brought to mean 0 and standard deviation
            ``drive`` before the bias (layer normalisation without parameters); None does so where the network has
            layers and neither delays nor inputs of single spikes, whose steps without spikes have nothing to
            normalise.
        drive: standard deviation of normalised currents, in thresholds.
        max_delay: length of the delay line in time steps, beyond which a delay is an error; None keeps all that
            arrives within the run.
        gain: constant factor on the weights, with sizes only.
        **options: ``wiring``, ``spacing``, ``init``, ``polarity``, ``law``, ``weights``, ``velocity``, ``delays``,
            ``anchored``, ``generator`` as in :meth:`SpatialGraph.layered <spatialgraph.SpatialGraph.layered>`, with
            sizes only.

    Raises:
        TypeError: if an argument is of the wrong type, or an option is given beside a graph that settles it.
        ValueError: if an argument breaks a rule, or a delay is longer than the line.

    Example:
        >>> model = SpatialSNN([784, 2048, 10], dim=3, steps=25)
        >>> model(torch.zeros(5, 784)).shape, sum(p.numel() for p in model.parameters())
        (torch.Size([5, 10]), 10576)
    """

    max_delay = Setting(_check_max_delay)

    def __init__(
        self,
        graph: Sequence[int] | SpatialGraph,
        dim: int | None = None,
        *,
        steps: int = 25,
        coding: str | None = "current",
        normalize: bool | None = None,
        max_delay: int | None = None,
        gain: float | None = None,
        read_out: str = "potential",
        beta: float = 0.95,
        threshold: float = 1.0,
        reset: str = "subtract",
        surrogate: str | Surrogate = "fast_sigmoid",
        neuron: NeuronFactory | None = None,
        drive: float = 0.8,
        **options: Any,  # noqa: ANN401 - passed on to SpatialGraph.layered
    ) -> None:
        network = make_graph(graph, dim, gain, options)
        if normalize is None:
            normalize = network.is_layered and network.velocity is None and coding in ("current", "rate")
        super().__init__(
            _stages(network),
            steps=steps,
            coding=coding,
            read_out=read_out,
            beta=beta,
            threshold=threshold,
            reset=reset,
            surrogate=surrogate,
            neuron=neuron,
            normalize=normalize,
            drive=drive,
        )
        self.spatial_graph = network
        self.max_delay = max_delay
        if self.has_delays:
            self._check_line(network.delays())
        self._served = Served()

    @property
    def graph(self) -> SpatialGraph:
        """The network; not a submodule of this name, which ``torch.export`` keeps for its own graph."""
        return self.spatial_graph

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages, one for each projection of the graph."""
        return _stages(self.graph)

    @property
    def has_delays(self) -> bool:
        """Whether the graph has a velocity."""
        return self.graph.velocity is not None

    @property
    def output_order(self) -> Tensor | None:
        """How the outputs, taken stage by stage, are to be ordered; None if they are."""
        projections = self.graph.projections
        if all(p.hidden == p.n_targets for p in projections[:-1]):
            return None
        return torch.argsort(torch.cat([p.targets[p.hidden :] for p in projections]))

    def fan_outs(self) -> list[Tensor]:
        """Return the number of synapses that leave each neuron: of the inputs, then of each stage's targets."""
        counts = torch.bincount(self.graph.edge_index[0], minlength=self.graph.neurons)
        members = [self.graph.projections[0].sources, *(p.targets for p in self.graph.projections)]
        return [counts[numbers] for numbers in members]

    def reset_parameters(self) -> None:
        """Draw the graph's parameters anew."""
        self.graph.reset_parameters()

    def _check(self, x: Tensor) -> None:
        checks.features("x", x, self.graph.projections[0].n_sources, self.graph.raw_bias)

    def _sender(self) -> Sender:
        if self.has_delays:
            self.graph.connectivity.verify()
            return functools.partial(self._send_delayed, Transmission(self.graph))
        transmission = self._served.transmission(self, self.graph)
        return lambda number, signal, line, bias: (transmission.send(number, signal, bias), None)

    def _send_delayed(
        self, transmission: Transmission, number: int, signal: Tensor, line: Tensor | None, bias: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        delay = transmission.delay(number)
        self._check_line(delay)
        signal = signal.expand(self.steps, *signal.shape[1:])
        if line is not None and line.shape[1:] != signal.shape[1:]:
            wanted = ("steps", *signal.shape[1:])
            raise ValueError(f"state must have lines of shape {wanted}, got {tuple(line.shape)}")
        current = transmission.send_delayed(number, signal, line, delay)
        past = signal if line is None else torch.cat([line, signal])
        reach = len(past) if is_observed(delay) else line_length(delay)
        return current if bias is None else current + bias, past[max(0, len(past) - reach) :]

    def _biases(self) -> list[Tensor]:
        bias = self.graph.bias
        return [bias[projection.target_index] for projection in self.graph.projections]

    def _check_line(self, delay: Tensor) -> None:
        if is_observed(delay):
            return
        longest = float(delay.detach().max()) if delay.numel() else 0.0
        if not math.isfinite(longest):
            raise ValueError(
                f"delays must be finite, got {longest:g}; positions have diverged, or the velocity is too small"
            )
        if self.max_delay is not None and longest > self.max_delay:
            raise ValueError(
                f"delays must not be longer than the line (max_delay={self.max_delay} steps), got {longest:g}; "
                "raise max_delay or the graph's velocity"
            )


class DenseSNN(SpikingNetwork):
    """Spiking network of ``nn.Linear`` layers, the baseline of a :class:`SpatialSNN`.

    Args:
        sizes: layer sizes, inputs first.
        **options: ``steps``, ``coding``, ``read_out``, ``beta``, ``threshold``, ``reset``, ``surrogate``, ``neuron``,
            ``normalize`` (by default off) and ``drive`` as in :class:`SpatialSNN`.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument breaks a rule.

    Example:
        >>> sum(p.numel() for p in DenseSNN([784, 14, 10]).parameters())
        11140
    """

    has_delays = False

    def __init__(self, sizes: Sequence[int], **options: Any) -> None:  # noqa: ANN401 - passed on
        widths = checks.sizes(sizes)
        last = len(widths) - 1
        self._stages = tuple(
            Stage((number - 1,), 0 if number == last else n, n) for number, n in enumerate(widths[1:], start=1)
        )
        super().__init__(self._stages, **options)
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in zip(widths[:-1], widths[1:], strict=True))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages, one for each linear layer."""
        return self._stages

    def fan_outs(self) -> list[Tensor]:
        """Return the number of synapses that leave each neuron: of the inputs, then of each layer."""
        widths = [self._layer(0).in_features, *(stage.targets for stage in self._stages), 0]
        return [torch.full((n,), m) for n, m in zip(widths[:-1], widths[1:], strict=True)]

    def _check(self, x: Tensor) -> None:
        first = self._layer(0)
        checks.features("x", x, first.in_features, first.weight)

    def _sender(self) -> Sender:
        return lambda number, signal, line, bias: (F.linear(signal, self._layer(number).weight, bias), None)

    def _biases(self) -> list[Tensor]:
        return [self._layer(number).bias for number in range(len(self.layers))]

    def _layer(self, number: int) -> nn.Linear:
        return cast(nn.Linear, self.layers[number])


def _stages(graph: SpatialGraph) -> tuple[Stage, ...]:
    return tuple(Stage(p.blocks, p.hidden, p.n_targets) for p in graph.projections)
