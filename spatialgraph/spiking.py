"""Spiking networks: for each projection, send the spikes, normalise, add the bias, integrate and fire."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.coding import CODINGS, encode
from spatialgraph.conv import Cached
from spatialgraph.delays import line_length
from spatialgraph.graph import SpatialGraph
from spatialgraph.leaky import Surrogate
from spatialgraph.models import make_graph
from spatialgraph.neurons import Leaky, LeakyIntegrator, SnnTorchNeuron, State
from spatialgraph.transmission import Materialised, Transmission

__all__ = ["READ_OUTS", "DenseSNN", "NetworkState", "Simulation", "SpatialSNN", "SpikingNetwork"]

READ_OUTS = ("potential", "count")

NeuronFactory = Callable[[int], nn.Module]
"""Makes the neurons of a group from their number, such as ``lambda n: snntorch.Synaptic(alpha=0.9, beta=0.8)``."""


@dataclasses.dataclass(frozen=True)
class NetworkState:
    """The state of a spiking network between two time steps.

    Args:
        neurons: the states of each stage's hidden neurons and of its outputs; None where it has none.
        lines: what was sent into each stage in the steps before, for synapses with delays; None for nothing.
    """

    neurons: tuple[tuple[State | None, State | None], ...]
    lines: tuple[Tensor | None, ...]


@dataclasses.dataclass(frozen=True)
class Simulation:
    """What a spiking network did in T time steps.

    Args:
        inputs: what the input neurons sent, shape ``(T, ..., inputs)``; shape ``(1, ..., inputs)`` if constant.
        spikes: spikes of each stage, shape ``(T, ..., neurons)``: the layers after the first, or for a network without
            layers the neurons of ``graph.projections[stage].targets``.
        potentials: membrane potentials of each stage, the same shapes.
        state: the state after the last step, to be passed to the next call.
    """

    inputs: Tensor
    spikes: tuple[Tensor, ...]
    potentials: tuple[Tensor, ...]
    state: NetworkState


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a spiking network: which blocks of neurons it hears, and how many of its targets are hidden."""

    blocks: tuple[int, ...]
    hidden: int
    targets: int


