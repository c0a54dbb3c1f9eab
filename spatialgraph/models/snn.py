"""SpatialSNN: the spiking network whose neurons have positions."""

import functools
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional.delay_steps import line_length
from spatialgraph.graph.saved_models import register_model
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.transmission import PrecomputedTransmission, Transmission
from spatialgraph.models.neuron_groups import NeuronGroups
from spatialgraph.models.options import keywords, make_graph
from spatialgraph.models.serving import Served
from spatialgraph.models.spiking_network import SpikingNetwork
from spatialgraph.models.spiking_pass import Pass, RecurrentSynapses
from spatialgraph.models.stages import Stage, output_order
from spatialgraph.settings import Setting
from spatialgraph.tracing import is_observed

__all__ = ["SpatialSNN"]


# What a file says of a network besides its graph and neurons.
_SAVED = ("num_steps", "coding", "read_out", "normalize", "drive", "max_delay")


def _check_max_delay(name: str, value: Any) -> int | None:  # noqa: ANN401 - any value is checked
    return None if value is None else checks.integer(name, value, minimum=1)


@register_model
class SpatialSNN(SpikingNetwork):
    r"""Spiking network whose weights, and delays if wanted, follow from the positions of its neurons.

    The current of a neuron is :math:`I_j[t] = \mathrm{norm}(\gamma \sum_i s_i\, w(r_{ij})\, x_i[t - d_{ij}]) + b_j`,
    where :math:`d_{ij} = r_{ij} / v` with a velocity and 0 without one. The neurons are leaky integrate-and-fire ones
    (see :class:`~spatialgraph.neurons.Leaky`). It is the spiking network of `Erb et al. (2025)
    <https://arxiv.org/abs/2506.13410>`_, with O(n) parameters; delays follow from lengths as in `arXiv 2511.01632
    <https://arxiv.org/abs/2511.01632>`_. The spikes of recurrent synapses arrive one step later, or with a velocity
    after :math:`d_{ij} = \max(1, r_{ij} / v)` steps. No state is kept between calls. In ``eval()`` on the CPU
    without gradients, the weights are cached until a value that they depend on changes or the model is trained.

    Args:
        graph: layer sizes, inputs first, or a :class:`~spatialgraph.SpatialGraph`.
        dim: number of axes d, with sizes only.
        num_steps: number of time steps T of a run.
        coding: how inputs enter: ``"current"`` (the values, constant over time), ``"rate"`` (random spikes),
            ``"latency"`` (one spike each, the sooner the larger the value), or None for a time series.
        read_out: ``"potential"`` (outputs integrate and never fire; logits are mean potentials) or ``"count"`` (outputs
            fire; logits are numbers of spikes).
        beta: share of the potential that stays in each step.
        threshold: the potential above which a neuron fires.
        reset_mechanism: ``"subtract"``, ``"zero"`` or ``"none"``.
        spike_grad: gradient of a spike, ``"fast_sigmoid"`` or another name from ``snntorch.surrogate``. Outputs that
            are counted have a wider fast sigmoid by default, of slope 2.
        neuron: makes the neurons of a group from their number in place of leaky integrate-and-fire ones, such as
            ``lambda n: snntorch.Synaptic(alpha=0.9, beta=0.8)``; ``beta`` is then that of ``"potential"`` outputs.
        normalize: whether the currents of each stage's hidden neurons are brought to mean 0 and standard deviation
            ``drive`` before the bias (layer normalisation without parameters); None does so where the network has
            layers and neither delays nor inputs of single spikes, whose steps without spikes have nothing to
            normalise.
        drive: standard deviation of normalised currents, in thresholds.
        max_delay: length of the delay line in time steps, beyond which a delay is an error; None keeps all that
            arrives within the run.
        **options: ``wiring``, ``recurrent``, ``spacing``, ``init``, ``polarity_mode``, ``law``, ``gain``,
            ``weight_mode``, ``velocity``, ``delay_mode``, ``anchored``, ``generator``, ``device``, ``dtype`` as in
            :meth:`SpatialGraph.layered <spatialgraph.SpatialGraph.layered>`, with sizes only.

    Raises:
        TypeError: if an argument is of the wrong type, or an option is given beside a graph that settles it.
        ValueError: if an argument has a wrong shape, value or name, or a delay is longer than the line.

    Example:
        >>> model = SpatialSNN([784, 2048, 10], dim=3, num_steps=25)
        >>> model(torch.zeros(5, 784)).shape, sum(p.numel() for p in model.parameters())
        (torch.Size([5, 10]), 10576)
    """

    max_delay = Setting(_check_max_delay)

    def __init__(
        self,
        graph: Sequence[int] | SpatialGraph,
        dim: int | None = None,
        *,
        max_delay: int | None = None,
        **options: Any,  # noqa: ANN401 - passed on to SpikingNetwork and SpatialGraph.layered
    ) -> None:
        known = keywords(SpikingNetwork.__init__)
        dynamics = {name: options.pop(name) for name in known if name in options}
        network = make_graph(type(self).__name__, graph, dim, options, [*known, "max_delay"])
        if dynamics.get("normalize") is None and not (network.is_layered and network.velocity is None):
            dynamics["normalize"] = False  # a step without spikes has nothing to normalise
        super().__init__(network.feed_forward_projections, **dynamics)
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
    def stages(self) -> Sequence[Stage]:
        """The stages, the feed-forward projections of the graph."""
        return self.graph.feed_forward_projections

    @property
    def recurrent_stages(self) -> Collection[int]:
        """Numbers of the stages whose neurons have recurrent synapses."""
        return self.graph.recurrent_numbers.keys()

    @property
    def has_delays(self) -> bool:
        """Whether the graph has a velocity."""
        return self.graph.velocity is not None

    @property
    def output_order(self) -> Tensor | None:
        """How the outputs, taken stage by stage, are to be ordered; None if they are."""
        return output_order([(stage.hidden, stage.targets) for stage in self.graph.feed_forward_projections])

    def fan_outs(self) -> list[Tensor]:
        """Return the number of synapses that leave each neuron: of the inputs, then of each stage's targets."""
        counts = torch.bincount(self.graph.edge_index[0], minlength=self.graph.neurons)
        members = [self.graph.projections[0].sources, *(p.targets for p in self.graph.feed_forward_projections)]
        return [counts[numbers] for numbers in members]

    def saved_settings(self) -> dict[str, Any]:
        """Return what the network is besides its graph, neurons included, for :func:`spatialgraph.save`."""
        own = {name: getattr(self, name) for name in _SAVED}
        outputs = self.output_neurons.saved_settings() if isinstance(self.output_neurons, NeuronGroups) else None
        neurons = {"hidden_neurons": self.hidden_neurons.saved_settings(), "output_neurons": outputs}
        return own | {"beta": self.integrator.beta} | neurons

    @classmethod
    def from_saved(cls, graph: SpatialGraph, settings: Mapping[str, Any]) -> "SpatialSNN":
        """Build a model of its graph and of what :meth:`saved_settings` returned."""
        options = {name: settings[name] for name in (*_SAVED, "beta")}
        model = cls(graph, **options)
        model.hidden_neurons.restore(settings["hidden_neurons"])
        if isinstance(model.output_neurons, NeuronGroups):
            model.output_neurons.restore(settings["output_neurons"])
        return model

    def reset_parameters(self) -> None:
        """Draw the graph's parameters anew."""
        self.graph.reset_parameters()

    def activations(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return what every neuron does in each time step; arguments as in :meth:`forward`.

        Inputs have what they send, hidden neurons their spikes, and outputs their spikes with ``read_out="count"``;
        with ``read_out="potential"`` outputs never fire, and have their membrane potentials.

        Returns:
            One number for each neuron, by its number, shape ``(T, ..., N)``, differentiable.

        Example:
            >>> model = SpatialSNN([4, 8, 2], num_steps=20)
            >>> model.activations(torch.rand(5, 4)).shape
            torch.Size([20, 5, 14])
        """
        run, graph = self.simulate(x, generator=generator), self.graph
        blocks = [run.inputs.expand(self.num_steps, *run.inputs.shape[1:])]
        for stage, spikes, potentials in zip(self.stages, run.spikes, run.potentials, strict=True):
            ends = (spikes, potentials) if self.read_out == "potential" else (spikes, spikes)
            blocks += [ends[0][..., : stage.hidden], ends[1][..., stage.hidden :]]
        numbers = torch.cat([graph.inputs, *(stage.targets for stage in graph.feed_forward_projections)])
        return torch.cat(blocks, dim=-1)[..., torch.argsort(numbers)]

    def _check(self, x: Tensor) -> None:
        checks.features("x", x, self.graph.projections[0].n_sources, self.graph.raw_bias)

    def _pass(self, lines: list[Tensor | None]) -> Pass:
        stages, within = self.graph.feed_forward_projections, self.graph.recurrent_numbers
        if self.has_delays:
            self.graph.connectivity.verify()
            delayed = self.graph.transmission()
            recurrent = {stage: self._recurrent_delayed(delayed, number, lines) for stage, number in within.items()}
            send = functools.partial(self._send_delayed, delayed, lines)
            return Pass(delayed.biases[: len(stages)], send, recurrent)
        served = self._served.transmission(self, self.graph)
        recurrent = {stage: _recurrent(served, number, lines) for stage, number in within.items()}
        return Pass(served.biases[: len(stages)], served.send, recurrent)

    def _send_delayed(
        self,
        transmission: Transmission,
        lines: list[Tensor | None],
        number: int,
        signal: Tensor,
        bias: Tensor | None,
        rectify: bool,
    ) -> Tensor:
        delay, line = self._accepted(transmission.delay(number)), lines[number]
        signal = signal.expand(self.num_steps, *signal.shape[1:])
        if line is not None and line.shape[1:] != signal.shape[1:]:
            wanted = ", ".join(map(str, ("steps", *signal.shape[1:])))
            raise ValueError(f"line of the state must have shape ({wanted}), got {tuple(line.shape)}")
        is_on_accelerator = delay.device.type != "cpu"
        if line is not None and is_on_accelerator:
            line = _last(line, self._reach(delay))
        current = transmission.send_delayed(number, signal, line, delay)
        past = signal if line is None else torch.cat([line, signal])
        # To know what is still needed would wait for an accelerator: a pass that continues this one finds out.
        lines[number] = past if is_on_accelerator else _last(past, self._reach(delay))
        return current if bias is None else current + bias

    def _recurrent_delayed(
        self, transmission: Transmission, number: int, lines: list[Tensor | None]
    ) -> RecurrentSynapses:
        weight, delay = transmission.weight(number), self._accepted(transmission.delay(number))

        def send(past: Sequence[Tensor]) -> Tensor:
            line = torch.stack(list(past))
            # What the neurons send in this step arrives later: every delay is at least 1.
            return transmission.send_delayed(number, torch.zeros_like(line[:1]), line, delay, weight)[0]

        return RecurrentSynapses(send, max(1, self._reach(delay)), lines, number)

    def _reach(self, delay: Tensor) -> int:
        """Return how many past steps may arrive later; more than needed where reading delays is to be avoided."""
        if is_observed(delay):
            return sys.maxsize
        if delay.device.type != "cpu" and self.max_delay is not None:
            return self.max_delay + 1
        self._check_line(delay)
        return line_length(delay)

    def _accepted(self, delay: Tensor) -> Tensor:
        """Return delays that fit the line. On an accelerator, whose values are not waited for, others become NaN."""
        if is_observed(delay) or delay.device.type == "cpu":
            self._check_line(delay)
            return delay
        return delay if self.max_delay is None else delay.masked_fill(delay > self.max_delay, math.nan)

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


def _last(line: Tensor, reach: int) -> Tensor:
    """Return the last steps of a time series."""
    return line[max(0, len(line) - reach) :]


def _recurrent(
    transmission: Transmission | PrecomputedTransmission, number: int, lines: list[Tensor | None]
) -> RecurrentSynapses:
    """Return recurrent synapses whose spikes arrive one step later."""
    matrix = transmission.matrix(number)
    return RecurrentSynapses(lambda past: matrix.send(past[-1]), 1, lines, number)
