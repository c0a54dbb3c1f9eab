"""Surrogate gradients by name."""

import inspect
from collections.abc import Callable

from torch import Tensor

from spatialgraph import checks
from spatialgraph.functional.leaky import FastSigmoid, Surrogate

__all__ = ["FastSigmoid", "is_named", "make_surrogate"]

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
    if surrogate in _OWN_SURROGATES:
        return FastSigmoid(_OWN_SURROGATES[surrogate])
    factories = _snntorch_surrogates()
    checks.choice("spike_grad", surrogate, [*_OWN_SURROGATES, *factories])
    return _NamedSurrogate(surrogate, factories[surrogate]())


def is_named(surrogate: Surrogate, name: str) -> bool:
    """Tell whether a surrogate gradient is the one of the given name.

    Example:
        >>> is_named(FastSigmoid(25.0), "fast_sigmoid"), is_named(FastSigmoid(3.0), "fast_sigmoid")
        (True, False)
    """
    try:
        named = make_surrogate(name)
    except (ImportError, ValueError):
        return False
    if isinstance(surrogate, FastSigmoid) and isinstance(named, FastSigmoid):
        return surrogate.slope == named.slope
    own, named = (getattr(function, "function", function) for function in (surrogate, named))  # of snnTorch's
    return getattr(own, "__code__", None) is getattr(named, "__code__", named)


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
            'surrogates other than "fast_sigmoid" need snnTorch; install it with: pip install "spatialgraph[snn]"'
        ) from error
    found: dict[str, Callable[[], Surrogate]] = {}
    for name, function in vars(surrogate).items():
        if inspect.isfunction(function) and function.__module__ == surrogate.__name__ and name != "fast_sigmoid":
            if all(p.default is not p.empty for p in inspect.signature(function).parameters.values()):
                found[name] = function
    return found
