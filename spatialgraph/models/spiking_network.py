"""Spiking networks, what they share: for each stage, send the spikes, normalise, add the bias, integrate and fire."""

import abc
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.functional.leaky import Surrogate
from spatialgraph.neurons.coding import check_coding, encode
from spatialgraph.neurons.leaky import Leaky, LeakyIntegrator
from spatialgraph.neurons.neuron import Neuron, State
from spatialgraph.neurons.snntorch import SnnTorchNeuron
from spatialgraph.settings import Setting

__all__ = ["READ_OUTS", "NetworkState", "NeuronFactory", "Sender", "Simulation", "SpikingNetwork", "Stage"]

READ_OUTS = ("potential", "count")

NeuronFactory = Callable[[int], nn.Module]
"""Makes the neurons of a group from their number, such as ``lambda n: snntorch.Synaptic(alpha=0.9, beta=0.8)``."""

Sender = Callable[[int, Tensor, Tensor | None, Tensor | None], tuple[Tensor, Tensor | None]]
"""From a stage's number, the signal it hears, its line and its bias to the current of its targets and the next line."""


@dataclasses.dataclass(frozen=True)
class NetworkState:
    """The state of a spiking network between two time steps.

    Args:
        neurons: the states of each stage's hidden neurons and of its outputs; None where it has none.
        lines: what was sent into each stage in the steps before, for synapses with delays; None for nothing.
    """

    neurons: tuple[tuple[State | None, State | None], ...]
    lines: tuple[Tensor | None, ...]

    def detach(self) -> "NetworkState":
        """Return the same state without its history, for truncated backpropagation through time.

        Example:
            >>> import spatialgraph as sg
            >>> model = sg.SpatialSNN([3, 2], steps=5)
            >>> state = model.simulate(torch.rand(1, 3)).state
            >>> state.detach().neurons[0][1][0].requires_grad
            False
        """
        return self._mapped(Tensor.detach)

    def to(self, *args: Any, **kwargs: Any) -> "NetworkState":  # noqa: ANN401 - as in torch.Tensor.to
        """Return the state on another device or in another dtype; arguments as in :meth:`torch.Tensor.to`."""
        return self._mapped(lambda values: values.to(*args, **kwargs))

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "NetworkState":
        def group(state: State | None) -> State | None:
            return None if state is None else tuple(change(values) for values in state)

        neurons = tuple((group(hidden), group(output)) for hidden, output in self.neurons)
        return NetworkState(neurons, tuple(None if line is None else change(line) for line in self.lines))


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

    steps = Setting(functools.partial(checks.integer, minimum=1))
    coding = Setting(check_coding)
    normalize = Setting(checks.flag)
    drive = Setting(checks.positive)

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
        drive: float = 0.8,
    ) -> None:
        super().__init__()
        self.steps = steps
        self.coding = coding
        self._read_out = checks.choice("read_out", read_out, READ_OUTS)
        self.normalize = normalize
        self.drive = drive
        if self.normalize and any(stage.hidden == 1 for stage in stages):
            raise ValueError("normalize must be False where a stage has a single hidden neuron, got True")
        self.integrator = LeakyIntegrator(beta)
        Leaky(beta, threshold, reset, surrogate)  # checks them, also where nobody fires
        own = functools.partial(Leaky, beta, threshold, reset)
        self.hidden_neurons = nn.ModuleList(
            _neurons(neuron, functools.partial(own, surrogate), stage.hidden) for stage in stages
        )
        # Potentials of outputs stray far from the threshold, where a steep surrogate has no gradient.
        of_outputs = "wide_fast_sigmoid" if surrogate == "fast_sigmoid" else surrogate
        self.output_neurons = nn.ModuleList(
            _neurons(neuron, functools.partial(own, of_outputs), stage.targets - stage.hidden)
            if read_out == "count"
            else self.integrator
            for stage in stages
        )

    @property
    def read_out(self) -> str:
        """How outputs become logits; settled at construction, when the outputs' neurons are made."""
        return self._read_out

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
    def fan_outs(self) -> list[Tensor]:
        """Return the number of synapses that leave each neuron: of the inputs, then of each stage's targets."""

    @abc.abstractmethod
    def _check(self, x: Tensor) -> None:
        """Refuse inputs of the wrong shape or type."""

    @abc.abstractmethod
    def _sender(self) -> Sender:
        """Return what carries signals into the stages in one pass."""

    @abc.abstractmethod
    def _biases(self) -> list[Tensor]:
        """Return the biases of each stage's targets."""

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
        blocks, read = [self._encode(x, generator)], []
        send, biases = self._sender(), self._biases()
        for number, stage in enumerate(self.stages):
            if self._is_averaged(number):
                current, _ = send(number, blocks[-1][None], None, None)
                read.append(current[0] + biases[number] * self._shares(current).sum())
                continue
            inner, outer, _ = self._currents(send, number, blocks, None, biases[number])
            blocks.append(self._heard_later(number, inner))
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
            TypeError: if ``x`` is not a tensor of the parameters' dtype, or ``state`` not a state.
            ValueError: as in :meth:`forward`, or if the state is that of another network or batch.
        """
        self._check_state(state)
        signal, send, biases = self._encode(x, generator), self._sender(), self._biases()
        blocks, states, lines = [signal], [], []
        spikes: list[Tensor] = []
        potentials: list[Tensor] = []
        for number in range(len(self.stages)):
            line, before = (None, (None, None)) if state is None else (state.lines[number], state.neurons[number])
            inner, outer, line = self._currents(send, number, blocks, line, biases[number])
            hidden = self._hidden(number).run(inner, self.steps, before[0]) if inner.shape[-1] else None
            output = self._output(number).run(outer, self.steps, before[1]) if outer.shape[-1] else None
            present = [part[:2] for part in (hidden, output) if part is not None]
            spikes.append(torch.cat([cast(Tensor, part[0]) for part in present], dim=-1))
            potentials.append(torch.cat([cast(Tensor, part[1]) for part in present], dim=-1))
            blocks.append(spikes[-1])
            states.append((hidden and hidden.state, output and output.state))
            lines.append(line)
        return Simulation(signal, tuple(spikes), tuple(potentials), NetworkState(tuple(states), tuple(lines)))

    def _check_state(self, state: NetworkState | None) -> None:
        if state is None:
            return
        if not isinstance(state, NetworkState):
            raise TypeError(f"state must be a NetworkState, got {type(state).__name__}")
        if not len(state.neurons) == len(state.lines) == len(self.stages):
            raise ValueError(f"state must be that of {len(self.stages)} stages, got {len(state.neurons)}")

    def _encode(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        self._check(x)
        if self.coding is None and (x.dim() < 2 or x.shape[0] != self.steps):
            raise ValueError(f"x must have shape ({self.steps}, ..., inputs) for coding=None, got {tuple(x.shape)}")
        return encode(x, self.coding, self.steps, generator)

    def _currents(
        self, send: Sender, number: int, blocks: list[Tensor], line: Tensor | None, bias: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the currents of a stage's hidden neurons and outputs, and the line for the next call."""
        stage = self.stages[number]
        heard = _side_by_side([blocks[block] for block in stage.blocks], self.steps)
        normalized = self.normalize and stage.hidden > 0
        total, line = send(number, heard, line, None if normalized else bias)
        total = total.to(bias.dtype)  # potentials add up many small currents: not in half precision
        if not normalized:
            return total[..., : stage.hidden], total[..., stage.hidden :], line
        inner = total[..., : stage.hidden]
        inner = self.drive * F.layer_norm(inner, inner.shape[-1:]) + bias[: stage.hidden]
        return inner, total[..., stage.hidden :] + bias[stage.hidden :], line

    def _heard_later(self, number: int, current: Tensor) -> Tensor:
        """Return what a stage's targets send: spikes, or their averages where the last stage takes these."""
        stage = self.stages[number]
        if stage.hidden == 0:
            return F.pad(current, (0, stage.targets))
        neurons = self._hidden(number)
        if self._is_averaged(number + 1):
            return cast(Leaky, neurons).weighted_spikes(current, self._shares(current))
        spikes = cast(Tensor, neurons.run(current, self.steps, record="spikes").spikes)
        outputs = stage.targets - stage.hidden
        return F.pad(spikes, (0, outputs)) if outputs else spikes  # padding by nothing would copy

    def _shares(self, like: Tensor) -> Tensor:
        return self.integrator.shares(self.steps).to(like)

    def _hidden(self, number: int) -> Neuron:
        return self._group(self.hidden_neurons, number)

    def _output(self, number: int) -> Neuron:
        return self.integrator if self.read_out == "potential" else self._group(self.output_neurons, number)

    def _group(self, groups: nn.ModuleList, number: int) -> Neuron:
        """Return a stage's neurons; where other edges have brought neurons into an empty one, those of another."""
        own = groups[number] if number < len(groups) else None
        if isinstance(own, Neuron):
            return own
        for other in (*self.hidden_neurons, *self.output_neurons):
            if isinstance(other, Leaky):  # they serve any number
                return other
        raise ValueError(f"neuron must have made neurons for stage {number}, got none: edges have changed since")

    def _read(self, number: int, current: Tensor) -> Tensor:
        """Turn the current of a stage's outputs into logits."""
        if self.read_out == "count":
            return cast(Tensor, self._output(number).run(current, self.steps, record="spikes").spikes).sum(0)
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
            and isinstance(self._hidden(number - 1), Leaky)
        )

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        return (
            f"steps={self.steps}, coding={self.coding!r}, read_out={self.read_out!r}, "
            f"normalize={self.normalize}, drive={self.drive}"
        )


def _neurons(factory: NeuronFactory | None, own: Callable[[], Neuron], count: int) -> nn.Module:
    """Make a group of neurons, our own or the factory's, wrapped if they are snnTorch's; an empty group is nothing."""
    if factory is not None and (isinstance(factory, nn.Module) or not callable(factory)):
        raise TypeError(f"neuron must be a function of the number of neurons, got {type(factory).__name__}")
    if count == 0:
        return nn.Identity()
    if factory is None:
        return own()
    neurons = factory(count)
    return neurons if isinstance(neurons, Neuron) else SnnTorchNeuron(neurons)


def _side_by_side(blocks: list[Tensor], steps: int) -> Tensor:
    """Join the signals of blocks; a constant one is drawn out if another is not."""
    if len(blocks) == 1:
        return blocks[0]
    if any(len(block) > 1 for block in blocks):
        blocks = [block.expand(steps, *block.shape[1:]) for block in blocks]
    return torch.cat(blocks, dim=-1)
