"""Distributed training: copies one process's network to all others."""

import hashlib
import io
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from spatialgraph import checks

__all__ = ["synchronize_"]

Model = TypeVar("Model", bound=nn.Module)


def synchronize_(model: Model, source: int = 0) -> Model:
    """Copy synapses, parameters and buffers of one process's model to all processes of ``torch.distributed``, in place.

    A random wiring differs between processes, and ``DistributedDataParallel`` does not synchronise synapses: call this
    in every process before wrapping the model, and after each change of synapses. :func:`spatialgraph.training.fit`
    does so automatically. Parameters remain the same objects, including free weights whose number changes. Does nothing
    without a process group.

    Args:
        model: a module that all processes have built in the same way, except for the synapses of its spatial networks.
        source: rank of the process whose model is copied.

    Returns:
        The model itself.

    Raises:
        TypeError: if ``model`` is not a module or ``source`` not an int.
        ValueError: if ``source`` is negative or not below the number of processes.
        RuntimeError: in every process, if the model of one cannot load the state of the source.

    Example:
        >>> model = synchronize_(nn.Linear(2, 1))  # a single process
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, got {type(model).__name__}")
    checks.integer("source", source, minimum=0)
    if not (dist.is_available() and dist.is_initialized()):
        return model
    if source >= dist.get_world_size():
        raise ValueError(f"source must be below the number of processes ({dist.get_world_size()}), got {source}")
    is_source = dist.get_rank() == source
    sent: list[Any] = [(_pack(model), _digest(model)) if is_source else None]
    dist.broadcast_object_list(sent, source)
    data, digest = sent[0]
    error = None if is_source else _load(model, data, digest)
    errors: list[str | None] = [None] * dist.get_world_size()
    dist.all_gather_object(errors, error)  # all processes raise, so that none waits for another
    for rank, text in enumerate(errors):
        if text is not None:
            raise RuntimeError(f"model of process {rank} must be built like that of process {source}, got: {text}")
    return model


def _tensors(model: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a model's state and its non-persistent buffers."""
    state = model.state_dict()
    return state, {name: values for name, values in model.named_buffers() if name not in state}


def _pack(model: nn.Module) -> bytes:
    file = io.BytesIO()
    torch.save(_tensors(model), file)
    return file.getvalue()


@torch.no_grad()
def _load(model: nn.Module, data: bytes, digest: str) -> str | None:
    """Load a state and check its digest; return a description of the error, or None."""
    try:
        state, buffers = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        model.load_state_dict(state)
        own = dict(model.named_buffers())
        for name, values in buffers.items():
            own[name].copy_(values)
    except Exception as error:  # of any kind: all processes must receive it
        return f"{type(error).__name__}: {error}"
    return None if _digest(model) == digest else "values differ from those sent"


def _digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for tensors in _tensors(model):
        for name, values in tensors.items():
            digest.update(name.encode())
            if isinstance(values, Tensor):
                digest.update(f"{values.dtype} {tuple(values.shape)}".encode())
                values = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            digest.update(values if isinstance(values, bytes) else repr(values).encode())
    return digest.hexdigest()
