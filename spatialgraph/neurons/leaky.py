"""Spiking neurons: state in, state out, over a whole run of time steps."""

import abc
import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.functional.leaky import RESETS, FastSigmoid, Surrogate, leaky_run, leaky_step
from spatialgraph.settings import Setting

__all__ = [
    "FastSigmoid",
    "Leaky",
    "LeakyIntegrator",
    "Neuron",
    "Recording",
    "SnnTorchNeuron",
    "State",
    "make_surrogate",
]

State = tuple[Tensor, ...]
"""The state of a group of neurons between two time steps; the membrane potential comes last."""


_MISSING = '{} need snnTorch; install it with: pip install "spatialgraph[snn]"'


class Recording(NamedTuple):
    """What a group of neurons did in a run of T steps.

    ``spikes`` and ``potentials`` have shape ``(T, ..., n)``, or are None if not asked for; ``state`` continues the run.
    """

    spikes: Tensor | None
    potentials: Tensor | None
    state: State


class Neuron(nn.Module, abc.ABC):
    """A group of neurons that keeps no state: it is passed in and out."""

    @abc.abstractmethod
    def run(
        self, current: Tensor, steps: int, state: State | None = None, record: str = "spikes potentials"
    ) -> Recording:
        """Advance by many steps.

        Args:
            current: input of each step, shape ``(steps, ..., n)``, or ``(1, ..., n)`` for a constant current.
            steps: number of steps.
            state: where an earlier run ended; None starts at rest.
            record: which of spikes and potentials are wanted; more may be recorded.
        """


