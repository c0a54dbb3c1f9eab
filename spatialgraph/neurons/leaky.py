"""Leaky integrate-and-fire neurons, and leaky integrators without spikes."""

import functools
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.devices import exact_dtype
from spatialgraph.functional.leaky import RESETS, FastSigmoid, Surrogate, leaky_run, leaky_step
from spatialgraph.neurons.neuron import Neuron, Recording, State
from spatialgraph.neurons.surrogates import make_surrogate, surrogate_name
from spatialgraph.settings import Setting

__all__ = ["Leaky", "LeakyIntegrator"]


def _start(current: Tensor, state: State | None) -> Tensor:
    """Return the potentials before the first step: those of a state, or 0."""
    if state is None:
        return torch.zeros_like(current[0])
    if not state:
        raise ValueError("state must hold potentials, got none")
    return checks.operand("state", state[-1], current.shape[1:], current)


class Leaky(Neuron):
    r"""Leaky integrate-and-fire neurons in snnTorch's convention.

    .. math:: v_t = \beta v_{t-1} + I_t - \theta\, s_{t-1}, \qquad s_t = [v_t > \theta]

    Potentials and currents are dimensionless, and time is measured in steps. With a step of :math:`\Delta t`, the
    membrane's time constant is :math:`\tau = \Delta t / (1 - \beta)`. Spikes and potentials equal those of
    ``snntorch.Leaky`` to the bit. There are no learnable parameters, and no state is stored.

    Args:
        beta: fraction :math:`\beta` of the potential that remains after each step, from 0 to 1.
        threshold: the potential :math:`\theta` above which a neuron fires.
        reset_mechanism: what a spike does one step later: ``"subtract"`` the threshold, set the potential to
            ``"zero"``, or ``"none"``.
        spike_grad: gradient of the spike: ``"fast_sigmoid"``, the name of another function of ``snntorch.surrogate``,
            or such a function.

    Raises:
        TypeError: if ``beta`` or ``threshold`` is not a number.
        ValueError: if ``beta`` is not between 0 and 1, ``threshold`` is not positive and finite, or a name is unknown.
        ImportError: if ``spike_grad`` is a name of snnTorch's and snnTorch is not installed.

    Example:
        >>> Leaky(beta=0.5).run(torch.tensor([[1.0]]), num_steps=3).spikes[:, 0].tolist()
        [0.0, 1.0, 0.0]
    """

    beta = Setting(functools.partial(checks.between, low=0.0, high=1.0))
    threshold = Setting(checks.positive)
    reset_mechanism = Setting(functools.partial(checks.choice, allowed=RESETS))

    def __init__(
        self,
        beta: float = 0.95,
        threshold: float = 1.0,
        reset_mechanism: str = "subtract",
        spike_grad: str | Surrogate = "fast_sigmoid",
    ) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold
        self.reset_mechanism = reset_mechanism
        self.spike_grad = make_surrogate(spike_grad)

    def forward(self, current: Tensor, potential: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Advance by one time step, as ``snntorch.Leaky`` does: ``spikes, potential = leaky(current, potential)``."""
        before = torch.zeros_like(current) if potential is None else potential
        return leaky_step(current, before, self.beta, self.threshold, self.reset_mechanism, self.spike_grad)

    def run(
        self, current: Tensor, num_steps: int, state: State | None = None, record: str = "spikes potentials"
    ) -> Recording:
        """Advance by many steps; arguments as in :meth:`Neuron.run`, the state is ``(potential,)``."""
        start = _start(current, state)
        result = leaky_run(current, num_steps, start, record=record, **self._settings())
        return Recording(result.spikes, result.potentials, (result.last,))

    def weighted_spikes(self, current: Tensor, shares: Tensor) -> Tensor:
        r"""Return :math:`\sum_t a_t s_t` of a run from rest, shape ``(..., n)``, without storing the spikes.

        Args:
            current: as in :meth:`run`.
            shares: the constants :math:`a_t`, shape ``(num_steps,)``.
        """
        start = torch.zeros_like(current[0])
        return cast(Tensor, leaky_run(current, len(shares), start, record="", shares=shares, **self._settings()).summed)

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        name = surrogate_name(self.spike_grad) or getattr(self.spike_grad, "__name__", "custom")
        return (
            f"beta={self.beta}, threshold={self.threshold}, reset_mechanism={self.reset_mechanism!r}, "
            f"spike_grad={name!r}"
        )

    def saved_settings(self) -> dict[str, Any]:
        """Return the settings as numbers and names, for :meth:`from_saved`.

        Raises:
            ValueError: if the surrogate gradient is a function without a name.
        """
        own = self.spike_grad
        saved = own.slope if isinstance(own, FastSigmoid) else surrogate_name(own)
        if saved is None:
            raise ValueError(f"spike_grad must be a name or a FastSigmoid to be saved, got {own!r}")
        return self._settings() | {"spike_grad": saved}

    @classmethod
    def from_saved(cls, settings: Mapping[str, Any]) -> "Leaky":
        """Create neurons from the result of :meth:`saved_settings`.

        Example:
            >>> Leaky.from_saved(Leaky(beta=0.5).saved_settings()).beta
            0.5
        """
        spike_grad = settings["spike_grad"]
        return cls(**{**settings, "spike_grad": spike_grad if isinstance(spike_grad, str) else FastSigmoid(spike_grad)})

    def _settings(self) -> dict[str, Any]:
        return {
            "beta": self.beta,
            "threshold": self.threshold,
            "reset_mechanism": self.reset_mechanism,
            "spike_grad": self.spike_grad,
        }


class LeakyIntegrator(Neuron):
    r"""Leaky integrators, which never fire, :math:`v_t = \beta v_{t-1} + I_t`.

    Args:
        beta: fraction :math:`\beta` of the potential that remains after each step, from 0 to 1.

    Raises:
        TypeError: if ``beta`` is not a number.
        ValueError: if ``beta`` is not between 0 and 1.

    Example:
        >>> LeakyIntegrator(beta=0.5).run(torch.tensor([[1.0]]), num_steps=3).potentials[:, 0].tolist()
        [1.0, 1.5, 1.75]
    """

    beta = Setting(functools.partial(checks.between, low=0.0, high=1.0))

    def __init__(self, beta: float = 0.95) -> None:
        super().__init__()
        self.beta = beta

    def run(
        self, current: Tensor, num_steps: int, state: State | None = None, record: str = "spikes potentials"
    ) -> Recording:
        """Advance by many steps; arguments as in :meth:`Neuron.run`. Spikes are all 0."""
        start = _start(current, state)
        result = leaky_run(
            current,
            num_steps,
            start,
            beta=self.beta,
            threshold=1.0,
            reset_mechanism="none",
            spike_grad=FastSigmoid(),
            record=record,
        )
        spikes = None if result.spikes is None else torch.zeros_like(result.spikes)
        return Recording(spikes, result.potentials, (result.last,))

    def shares(self, num_steps: int, device: torch.device | None = None) -> Tensor:
        r"""Return the weight of each step's current in the mean potential, shape ``(num_steps,)``, in float64.

        .. math:: a_t = \frac{1}{T} \sum_{u = t}^{T} \beta^{u - t}

        Args:
            num_steps: number of steps T.
            device: where they are computed; None for the CPU.

        Example:
            >>> LeakyIntegrator(beta=0.5).shares(3).tolist()
            [0.5833..., 0.5, 0.3333...]
        """
        exact = torch.device("cpu") if device is None or exact_dtype(device) != torch.float64 else device
        powers = self.beta ** torch.arange(num_steps, dtype=torch.float64, device=exact)
        return powers.cumsum(0).flip(0) / num_steps

    def mean_potential(self, current: Tensor, num_steps: int) -> Tensor:
        """Return the mean potential of a run from rest, shape ``(..., n)``; the current as in :meth:`run`."""
        shares = self.shares(num_steps, current.device).to(current)
        return torch.tensordot(shares, current, 1) if len(current) > 1 else shares.sum() * current[0]

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        return f"beta={self.beta}"
