"""Registration of unused or empty tensors as buffers instead of parameters."""

from typing import TypeVar

from torch import Tensor, nn

__all__ = ["freeze", "hold", "replace"]

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