class Leaky(Neuron):
    r"""Leaky integrate-and-fire neurons in snnTorch's convention.

    .. math:: v_t = \beta v_{t-1} + I_t - \theta\, s_{t-1}, \qquad s_t = [v_t > \theta]

    Potentials and currents have no unit: a potential is measured in thresholds' worth of charge, time in steps. With a
    step of :math:`\Delta t`, the membrane's time constant is :math:`\tau = \Delta t / (1 - \beta)`. Spikes and
    potentials equal those of ``snntorch.Leaky`` to the bit. Nothing is learned and no state is kept.

    Args:
        beta: share :math:`\beta` of the potential that stays in each step, from 0 to 1.
        threshold: the potential :math:`\theta` above which a neuron fires.
        reset: what a spike does one step later: ``"subtract"`` the threshold, set the potential to ``"zero"``, or
            ``"none"``.
        surrogate: gradient of the spike: ``"fast_sigmoid"``, the name of another function of ``snntorch.surrogate``,
            or such a function.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if a number is out of range or a name unknown.

    Example:
        >>> Leaky(beta=0.5).run(torch.tensor([[1.0]]), steps=3).spikes[:, 0].tolist()
        [0.0, 1.0, 0.0]
    """

    beta = Setting(functools.partial(checks.between, low=0.0, high=1.0))
    threshold = Setting(checks.positive)
    reset = Setting(functools.partial(checks.choice, allowed=RESETS))

    def __init__(
        self,
        beta: float = 0.95,
        threshold: float = 1.0,
        reset: str = "subtract",
        surrogate: str | Surrogate = "fast_sigmoid",
    ) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold
        self.reset = reset
        self.surrogate_name = surrogate if isinstance(surrogate, str) else getattr(surrogate, "__name__", "custom")
        self.surrogate = make_surrogate(surrogate)

    def forward(self, current: Tensor, potential: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Advance by one step, as ``snntorch.Leaky`` does: ``spikes, potential = leaky(current, potential)``."""
        before = torch.zeros_like(current) if potential is None else potential
        return leaky_step(current, before, self.beta, self.threshold, self.reset, self.surrogate)

    def run(
        self, current: Tensor, steps: int, state: State | None = None, record: str = "spikes potentials"
    ) -> Recording:
        """Advance by many steps; arguments as in :meth:`Neuron.run`, the state is ``(potential,)``."""
        start = torch.zeros_like(current[0]) if state is None else state[-1]
        result = leaky_run(current, steps, start, record=record, **self._settings())
        return Recording(result.spikes, result.potentials, (result.last,))

    def weighted_spikes(self, current: Tensor, shares: Tensor) -> Tensor:
        r"""Return :math:`\sum_t a_t s_t` of a run from rest, shape ``(..., n)``, without storing the spikes.

        Args:
            current: as in :meth:`run`.
            shares: the constants :math:`a_t`, shape ``(steps,)``.
        """
        start = torch.zeros_like(current[0])
        return cast(Tensor, leaky_run(current, len(shares), start, record="", shares=shares, **self._settings()).summed)

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        return f"beta={self.beta}, threshold={self.threshold}, reset={self.reset!r}, surrogate={self.surrogate_name!r}"

    def _settings(self) -> dict[str, Any]:
        return {
            "beta": self.beta,
            "threshold": self.threshold,
            "reset": self.reset,
            "surrogate": self.surrogate,
        }


class LeakyIntegrator(Neuron):
    r"""Outputs that integrate their current and never fire, :math:`v_t = \beta v_{t-1} + I_t`.

    Args:
        beta: share :math:`\beta` of the potential that stays in each step, from 0 to 1.

    Raises:
        TypeError: if ``beta`` is not a number.
        ValueError: if it is out of range.

    Example:
        >>> LeakyIntegrator(beta=0.5).run(torch.tensor([[1.0]]), steps=3).potentials[:, 0].tolist()
        [1.0, 1.5, 1.75]
    """

    beta = Setting(functools.partial(checks.between, low=0.0, high=1.0))

    def __init__(self, beta: float = 0.95) -> None:
        super().__init__()
        self.beta = beta

    def run(
        self, current: Tensor, steps: int, state: State | None = None, record: str = "spikes potentials"
    ) -> Recording:
        """Advance by many steps; arguments as in :meth:`Neuron.run`. There are no spikes, only zeros."""
        start = torch.zeros_like(current[0]) if state is None else state[-1]
        result = leaky_run(
            current,
            steps,
            start,
            beta=self.beta,
            threshold=1.0,
            reset="none",
            surrogate=FastSigmoid(),
            record="potentials",
        )
        potentials = cast(Tensor, result.potentials)
        return Recording(torch.zeros_like(potentials), potentials, (result.last,))

    def shares(self, steps: int) -> Tensor:
        r"""Return how much the current of each step adds to the mean potential, shape ``(steps,)``, in float64.

        .. math:: a_t = \frac{1}{T} \sum_{u = t}^{T} \beta^{u - t}

        Args:
            steps: number of steps T.

        Example:
            >>> LeakyIntegrator(beta=0.5).shares(3).tolist()
            [0.5833..., 0.5, 0.3333...]
        """
        powers = self.beta ** torch.arange(steps, dtype=torch.float64)
        return powers.cumsum(0).flip(0) / steps

    def mean_potential(self, current: Tensor, steps: int) -> Tensor:
        """Return the mean potential of a run from rest, shape ``(..., n)``; the current as in :meth:`run`."""
        shares = self.shares(steps).to(current)
        return torch.tensordot(shares, current, 1) if len(current) > 1 else shares.sum() * current[0]

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        return f"beta={self.beta}"


class SnnTorchNeuron(Neuron):
    """A neuron of snnTorch whose state is passed in and out.

    snnTorch keeps every neuron in a list of its class, and the state of the last step in the module. Here the neuron
    leaves the list, and its state is put back to empty after each run.

    Args:
        module: a spiking neuron of snnTorch made with ``init_hidden=False``, such as ``Synaptic``, ``Alpha``,
            ``Lapicque``, ``RLeaky`` or ``RSynaptic``.

    Raises:
        ImportError: if snnTorch is not installed.
        TypeError: if ``module`` is not a spiking neuron of snnTorch.
        ValueError: if it hides its state.

    Example:
        >>> import snntorch
        >>> neuron = SnnTorchNeuron(snntorch.Synaptic(alpha=0.5, beta=0.9))
        >>> recording = neuron.run(torch.ones(1, 4), steps=3)
        >>> recording.spikes.shape, len(recording.state)
        (torch.Size([3, 4]), 2)
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        try:
            from snntorch import SpikingNeuron
        except ImportError as error:
            raise ImportError(_MISSING.format(f"neurons of type {type(module).__name__}")) from error
        if not isinstance(module, SpikingNeuron):
            raise TypeError(f"neuron must return a spiking neuron of snnTorch, got {type(module).__name__}")
        if module.init_hidden:
            raise ValueError("neuron must return one made with init_hidden=False, got init_hidden=True")
        SpikingNeuron.instances = [other for other in SpikingNeuron.instances if other is not module]
        self.module = module
        self.states = [name for name in inspect.signature(module.forward).parameters if name != "input_"]

    def run(
        self, current: Tensor, steps: int, state: State | None = None, record: str = "spikes potentials"
    ) -> Recording:
        """Advance by many steps; arguments as in :meth:`Neuron.run`. Spikes and potentials are always recorded."""
        self._forget(current)
        spikes, potentials = [], []
        values = (None,) * len(self.states) if state is None else state
        for step in range(steps):
            spike, *rest = self.module(current[min(step, len(current) - 1)], *values)
            values = (spike, *rest) if self.states[0] == "spk" else tuple(rest)
            spikes.append(spike)
            potentials.append(rest[-1])
        self._forget(current)
        # snnTorch fires in single precision, whatever that of its potentials.
        return Recording(torch.stack(spikes).to(current.dtype), torch.stack(potentials), cast(State, values))

    def _forget(self, like: Tensor) -> None:
        for name in (*self.states, "reset"):
            if isinstance(getattr(self.module, name, None), Tensor):
                setattr(self.module, name, like.new_zeros(0))


# A steep surrogate has no gradient for potentials that stray far from the threshold, as those of outputs do.
_OWN_SURROGATES = {"fast_sigmoid": 25.0, "wide_fast_sigmoid": 2.0}


def make_surrogate(surrogate: str | Surrogate) -> Surrogate:
    """Return a spike function by name: ``"fast_sigmoid"`` (slope 25), ``"wide_fast_sigmoid"`` (2), or of snnTorch.

    Example:
        >>> make_surrogate("atan")(torch.tensor([-1.0, 1.0]))
        tensor([0., 1.])
    """
    if callable(surrogate):
        return surrogate
    if surrogate in _OWN_SURROGATES:
        return FastSigmoid(_OWN_SURROGATES[surrogate])
    factories = _snntorch_surrogates()
    checks.choice("surrogate", surrogate, [*_OWN_SURROGATES, *factories])
    return _NamedSurrogate(surrogate, factories[surrogate]())


class _NamedSurrogate:
    """A function of snnTorch that is pickled by its name: it is a local one, which has none of its own."""

    def __init__(self, name: str, function: Surrogate) -> None:
        self.name = name
        self.function = function

    def __call__(self, u: Tensor) -> Tensor:
        return self.function(u)

    def __reduce__(self) -> tuple[Callable[[str], Surrogate], tuple[str]]:
        return make_surrogate, (self.name,)


def _snntorch_surrogates() -> dict[str, Callable[[], Surrogate]]:
    """Return the functions of ``snntorch.surrogate`` that make a spike function without being told anything."""
    try:
        from snntorch import surrogate
    except ImportError as error:
        raise ImportError(_MISSING.format('surrogates other than "fast_sigmoid"')) from error
    found: dict[str, Callable[[], Surrogate]] = {}
    for name, function in vars(surrogate).items():
        if inspect.isfunction(function) and function.__module__ == surrogate.__name__ and name != "fast_sigmoid":
            if all(p.default is not p.empty for p in inspect.signature(function).parameters.values()):
                found[name] = function
    return found
