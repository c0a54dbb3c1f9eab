"""SpatialRNN: the recurrent network whose neurons have positions."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.functional.normalization import normalised
from spatialgraph.functional.recurrence import NONLINEARITIES, gated, recurrent
from spatialgraph.graph.saved_models import register_model
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.transmission import Transmission
from spatialgraph.models.gates import Gates
from spatialgraph.models.leaks import Leaks
from spatialgraph.models.options import make_graph
from spatialgraph.models.stages import output_order, run_stages
from spatialgraph.settings import Setting
from spatialgraph.wiring.wirings import AllToAll

__all__ = ["SpatialRNN"]

CELLS = ("plain", "leaky", "gated")
READ_OUTS = ("last", "mean", "all")

_SAVED = ("nonlinearity", "cell", "read_out", "normalize", "batch_first")


def _check_nonlinearity(name: str, value: Any) -> str:  # noqa: ANN401 - any value is checked
    return checks.choice(name, value, list(NONLINEARITIES))


def _check_read_out(name: str, value: Any) -> str:  # noqa: ANN401 - any value is checked
    return checks.choice(name, value, READ_OUTS)


@register_model
class SpatialRNN(nn.Module):
    r"""Recurrent network whose weights follow from the positions of its neurons.

    In each time step every hidden layer computes

    .. math:: h_t = \phi(\mathrm{norm}(W x_t + R h_{t-1}) + b)

    where the weights :math:`W` from earlier layers and :math:`R` within the layer are those of a
    :class:`~spatialgraph.SpatialGraph`. Layers without recurrent synapses have no :math:`R`; outputs are neither
    normalised nor activated.

    With ``cell="leaky"`` each neuron of a layer with recurrent synapses approaches this value at a learnable rate
    :math:`0 < \alpha < 1`, the time step over its time constant, as in continuous-time networks:

    .. math:: h_t = (1 - \alpha) \odot h_{t-1} + \alpha \odot \phi(\mathrm{norm}(W x_t + R h_{t-1}) + b)

    With ``cell="gated"`` these layers are gated as in ``nn.GRU`` (see
    :func:`~spatialgraph.functional.recurrence.gated`): gates are further targets at the positions of the neurons, with
    polarities and biases of their own, so that a gated network has O(n) parameters too. It takes three times the
    products of the others.

    Args:
        graph: layer sizes, inputs first, or a recurrent :class:`~spatialgraph.SpatialGraph`.
        dim: number of axes d, with sizes only.
        nonlinearity: ``"tanh"`` or ``"relu"``, as in ``nn.RNN``; gated layers always use ``tanh``.
        cell: what neurons with recurrent synapses are: ``"plain"`` as in ``nn.RNN``, ``"leaky"`` or ``"gated"``.
        read_out: what is returned of the outputs: their values in the ``"last"`` time step, their ``"mean"`` over all
            time steps, or ``"all"`` of them.
        normalize: whether the summed inputs of each hidden layer are brought to mean 0 and variance 1 (layer
            normalisation without parameters) before the bias.
        batch_first: whether sequences have the shape ``(batch, T, features)``, as in ``nn.RNN``.
        **options: ``recurrent``, ``wiring``, ``spacing``, ``init``, ``polarity_mode``, ``law``, ``gain``, ``anchored``,
            ``generator``, ``device``, ``dtype`` as in :meth:`SpatialGraph.layered
            <spatialgraph.SpatialGraph.layered>`, with sizes only; ``recurrent`` is all-to-all by default.

    Raises:
        TypeError: if an argument is of the wrong type, or an option is given beside a graph that settles it.
        ValueError: if an argument has a wrong shape, value or name.

    Example:
        >>> model = SpatialRNN([28, 100, 10], dim=8)
        >>> output, state = model(torch.zeros(20, 5, 28))  # T, batch, features
        >>> output.shape, state.shape
        (torch.Size([5, 10]), torch.Size([1, 5, 100]))
    """

    nonlinearity = Setting(_check_nonlinearity)
    read_out = Setting(_check_read_out)
    normalize = Setting(checks.flag)
    batch_first = Setting(checks.flag)

    def __init__(
        self,
        graph: Sequence[int] | SpatialGraph,
        dim: int | None = None,
        *,
        nonlinearity: str = "tanh",
        cell: str = "plain",
        read_out: str = "last",
        normalize: bool = True,
        batch_first: bool = False,
        **options: Any,  # noqa: ANN401 - passed on to SpatialGraph.layered
    ) -> None:
        super().__init__()
        if not isinstance(graph, SpatialGraph):
            options.setdefault("recurrent", AllToAll())
        self.spatial_graph = make_graph(type(self).__name__, graph, dim, options, _SAVED)
        if self.graph.velocity is not None:
            raise ValueError(f"velocity must be None for a SpatialRNN, got {self.graph.velocity}")
        self.nonlinearity, self.read_out, self.normalize = nonlinearity, read_out, normalize
        self.batch_first = batch_first
        stages = self.graph.feed_forward_projections
        if self.normalize and any(stage.hidden == 1 for stage in stages):
            raise ValueError("normalize must be False where a layer has a single hidden neuron, got True")
        self._cell = checks.choice("cell", cell, CELLS)
        if cell == "gated" and self.graph.weight_mode == "free":
            raise ValueError("cell must not be 'gated' for weight_mode='free', which has no polarities")
        self.gates, self.leaks = nn.ModuleDict(), nn.ModuleDict()
        generator = options.get("generator")
        for number in self.graph.recurrent_numbers:
            if cell == "gated":
                sizes = stages[number].n_sources, stages[number].hidden
                self.gates[str(number)] = Gates(*sizes, self.graph.raw_bias, generator)
            elif cell == "leaky":
                self.leaks[str(number)] = Leaks(stages[number].hidden, self.graph.raw_bias)

    @property
    def graph(self) -> SpatialGraph:
        """The network; not a submodule of this name, which ``torch.export`` keeps for its own graph."""
        return self.spatial_graph

    @property
    def cell(self) -> str:
        """What neurons with recurrent synapses are; settled at construction."""
        return self._cell

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.graph.reset_parameters()
        for own in (*self.gates.values(), *self.leaks.values()):
            cast(Gates | Leaks, own).reset_parameters()

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the outputs of a sequence.

        Args:
            x: features of the inputs in all time steps, shape ``(T, batch, inputs)``, ``(batch, T, inputs)`` with
                ``batch_first``, or ``(T, inputs)`` without a batch.
            state: activations of the neurons of layers with recurrent synapses before the first step, shape
                ``(1, batch, H)``, or ``(1, H)`` without a batch; None for 0. The layers follow each other, and within
                a layer neurons are in the order of their numbers.

        Returns:
            Values of the outputs, shape ``(batch, outputs)``, or with ``read_out="all"`` one for each time step in the
            layout of ``x``; and the state after the last step.

        Raises:
            TypeError: if ``x`` or ``state`` is not a tensor of the parameters' dtype.
            ValueError: if the shape of ``x`` or ``state`` is wrong, or ``x`` has no time step.
        """
        x = self._time_first(x)
        blocks = self._blocks(x, self._states(state, x))
        stages = self.graph.feed_forward_projections
        ends = [(block, stage.hidden) for block, stage in zip(blocks[1:], stages, strict=True)]
        # The gradient of an empty slice would be as large as the block.
        outputs = torch.cat([block[..., hidden:] for block, hidden in ends if hidden < block.shape[-1]], -1)
        order = output_order([(stage.hidden, stage.targets) for stage in stages])
        outputs = outputs if order is None else outputs[..., order]
        last = [blocks[number + 1][-1] for number in self.graph.recurrent_numbers]
        state = torch.cat(last, dim=-1)[None] if last else x.new_zeros(1, *x.shape[1:-1], 0)
        return self._read(outputs), state

    def activations(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        """Return what every neuron sends in each time step; arguments as in :meth:`forward`.

        Returns:
            One number for each neuron, by its number, in the layout of ``x``, shape ``(T, batch, N)``, differentiable.

        Example:
            >>> SpatialRNN([4, 8, 2]).activations(torch.rand(20, 5, 4)).shape
            torch.Size([20, 5, 14])
        """
        x = self._time_first(x)
        graph = self.graph
        numbers = torch.cat([graph.inputs, *(stage.targets for stage in graph.feed_forward_projections)])
        return self._in_layout(torch.cat(self._blocks(x, self._states(state, x)), dim=-1)[..., torch.argsort(numbers)])

    def _blocks(self, x: Tensor, states: Mapping[int, Tensor]) -> list[Tensor]:
        """Return what the inputs and the targets of each stage send in all time steps."""
        self.graph.connectivity.verify()
        transmission = self.graph.transmission()
        stages = self.graph.feed_forward_projections
        signals: dict[int, Tensor] = {}

        def send(number: int, signal: Tensor, bias: Tensor | None, rectify: bool) -> Tensor:
            signals[number] = signal
            return transmission.send(number, signal, bias)

        def normalize(number: int, total: Tensor, bias: Tensor) -> Tensor:
            # What recurrent synapses add is known step by step only.
            return total if number in states else normalised(total, bias)

        def respond(number: int, inner: Tensor | None, outer: Tensor | None) -> Tensor:
            if inner is None:
                return cast(Tensor, outer)
            hidden = self._hidden(transmission, number, signals[number], inner, states.get(number))
            return hidden if outer is None else torch.cat([hidden, outer], dim=-1)

        biases = transmission.biases[: len(stages)]
        return run_stages(x, stages, biases, send, respond, normalize if self.normalize else None)

    def _hidden(
        self, transmission: Transmission, number: int, signal: Tensor, total: Tensor, state: Tensor | None
    ) -> Tensor:
        """Return the states of a stage's hidden neurons in all time steps.

        Args:
            transmission: the weights.
            number: the stage's number.
            signal: what its sources send, shape ``(T, ..., n_sources)``.
            total: what arrives at its hidden neurons of it, shape ``(T, ..., n)``, with the biases unless these follow
                the normalisation.
            state: their states before the first step; None for a stage without recurrent synapses.
        """
        if state is None:
            return NONLINEARITIES[self.nonlinearity](total)
        bias = transmission.biases[number] if self.normalize else torch.zeros_like(transmission.biases[number])
        within = self.graph.recurrent_numbers[number]
        weights = transmission.matrix(within).carrier()
        if self.cell != "gated":
            rate = self._rates(number, total.shape[-1])
            settings: dict[str, Any] = {"nonlinearity": self.nonlinearity, "normalize": self.normalize}
            return recurrent(total, state, weights, bias, rate=rate, **settings)
        gates = cast(Gates, self._own(self.gates, number))
        gates.check(signal.shape[-1], total.shape[-1])
        of_inputs, of_neurons = (self.graph.gain * polarity for polarity in gates.polarities(self.graph.polarity_mode))
        inputs = [transmission.send(number, signal, scale=scale) for scale in of_inputs]
        into_gates = [transmission.matrix(within, scale).carrier() for scale in of_neurons]
        biases = torch.cat([gates.raw_bias, bias[None]])
        return gated([*inputs, total], state, [*into_gates, weights], biases, normalize=self.normalize)

    def _rates(self, number: int, n_neurons: int) -> Tensor | None:
        """Return the rates of a stage's leaky neurons; None where neurons do not leak."""
        if self.cell != "leaky":
            return None
        leaks = cast(Leaks, self._own(self.leaks, number))
        leaks.check(n_neurons)
        return leaks.rates

    def _own(self, modules: nn.ModuleDict, number: int) -> nn.Module:
        """Return what the neurons of a stage have besides the graph."""
        if str(number) not in modules:
            raise ValueError(
                f"graph must have recurrent synapses in the same layers as when the model was made, got some in layer "
                f"{number + 1} too: make a new model of it"
            )
        return modules[str(number)]

    def _time_first(self, x: Tensor) -> Tensor:
        checks.features("x", x, self.graph.projections[0].n_sources, self.graph.raw_bias)
        if x.dim() not in (2, 3):
            raise ValueError(f"x must have 2 axes, or 3 with a batch, got shape {tuple(x.shape)}")
        x = x.transpose(0, 1) if self.batch_first and x.dim() == 3 else x
        if not x.shape[0]:
            raise ValueError(f"x must have at least one time step, got {x.shape[0]}")
        return x

    def _states(self, state: Tensor | None, x: Tensor) -> dict[int, Tensor]:
        """Return the state before the first step of each stage that has recurrent synapses."""
        stages = self.graph.feed_forward_projections
        sizes = [stages[number].hidden for number in self.graph.recurrent_numbers]
        shape = (1, *x.shape[1:-1], sum(sizes))
        own = self.graph.raw_bias
        if state is None:
            state = own.new_zeros(shape)
        checks.same_device("state", checks.shape("state", state, shape), own)
        checks.like_parameters("state", state, own)
        state = state.to(own.dtype)  # with autocast it may be of a lower precision
        return dict(zip(self.graph.recurrent_numbers, state[0].split(sizes, dim=-1), strict=True))

    def _read(self, outputs: Tensor) -> Tensor:
        """Return what is asked for of the outputs ``(T, ..., outputs)``."""
        if self.read_out == "last":
            return outputs[-1]
        if self.read_out == "mean":
            return outputs.mean(0)
        return self._in_layout(outputs)

    def _in_layout(self, series: Tensor) -> Tensor:
        return series.transpose(0, 1) if self.batch_first and series.dim() == 3 else series

    def saved_settings(self) -> dict[str, Any]:
        """Return what the network is besides its graph, for :func:`spatialgraph.save`."""
        return {name: getattr(self, name) for name in _SAVED}

    @classmethod
    def from_saved(cls, graph: SpatialGraph, settings: Mapping[str, Any]) -> "SpatialRNN":
        """Build a model of its graph and of what :meth:`saved_settings` returned."""
        return cls(graph, **settings)

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in _SAVED)
