"""SpikingNetwork: what spatial and dense spiking networks have in common."""

import abc
import functools
from collections.abc import Collection, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.functional.leaky import Surrogate
from spatialgraph.models.neuron_groups import NeuronFactory, NeuronGroups
from spatialgraph.models.simulation import NetworkState, Simulation
from spatialgraph.models.spiking_pass import Pass
from spatialgraph.models.stages import Respond, Stage, check_normalized, run_stages
from spatialgraph.neurons.coding import check_coding, encode, encode_without_waiting
from spatialgraph.neurons.leaky import Leaky, LeakyIntegrator
from spatialgraph.neurons.neuron import Neuron, Recording, State
from spatialgraph.settings import Setting
from spatialgraph.tracing import is_observed

__all__ = ["READ_OUTS", "SpikingNetwork"]

READ_OUTS = ("potential", "count")


class SpikingNetwork(nn.Module, abc.ABC):
    """What spiking networks have in common; :class:`~spatialgraph.SpatialSNN` describes the arguments.

    A signal is a time series of shape ``(T, ..., neurons)``, or ``(1, ..., neurons)`` if it is constant.
    """

    num_steps = Setting(functools.partial(checks.integer, minimum=1))
    coding = Setting(check_coding)
    normalize = Setting(checks.flag)
    drive = Setting(checks.positive)

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        num_steps: int = 25,
        coding: str | None = "current",
        read_out: str = "potential",
        beta: float = 0.95,
        threshold: float = 1.0,
        reset_mechanism: str = "subtract",
        spike_grad: str | Surrogate = "fast_sigmoid",
        neuron: NeuronFactory | None = None,
        normalize: bool | None = None,
        drive: float = 0.8,
    ) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.coding = coding
        self._read_out = checks.choice("read_out", read_out, READ_OUTS)
        self.normalize = coding in ("current", "rate") if normalize is None else normalize
        self.drive = drive
        if self.normalize:
            check_normalized(stages)
        self.integrator = LeakyIntegrator(beta)
        Leaky(beta, threshold, reset_mechanism, spike_grad)  # checks them, also in networks without firing neurons
        own = functools.partial(Leaky, beta, threshold, reset_mechanism)
        hidden = [stage.hidden for stage in stages]
        outputs = [stage.n_targets - stage.hidden for stage in stages]
        self.hidden_neurons = NeuronGroups(functools.partial(own, spike_grad), neuron, hidden)
        # Potentials of outputs stray far from the threshold, where a steep surrogate has no gradient.
        of_outputs = "wide_fast_sigmoid" if spike_grad == "fast_sigmoid" else spike_grad
        self.output_neurons = (
            NeuronGroups(functools.partial(own, of_outputs), neuron, outputs)
            if read_out == "count"
            else nn.ModuleList([self.integrator for _ in stages])
        )

    @property
    def read_out(self) -> str:
        """How outputs become logits; settled at construction, when the outputs' neurons are made."""
        return self._read_out

    @property
    @abc.abstractmethod
    def stages(self) -> Sequence[Stage]:
        """The stages, in the order of computation."""

    @property
    @abc.abstractmethod
    def has_delays(self) -> bool:
        """Whether synapses between stages take time."""

    @property
    def recurrent_stages(self) -> Collection[int]:
        """Numbers of the stages whose hidden neurons have recurrent synapses."""
        return ()

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
    def _pass(self, lines: list[Tensor | None]) -> Pass:
        """Return what one pass computes with.

        Args:
            lines: what was sent in the steps before, as in :class:`NetworkState`; what the next pass needs is put in
                its place.
        """

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Compute the logits from a run of all time steps that starts at rest.

        Args:
            x: values of the inputs, shape ``(..., inputs)``; with ``coding=None`` a time series of shape
                ``(num_steps, ..., inputs)``.
            generator: source of random numbers for ``coding="rate"``; None for PyTorch's own.

        Returns:
            Mean potential or number of spikes of each output, shape ``(..., outputs)``.

        Raises:
            TypeError: if ``x`` is not a tensor of the parameters' dtype.
            ValueError: if the shape is wrong, a value is not finite or out of range for the coding, or a delay is
                longer than the line. On an accelerator values are not looked at, for the program would have to wait:
                all outputs are NaN where one is refused.
        """
        read: list[Tensor] = []

        def respond(number: int, inner: Tensor | None, outer: Tensor | None) -> Tensor:
            if outer is not None:
                read.append(self._read(number, outer))
            return self._sent(one_pass, number, inner, outer)

        stages, one_pass = self.stages, self._pass([None] * self._lines)
        last = len(stages) - 1
        is_averaged = self._is_averaged(last)
        signal, mark = self._encode_without_waiting(x, generator)
        blocks = self._run(signal, stages[: last if is_averaged else None], one_pass, respond)
        if is_averaged:
            sent = one_pass.send(last, blocks[-1][None], None, False)
            read.append(sent[0] + one_pass.biases[last] * self._shares(sent).sum())
        outputs, order = read[0] if len(read) == 1 else torch.cat(read, dim=-1), self.output_order
        outputs = outputs if mark is None else outputs + mark
        return outputs if order is None else outputs[..., order]

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
        stages = self.stages
        before = [(None, None)] * len(stages) if state is None else state.neurons
        lines: list[Tensor | None] = [None] * self._lines if state is None else list(state.lines)
        one_pass = self._pass(lines)
        runs: list[tuple[Recording | None, Recording | None]] = []

        def respond(number: int, inner: Tensor | None, outer: Tensor | None) -> Tensor:
            hidden, output = before[number]
            runs.append(
                (
                    None if inner is None else self._run_hidden(one_pass, number, inner, hidden),
                    None if outer is None else self.outputs_of(number).run(outer, self.num_steps, output),
                )
            )
            return _recorded(runs[-1], "spikes")

        signal = self._encode(x, generator)
        self._run(signal, stages, one_pass, respond)
        spikes, potentials = (tuple(_recorded(run, name) for run in runs) for name in ("spikes", "potentials"))
        neurons = tuple((hidden and hidden.state, output and output.state) for hidden, output in runs)
        return Simulation(signal, spikes, potentials, NetworkState(neurons, tuple(lines)))

    def _check_state(self, state: NetworkState | None) -> None:
        if state is None:
            return
        if not isinstance(state, NetworkState):
            raise TypeError(f"state must be a NetworkState, got {type(state).__name__}")
        if len(state.neurons) != len(self.stages):
            raise ValueError(f"state must be that of {len(self.stages)} stages, got {len(state.neurons)}")
        if len(state.lines) != self._lines:
            raise ValueError(f"state must have {self._lines} lines, one for each projection, got {len(state.lines)}")

    def _encode_without_waiting(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor | None]:
        """Return the time series of inputs, and what to add to the outputs, None for nothing."""
        if checks.tensor("x", x).device.type in ("cpu", "meta") or is_observed(x):
            return self._encode(x, generator), None
        self._check_series(x)
        return encode_without_waiting(x, self.coding, self.num_steps, generator)

    def _encode(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        self._check_series(x)
        return encode(x, self.coding, self.num_steps, generator)

    def _check_series(self, x: Tensor) -> None:
        self._check(x)
        if self.coding is None and (x.dim() < 2 or x.shape[0] != self.num_steps):
            raise ValueError(f"x must have shape ({self.num_steps}, ..., inputs) for coding=None, got {tuple(x.shape)}")

    def _run(self, signal: Tensor, stages: Sequence[Stage], one_pass: Pass, respond: Respond) -> list[Tensor]:
        """Run all time steps stage by stage."""
        biases, send, recurrent = one_pass

        def currents(number: int, sent: Tensor, bias: Tensor | None, rectify: bool) -> Tensor:
            # Potentials add up many small currents: not in half precision.
            return send(number, sent, bias, rectify).to(biases[number].dtype)

        def normalize(number: int, total: Tensor, bias: Tensor) -> Tensor:
            # What recurrent synapses add is known step by step only.
            return total if number in recurrent else self._normalized(total, bias)

        return run_stages(
            signal, stages, biases[: len(stages)], currents, respond, normalize if self.normalize else None
        )

    def _run_hidden(
        self, one_pass: Pass, number: int, inner: Tensor, state: State | None, record: str = "spikes potentials"
    ) -> Recording:
        """Run a stage's hidden neurons, given what they receive from other stages."""
        neurons, synapses = self.hidden_of(number), one_pass.recurrent.get(number)
        if synapses is None:
            return neurons.run(inner, self.num_steps, state, record)
        bias = one_pass.biases[number]

        def normalize(total: Tensor) -> Tensor:
            return self._normalized(total, bias) if self.normalize else total

        return synapses.run(neurons, inner, self.num_steps, normalize, state, record)

    def _normalized(self, current: Tensor, bias: Tensor) -> Tensor:
        return self.drive * F.layer_norm(current, current.shape[-1:]) + bias

    def _sent(self, one_pass: Pass, number: int, inner: Tensor | None, outer: Tensor | None) -> Tensor:
        """Return what a stage's targets send: spikes, or their averages where the last stage takes these."""
        if inner is None:
            return cast(Tensor, outer)  # outputs send nothing, and nothing receives from a block of them
        if self._is_averaged(number + 1):
            return cast(Leaky, self.hidden_of(number)).weighted_spikes(inner, self._shares(inner))
        spikes = cast(Tensor, self._run_hidden(one_pass, number, inner, None, "spikes").spikes)
        return spikes if outer is None else F.pad(spikes, (0, outer.shape[-1]))

    def _shares(self, like: Tensor) -> Tensor:
        return self.integrator.shares(self.num_steps, like.device).to(like)

    def hidden_of(self, number: int) -> Neuron:
        """Return the hidden neurons of a stage, as its edges are now."""
        return self.hidden_neurons.of(number, self.stages[number].hidden)

    def outputs_of(self, number: int) -> Neuron:
        """Return the output neurons of a stage, as its edges are now."""
        if not isinstance(self.output_neurons, NeuronGroups):
            return self.integrator
        stage = self.stages[number]
        return self.output_neurons.of(number, stage.n_targets - stage.hidden)

    def _read(self, number: int, current: Tensor) -> Tensor:
        """Turn the current of a stage's outputs into logits."""
        if self.read_out == "count":
            return cast(Tensor, self.outputs_of(number).run(current, self.num_steps, record="spikes").spikes).sum(0)
        return self.integrator.mean_potential(current, self.num_steps)

    def _is_averaged(self, number: int) -> bool:
        """Tell whether a stage is linear in the spikes of one block alone, so that these are averaged before it."""
        stages = self.stages
        return (
            0 < number == len(stages) - 1
            and self.read_out == "potential"
            and not self.has_delays
            and stages[number].blocks == (number,)
            and stages[number].hidden == 0
            and stages[number - 1].hidden == stages[number - 1].n_targets
            and type(self.hidden_of(number - 1)) is Leaky  # a subclass may compute anything
            and number - 1 not in self.recurrent_stages
        )

    @property
    def _lines(self) -> int:
        return len(self.stages) + len(self.recurrent_stages)

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        return (
            f"num_steps={self.num_steps}, coding={self.coding!r}, read_out={self.read_out!r}, "
            f"normalize={self.normalize}, drive={self.drive}"
        )


def _recorded(run: tuple[Recording | None, Recording | None], name: str) -> Tensor:
    """Return what a stage's hidden neurons and outputs did, side by side."""
    present = [getattr(part, name) for part in run if part is not None]
    return present[0] if len(present) == 1 else torch.cat(present, dim=-1)
