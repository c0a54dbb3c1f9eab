"""Parts: the spatial network within a larger model, and passes of that model that leave it as it was."""

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["SpatialNetwork", "check_single_call", "draws_kept", "find_network", "uncompiled"]


class SpatialNetwork(Protocol):
    """What a model needs to have for its activity to be found; the models of this package have it."""

    @property
    def graph(self) -> SpatialGraph:
        """The network."""

    def activations(self, *inputs: Any) -> Tensor:  # noqa: ANN401 - each model has its own arguments
        """Return what every neuron does, shape ``(..., N)``; arguments as in ``forward``."""


def find_network(model: nn.Module, part: str | None = None) -> nn.Module:
    """Return a model that is a spatial network, or the one within it.

    Arguments and errors are those of :func:`~spatialgraph.activations`.

    Example:
        >>> from spatialgraph import SpatialMLP
        >>> network = SpatialMLP([3, 2])
        >>> find_network(nn.Sequential(nn.Flatten(), network)) is network
        True
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a module, got {type(model).__name__}")
    if part is None and _is_network(model):
        return model
    found: dict[str, nn.Module] = {name: module for name, module in model.named_modules() if _is_network(module)}
    if part is not None:
        return found[checks.choice("part", part, list(found))]
    if not found:
        raise TypeError(f"model must be or hold a spatial network such as SpatialMLP, got {type(model).__name__}")
    if len(found) > 1:
        names = ", ".join(map(repr, found))
        raise ValueError(f"part must name one of the spatial networks of the model ({names}), got None")
    return next(iter(found.values()))


def check_single_call(count: int) -> None:
    """Raise ``ValueError`` unless a model has called its network once in a forward pass.

    Example:
        >>> check_single_call(2)
        Traceback (most recent call last):
        ValueError: model must call its spatial network once in a forward pass, got 2 calls or more: pass the network...
    """
    if count != 1:
        got = "no call" if count < 1 else f"{count} calls or more"
        raise ValueError(
            f"model must call its spatial network once in a forward pass, got {got}: pass the network itself, with "
            "what it receives"
        )


@contextlib.contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """Run parts of a model that ``torch.compile`` has compiled without their compiled code, which knows no hooks.

    Raises:
        RuntimeError: if there are such parts, and PyTorch is older than 2.6.

    Example:
        >>> with uncompiled(nn.Linear(3, 2)):
        ...     pass
    """
    is_compiled = any(_is_wrapper(module) or module._compiled_call_impl is not None for module in model.modules())
    if not is_compiled:
        yield
        return
    if not hasattr(torch.compiler, "set_stance"):
        raise RuntimeError("model must not be compiled with this version of PyTorch; pass it as it was before")
    with torch.compiler.set_stance("force_eager"):
        yield


def draws_kept(model: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Return a context after which random numbers go on as if none had been drawn within.

    Example:
        >>> with draws_kept(nn.Linear(3, 2)):
        ...     first = torch.rand(1)
        >>> bool(first == torch.rand(1))
        True
    """
    devices = {values.device for values in model.parameters() if values.is_cuda}
    return torch.random.fork_rng(devices=list(devices))


def _is_network(module: nn.Module) -> bool:
    """Tell whether a module is a spatial network itself."""
    is_one = isinstance(module, nn.Module) and not _is_wrapper(module)
    return is_one and isinstance(getattr(module, "graph", None), SpatialGraph) and hasattr(module, "activations")


def _is_wrapper(module: nn.Module) -> bool:
    """Tell whether a module is what ``torch.compile`` returns, which has all that the model within has."""
    return "_orig_mod" in module._modules
