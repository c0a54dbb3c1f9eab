"""Surrogate gradients by name."""

import inspect
from collections.abc import Callable

from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional.leaky import FastSigmoid, Surrogate

__all__ = ["FastSigmoid", "make_surrogate", "surrogate_name"]

# A steep surrogate has almost no gradient far from the threshold, where potentials of outputs often are.
_OWN_SURROGATES = {"fast_sigmoid": 25.0, "wide_fast_sigmoid": 2.0}


def make_surrogate(surrogate: str | Surrogate) -> Surrogate:
    """Return a spike function by its name: ``"fast_sigmoid"`` (slope 25), ``"wide_fast_sigmoid"`` (2), or of snnTorch.

    Example:
        >>> import torch
        >>> make_surrogate("atan")(torch.tensor([-1.0, 1.0]))
        tensor([0., 1.])
    """
    if callable(surrogate):
        return surrogate
    if not isinstance(surrogate, str):
        raise ValueError(f"spike_grad must be a name or a function, got {surrogate!r}")
    if surrogate in _OWN_SURROGATES:
        return FastSigmoid(_OWN_SURROGATES[surrogate])
    factories = _snntorch_surrogates()
    checks.choice("spike_grad", surrogate, [*_OWN_SURROGATES, *factories])
    return _NamedSurrogate(surrogate, factories[surrogate]())


def surrogate_name(surrogate: Surrogate) -> str | None:
    """Return the name for which :func:`make_surrogate` returns this spike function; None if there is none.

    Example:
        >>> surrogate_name(make_surrogate("atan")), surrogate_name(FastSigmoid(2.0)), surrogate_name(FastSigmoid(3.0))
        ('atan', 'wide_fast_sigmoid', None)
    """
    if isinstance(surrogate, FastSigmoid):
        return next((name for name, slope in _OWN_SURROGATES.items() if slope == surrogate.slope), None)
    return surrogate.name if isinstance(surrogate, _NamedSurrogate) else None


class _NamedSurrogate:
    """A function of snnTorch that is pickled by name, because local functions cannot be pickled."""

    def __init__(self, name: str, function: Surrogate) -> None:
        self.name = name
        self.function = function

    def __call__(self, u: Tensor) -> Tensor:
        return self.function(u)

    def __reduce__(self) -> tuple[Callable[[str], Surrogate], tuple[str]]:
        return make_surrogate, (self.name,)


def _snntorch_surrogates() -> dict[str, Callable[[], Surrogate]]:
    """Return the functions of ``snntorch.surrogate`` that create a spike function without arguments."""
    try:
        from snntorch import surrogate
    except ImportError as error:
        raise ImportError(
            f"surrogates other than {' and '.join(map(repr, _OWN_SURROGATES))} need snnTorch; "
            'install it with: pip install "spatialgraph[snn]"'
        ) from error
    found: dict[str, Callable[[], Surrogate]] = {}
    for name, function in vars(surrogate).items():
        if inspect.isfunction(function) and function.__module__ == surrogate.__name__ and name != "fast_sigmoid":
            if all(p.default is not p.empty for p in inspect.signature(function).parameters.values()):
                found[name] = function
    return found