class SpikingNetwork(nn.Module, abc.ABC):
    """What spiking networks have in common; :class:`SpatialSNN` describes the arguments.

    A signal is a time series of shape ``(T, ..., neurons)``, or ``(1, ..., neurons)`` if it is constant.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        steps: int = 25,
        coding: str | None = "current",
        read_out: str = "potential",
        beta: float = 0.95,
        threshold: float = 1.0,
        reset: str = "subtract",
        surrogate: str | Surrogate = "fast_sigmoid",
        neuron: NeuronFactory | None = None,
        normalize: bool = False,
        drive: float = 0.3,
    ) -> None:
        super().__init__()
        self.steps = checks.integer("steps", steps, minimum=1)
        self.coding = coding if coding is None else checks.choice("coding", coding, CODINGS)
        self.read_out = checks.choice("read_out", read_out, READ_OUTS)
        self.normalize = normalize
        self.drive = checks.positive("drive", drive)
        if normalize and any(stage.hidden == 1 for stage in stages):
            raise ValueError("normalize must be False where a stage has a single hidden neuron, got True")
        self.integrator = LeakyIntegrator(beta)
        make = neuron if neuron is not None else lambda _: Leaky(beta, threshold, reset, surrogate)
        self.hidden_neurons = nn.ModuleList(_neurons(make, stage.hidden) for stage in stages)
        reads_spikes = read_out == "count"
        self.output_neurons = nn.ModuleList(
            _neurons(make, stage.targets - stage.hidden) if reads_spikes else self.integrator for stage in stages
        )

    @property
    @abc.abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The stages, in the order of computation."""

    @property
    @abc.abstractmethod
    def has_delays(self) -> bool:
        """Whether synapses take time."""

    @property
    def output_order(self) -> Tensor | None:
        """How the outputs, taken stage by stage, are to be ordered; None if they are."""
        return None

    @abc.abstractmethod
    def _check(self, x: Tensor) -> None:
        """Refuse inputs of the wrong shape or type."""

    @abc.abstractmethod
    def _open(self) -> Any:  # noqa: ANN401 - each kind of network has its own
        """Return what carries signals in one pass."""

    @abc.abstractmethod
    def _send(
        self,
        carrier: Any,
        number: int,
        signal: Tensor,
        line: Tensor | None,
        bias: Tensor | None,  # noqa: ANN401
    ) -> tuple[Tensor, Tensor | None]:
        """Carry a signal into a stage; return the current of its targets, and the line for the next call."""

    @abc.abstractmethod
    def _bias(self, number: int) -> Tensor:
        """Return the bias of a stage's targets."""

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Compute the logits from a run of all time steps that starts at rest.

        Args:
            x: values of the inputs, shape ``(..., inputs)``; with ``coding=None`` a time series of shape
                ``(steps, ..., inputs)``.
            generator: source of random numbers for ``coding="rate"``; None for PyTorch's own.

        Returns:
            Mean potential or number of spikes of each output, shape ``(..., outputs)``.

        Raises:
            TypeError: if ``x`` is not a tensor of the parameters' dtype.
            ValueError: if the shape is wrong, a value is not finite or out of range for the coding, or a delay is
                longer than the line.
        """
        carrier, blocks, read = self._open(), [self._encode(x, generator)], []
        for number, stage in enumerate(self.stages):
            if self._is_averaged(number):
                shares = self.integrator.shares(self.steps).to(blocks[-1])
                current, _ = self._send(carrier, number, blocks[-1][None], None, None)
                read.append(current[0] + self._bias(number) * shares.sum())
                break
            inner, outer, _ = self._currents(carrier, number, blocks, None)
            if stage.hidden:
                neurons = self.hidden_neurons[number]
                if self._is_averaged(number + 1):
                    shares = self.integrator.shares(self.steps).to(inner)
                    blocks.append(neurons.weighted_spikes(inner, shares))
                    continue
                spikes = neurons.run(inner, self.steps, record="spikes").spikes
                blocks.append(F.pad(spikes, (0, stage.targets - stage.hidden)))
            else:
                blocks.append(outer)
            if stage.hidden < stage.targets:
                read.append(self._read(number, outer))
        outputs = read[0] if len(read) == 1 else torch.cat(read, dim=-1)
        return outputs if self.output_order is None else outputs[..., self.output_order]

    def simulate(
        self, x: Tensor, state: NetworkState | None = None, generator: torch.Generator | None = None
    ) -> Simulation:
        """Run all time steps and record the spikes and potentials of all neurons.

        Args:
            x: as in :meth:`forward`.
            state: where an earlier simulation ended; None starts at rest.
            generator: as in :meth:`forward`.

        Raises:
            TypeError: if ``x`` is not a tensor of the parameters' dtype.
            ValueError: as in :meth:`forward`.
        """
        carrier, signal = self._open(), self._encode(x, generator)
        blocks, recordings, states, lines = [signal], [], [], []
        for number, stage in enumerate(self.stages):
            line, before = (None, (None, None)) if state is None else (state.lines[number], state.neurons[number])
            inner, outer, line = self._currents(carrier, number, blocks, line)
            parts = [
                group[number].run(current, self.steps, start) if current.shape[-1] else None
                for group, current, start in zip(
                    (self.hidden_neurons, self.output_neurons), (inner, outer), before, strict=True
                )
            ]
            present = [part for part in parts if part is not None]
            recordings.append(tuple(torch.cat(kind, dim=-1) for kind in zip(*(p[:2] for p in present), strict=True)))
            blocks.append(recordings[-1][0])
            states.append(tuple(None if part is None else part.state for part in parts))
            lines.append(line)
        spikes, potentials = zip(*recordings, strict=True)
        return Simulation(signal, spikes, potentials, NetworkState(tuple(states), tuple(lines)))

    def _encode(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        self._check(x)
        if self.coding is None and (x.dim() < 2 or x.shape[0] != self.steps):
            raise ValueError(f"x must have shape ({self.steps}, ..., inputs) for coding=None, got {tuple(x.shape)}")
        return encode(x, self.coding, self.steps, generator)

    def _currents(
        self,
        carrier: Any,
        number: int,
        blocks: list[Tensor],
        line: Tensor | None,  # noqa: ANN401
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the currents of a stage's hidden neurons and outputs, and the line for the next call."""
        stage, bias = self.stages[number], self._bias(number)
        heard = _side_by_side([blocks[block] for block in stage.blocks], self.steps)
        normalized = self.normalize and stage.hidden > 0
        total, line = self._send(carrier, number, heard, line, None if normalized else bias)
        total = total.to(bias.dtype)  # potentials add up many small currents: not in half precision
        if not normalized:
            return total[..., : stage.hidden], total[..., stage.hidden :], line
        inner = total[..., : stage.hidden]
        inner = self.drive * F.layer_norm(inner, inner.shape[-1:]) + bias[: stage.hidden]
        return inner, total[..., stage.hidden :] + bias[stage.hidden :], line

    def _read(self, number: int, current: Tensor) -> Tensor:
        """Turn the current of a stage's outputs into logits."""
        if self.read_out == "count":
            spikes: Tensor = self.output_neurons[number].run(current, self.steps, record="spikes").spikes
            return spikes.sum(0)
        return self.integrator.mean_potential(current, self.steps)

    def _is_averaged(self, number: int) -> bool:
        """Tell whether a stage is linear in the spikes of one block alone, so that these are averaged before it."""
        stages = self.stages
        return (
            0 < number == len(stages) - 1
            and self.read_out == "potential"
            and not self.has_delays
            and stages[number].blocks == (number,)
            and stages[number].hidden == 0
            and stages[number - 1].hidden == stages[number - 1].targets
            and isinstance(self.hidden_neurons[number - 1], Leaky)
        )

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        return (
            f"steps={self.steps}, coding={self.coding!r}, read_out={self.read_out!r}, "
            f"normalize={self.normalize}, drive={self.drive}"
        )


