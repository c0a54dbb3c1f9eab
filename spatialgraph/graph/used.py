"""Registration of unused or empty tensors as buffers instead of parameters, and checks before they are set."""

from typing import TypeVar

from torch import Tensor, nn

__all__ = ["check_own", "freeze", "hold", "hold_rows", "replace"]

Part = TypeVar("Part", bound=nn.Module)


def hold(module: nn.Module, name: str, values: Tensor, is_used: bool, requires_grad: bool = True) -> None:
    """Register values as a parameter of a module if they are used and not empty, else as a buffer.

    Optimisers may divide by the number of elements, and distributed training waits for the gradient of every parameter.
    The name in a ``state_dict`` does not depend on the kind.

    Example:
        >>> import torch
        >>> module = nn.Module()
        >>> hold(module, "weight", torch.zeros(3), is_used=True)
        >>> hold(module, "bias", torch.zeros(0), is_used=True)
        >>> [name for name, _ in module.named_parameters()], [name for name, _ in module.named_buffers()]
        (['weight'], ['bias'])
    """
    if is_used and values.numel():
        module.register_parameter(name, nn.Parameter(values, requires_grad))
    else:
        module.register_buffer(name, values.detach())


def hold_rows(module: nn.Module, name: str, values: Tensor, is_used: bool) -> None:
    """Register values of the rows and columns of grids; without grids they are no entry of a ``state_dict``.

    Example:
        >>> import torch
        >>> module = nn.Module()
        >>> hold_rows(module, "grid_coords", torch.zeros(0, 2), is_used=True)
        >>> module.grid_coords.shape, list(module.state_dict())
        (torch.Size([0, 2]), [])
    """
    if len(values):
        hold(module, name, values, is_used)
    else:
        module.register_buffer(name, values.detach(), persistent=False)


def check_own(module: nn.Module, *names: str) -> None:
    """Check that values are parameters or buffers, so that what is written to them stays.

    Raises:
        RuntimeError: if a value is computed from another one, by a parametrization or by ``torch.nn.utils.prune``.

    Example:
        >>> check_own(nn.Linear(2, 2), "weight", "bias")
    """
    own = {**module._parameters, **module._buffers}
    for name in names:
        if name not in own:
            raise RuntimeError(
                f"{name} must be a parameter or buffer to be set or saved, got one that torch.nn.utils.parametrize or "
                "prune computes; remove the parametrization or the pruning first"
            )


def replace(module: nn.Module, name: str, values: Tensor, is_used: bool = True) -> None:
    """Replace the values of a parameter or buffer; a buffer remains one.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> replace(layer, "bias", layer.bias[:1])
        >>> layer.bias.shape
        torch.Size([1])
    """
    old = getattr(module, name)
    if isinstance(old, nn.Parameter) and is_used and values.numel():
        setattr(module, name, nn.Parameter(values.detach(), old.requires_grad))  # keeps the order of the parameters
        return
    delattr(module, name)
    module.register_buffer(name, values.detach())


def freeze(module: Part) -> Part:
    """Turn all parameters of a module into buffers, and return the module.

    Example:
        >>> list(freeze(nn.Linear(2, 2)).parameters())
        []
    """
    for part in module.modules():
        for name, _ in list(part.named_parameters(recurse=False)):
            replace(part, name, getattr(part, name), is_used=False)
    return module
