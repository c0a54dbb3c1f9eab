r"""Laws: functions from the length of a synapse to its weight.

Every law is a function of the softened squared length :math:`\rho^2 = r^2 + \varepsilon^2`, so that weight and gradient
are finite at :math:`r = 0`, where two neurons coincide. Lengths are computed from coordinate differences, because the
expansion :math:`|p|^2 + |q|^2 - 2\,p \cdot q` has large rounding errors for short lengths far from the origin.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from spatialgraph import checks

__all__ = ["LAWS", "Law", "constant", "law_on", "make_law", "register_law", "softened_square", "unregister_law"]

_HALF = (torch.float16, torch.bfloat16)


def softened_square(source_pos: Tensor, target_pos: Tensor, softening: float) -> Tensor:
    r"""Return the softened squared length of each pair of rows, :math:`|p - q|^2 + \varepsilon^2`.

    Args:
        source_pos: positions of the sources, shape ``(E, d)``, in length units.
        target_pos: positions of the targets, shape ``(E, d)``, in length units.
        softening: :math:`\varepsilon`, in length units.

    Returns:
        Tensor of shape ``(E,)``, in squared length units.

    Example:
        >>> softened_square(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]), 0.0)
        tensor([25.])
    """
    return (source_pos - target_pos).square().sum(-1) + softening**2


def law_on(law: "Law", device: torch.device) -> "Law":
    """Return a law on a device: itself, or a copy where its parameters or buffers are on another.

    Example:
        >>> law = make_law("inverse_power")
        >>> law_on(law, torch.device("cpu")) is law, law_on(law, torch.device("meta")) is law
        (True, False)
    """
    held = (*law.parameters(), *law.buffers())
    return law if all(values.device == device for values in held) else copy.deepcopy(law).to(device)


class Law(nn.Module, ABC):
    r"""A differentiable function from length to weight.

    Subclasses implement :meth:`from_square`; :meth:`slope` falls back to automatic differentiation. Subclasses with
    learnable parameters, such as an exponent, also implement :meth:`parameter_slopes`.

    Args:
        softening: :math:`\varepsilon` in :math:`\rho^2 = r^2 + \varepsilon^2`, in length units. Lengths well above it
            are unaffected: the relative change of an inverse distance is :math:`\varepsilon^2 / 2 r^2`.

    Raises:
        ValueError: if ``softening`` is negative or not finite.

    Example:
        >>> class Exponential(Law):
        ...     def from_square(self, square):
        ...         return torch.exp(-square.sqrt())
        >>> Exponential()(torch.tensor([1.0]))
        tensor([0.3679])
    """

    def __init__(self, softening: float = 1e-3) -> None:
        super().__init__()
        self.softening = constant("softening", softening, minimum=0.0)

    @property
    def name(self) -> str:
        """The law's name in :func:`make_law`, or the name of its class."""
        return next((name for name, kind in LAWS.items() if kind is type(self)), type(self).__name__)

    def settings(self) -> dict[str, float | bool]:
        """Return the constructor's arguments for an equal law.

        Example:
            >>> make_law("yukawa", screening=2.0).settings()
            {'screening': 2.0, 'softening': 0.001}
        """
        return {"softening": self.softening}

    @torch.no_grad()
    def restore(self, settings: Mapping[str, float | bool]) -> None:
        """Copy settings that are tensors, because the constructor creates them in single precision.

        Example:
            >>> law = make_law("inverse_power").double()
            >>> law.restore({"exponent": 2.1})
            >>> law.exponent.item()
            2.1
        """
        for name, value in settings.items():
            own = getattr(self, name, None)
            if isinstance(own, Tensor):
                own.fill_(value)

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        return ", ".join(f"{name}={value}" for name, value in self.settings().items())

    def forward(self, length: Tensor) -> Tensor:
        """Return the weight of synapses of the given length.

        Args:
            length: Euclidean lengths, any shape, in length units.

        Returns:
            Weights of the same shape.

        Raises:
            TypeError: if ``length`` is not a floating-point tensor.

        Example:
            >>> make_law("inverse_distance")(torch.tensor([0.5, 2.0]))
            tensor([2.0000, 0.5000])
        """
        if not checks.tensor("length", length).is_floating_point():
            raise TypeError(f"length must be floating point, got {length.dtype}")
        exact = length.float() if length.dtype in _HALF else length  # squares would overflow and underflow
        return self.from_square(exact.square() + self.softening**2).to(length.dtype)

    @abstractmethod
    def from_square(self, square: Tensor) -> Tensor:
        r"""Return the weight at the softened squared length :math:`\rho^2`, elementwise."""

    def slope(self, square: Tensor, weight: Tensor) -> Tensor:
        r"""Return :math:`\mathrm d w / \mathrm d \rho^2`, elementwise; by automatic differentiation if not overridden.

        Args:
            square: softened squared lengths :math:`\rho^2`.
            weight: the weights there, already computed by :meth:`from_square`.
        """
        slope: Tensor = torch.func.grad(lambda s: self.from_square(s).sum())(square)
        return slope

    def parameter_slopes(self, square: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        """Return the derivative of the weight by each of the law's parameters, in the order of ``parameters()``."""
        if next(self.parameters(), None) is not None:
            raise NotImplementedError(f"{type(self).__name__} has parameters and must implement parameter_slopes")
        return ()


LAWS: dict[str, type[Law]] = {}
"""Laws by name."""


def register_law(name: str, law: type[Law]) -> None:
    """Let graphs, files and exports know a law of your own by a name.

    The constructor's arguments must be numbers or booleans, and :meth:`Law.settings` return them.

    Args:
        name: the name; not one of another law.
        law: a subclass of :class:`Law`.

    Raises:
        TypeError: if ``name`` is not a string or ``law`` not a subclass of :class:`Law`.
        ValueError: if the name belongs to another law.

    Example:
        >>> class Exponential(Law):
        ...     def from_square(self, square):
        ...         return torch.exp(-square.sqrt())
        >>> register_law("exponential", Exponential)
        >>> make_law("exponential").name
        'exponential'
        >>> unregister_law("exponential")
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, got {type(name).__name__}")
    if not (isinstance(law, type) and issubclass(law, Law)):
        raise TypeError(f"law must be a subclass of Law, got {law!r}")
    if LAWS.get(name, law) is not law:
        raise ValueError(f"name must not be that of another law, got {name!r}")
    LAWS[name] = law


def unregister_law(name: str) -> None:
    """Undo :func:`register_law`."""
    del LAWS[name]


def make_law(law: str | Law, **settings: float | bool) -> Law:
    """Return the law of a given name, or the law itself.

    Args:
        law: a name, such as ``"inverse_distance"``, or a :class:`Law`.
        **settings: arguments for a law given by name.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if ``law`` is neither a name nor a law.

    Example:
        >>> make_law("gaussian", sigma=2.0)
        Gaussian(sigma=2.0)
    """
    if isinstance(law, Law):
        return law
    if not isinstance(law, str):
        raise TypeError(f"law must be a name or a Law, got {type(law).__name__}")
    if law not in LAWS:
        raise ValueError(f"law must be one of {', '.join(map(repr, LAWS))}, got {law!r}")
    return LAWS[law](**settings)


# The squares of shorter lengths are 0 in single precision, and slopes of an inverse distance at length 0 overflow.
LEAST_LENGTH = 1e-12


def constant(name: str, value: float, *, above: float = -math.inf, minimum: float = -math.inf) -> float:
    """Return a constant of a law, checked to be finite and large enough."""
    result = checks.real(name, value)
    if not math.isfinite(result) or result <= above or result < minimum:
        allowed = f"finite and above {above:g}" if above > -math.inf else f"finite and at least {minimum:g}"
        raise ValueError(f"{name} must be {allowed}, got {value}")
    return result