class SpatialSNN(SpikingNetwork):
    r"""Spiking network whose weights, and delays if wanted, follow from the positions of its neurons.

    The current of a neuron is :math:`I_j[t] = \mathrm{norm}(\gamma \sum_i s_i\, w(r_{ij})\, x_i[t - r_{ij}/v]) + b_j`,
    the neurons are leaky integrate-and-fire ones (see :class:`~spatialgraph.neurons.Leaky`). It is the spiking network
    of `Erb et al. (2025) <https://arxiv.org/abs/2506.13410>`_, with O(n) parameters; delays follow from lengths as in
    `Balazs et al. (2025) <https://arxiv.org/abs/2511.01632>`_. No state is kept between calls. In ``eval()`` without
    gradients the weights are computed once and kept until a parameter changes.

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
        surrogate: gradient of a spike, ``"fast_sigmoid"`` or another name from ``snntorch.surrogate``.
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
        drive: float = 0.3,
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
        self.max_delay = None if max_delay is None else checks.integer("max_delay", max_delay, minimum=1)
        if self.has_delays:
            self._check_line(network.delays())
        self._materialised: Cached[Materialised] = Cached()

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
        if len(projections[-1].targets) == int(self.graph.is_output.sum()):
            return None
        return torch.argsort(torch.cat([p.targets[p.hidden :] for p in projections]))

    def reset_parameters(self) -> None:
        """Draw the graph's parameters anew."""
        self.graph.reset_parameters()

    def _check(self, x: Tensor) -> None:
        checks.features("x", x, int(self.graph.projections[0].sources.numel()), self.graph.raw_bias)

    def _open(self) -> Transmission | Materialised:
        if Cached.usable(self) and not self.has_delays:
            return self._materialised.get(self, lambda: Materialised(self.graph), self.graph.projections)
        return Transmission(self.graph)

    def _send(
        self,
        carrier: Transmission | Materialised,
        number: int,
        signal: Tensor,
        line: Tensor | None,
        bias: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        if not isinstance(carrier, Transmission) or not self.has_delays:
            return carrier.send(number, signal, bias), None
        delay = carrier.delay(number)
        self._check_line(delay)
        signal = signal.expand(self.steps, *signal.shape[1:])
        current = carrier.send_delayed(number, signal, line, delay)
        past = signal if line is None else torch.cat([line, signal])
        reach = line_length(delay.detach())
        return current if bias is None else current + bias, past[max(0, len(past) - reach) :]

    def _bias(self, number: int) -> Tensor:
        return self.graph.bias[self.graph.projections[number].target_index]

    def _check_line(self, delay: Tensor) -> None:
        longest = float(delay.detach().max()) if delay.numel() else 0.0
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

    def _check(self, x: Tensor) -> None:
        checks.features("x", x, self.layers[0].in_features, self.layers[0].weight)

    def _open(self) -> nn.ModuleList:
        return self.layers

    def _send(
        self,
        carrier: nn.ModuleList,
        number: int,
        signal: Tensor,
        line: Tensor | None,
        bias: Tensor | None,
    ) -> tuple[Tensor, None]:
        return F.linear(signal, carrier[number].weight, bias), None

    def _bias(self, number: int) -> Tensor:
        bias: Tensor = self.layers[number].bias
        return bias


def _stages(graph: SpatialGraph) -> tuple[Stage, ...]:
    return tuple(Stage(p.blocks, p.hidden, p.targets.numel()) for p in graph.projections)


def _neurons(make: NeuronFactory, count: int) -> nn.Module:
    """Make a group of neurons, wrapped if they are snnTorch's; an empty group is nothing."""
    if count == 0:
        return nn.Identity()
    neurons = make(count)
    return neurons if hasattr(neurons, "run") else SnnTorchNeuron(neurons)


def _side_by_side(blocks: list[Tensor], steps: int) -> Tensor:
    """Join the signals of blocks; a constant one is drawn out if another is not."""
    if len(blocks) == 1:
        return blocks[0]
    if any(len(block) > 1 for block in blocks):
        blocks = [block.expand(steps, *block.shape[1:]) for block in blocks]
    return torch.cat(blocks, dim=-1)
