"""Changes of a network during training, across processes and with optimiser state."""

import contextlib
from collections.abc import Iterator

import lightning
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from spatialgraph.distributed import synchronize_

__all__ = ["changing"]


@contextlib.contextmanager
def changing(trainer: lightning.Trainer, module: nn.Module) -> Iterator[None]:
    """Let a network change between two steps, then update other processes and optimisers.

    The network of the first process is copied to all. Optimiser state of parameters whose shape has changed is reset,
    and ``DistributedDataParallel`` is set up again.

    Raises:
        ValueError: if there are new parameters afterwards, which the optimiser would not update.
    """
    before = [(parameter, parameter.shape) for parameter in module.parameters()]
    yield
    synchronize_(module)
    known = {id(parameter) for parameter, _ in before}
    new = [name for name, parameter in module.named_parameters() if id(parameter) not in known]
    if new:
        raise ValueError(f"action must leave the model's parameters the same objects, got a new one, {new[0]}")
    if any(parameter.shape != shape for parameter, shape in before):
        for optimizer in trainer.optimizers:
            _forget(optimizer)
        _wrap_again(trainer)


def _forget(optimizer: Optimizer) -> None:
    """Delete optimiser state whose shape differs from its parameter's."""
    for parameter, state in list(optimizer.state.items()):
        shapes = {values.shape for values in state.values() if isinstance(values, Tensor) and values.dim()}
        if shapes - {parameter.shape}:
            del optimizer.state[parameter]


def _wrap_again(trainer: lightning.Trainer) -> None:
    strategy = trainer.strategy
    if isinstance(strategy, DDPStrategy) and isinstance(strategy.model, DistributedDataParallel):
        strategy.model._remove_autograd_hooks()  # two wrappers would both sum the gradients
        strategy.model = strategy.lightning_module
        strategy.configure_ddp()
