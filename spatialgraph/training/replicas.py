"""Changes of a network during training, across processes and with optimiser state."""

import contextlib
from collections.abc import Iterator

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from spatialgraph.distributed import synchronize_
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.synapses import carry_over_

__all__ = ["changing"]


@contextlib.contextmanager
def changing(trainer: lightning.Trainer, module: nn.Module) -> Iterator[None]:
    """Let a network change between two steps, then update other processes and optimisers.

    The network of the first process is copied to all. Optimiser state of free weights and delays goes with their
    synapses and is 0 for new ones. That of other parameters whose shape has changed is reset. Where a shape has changed
    ``DistributedDataParallel`` is set up again.

    Raises:
        ValueError: if there are new parameters afterwards, which the optimiser would not update.
    """
    before = [(parameter, parameter.shape) for parameter in module.parameters()]
    graphs = [part for part in module.modules() if isinstance(part, SpatialGraph) and part.free_synapses is not None]
    edges = [graph.edge_index for graph in graphs]
    yield
    synchronize_(module)
    known = {id(parameter) for parameter, _ in before}
    new = [name for name, parameter in module.named_parameters() if id(parameter) not in known]
    if new:
        raise ValueError(f"action must leave the model's parameters the same objects, got a new one, {new[0]}")
    for optimizer in trainer.optimizers:
        for graph, old in zip(graphs, edges, strict=True):
            _follow(optimizer, graph, old)
    if any(parameter.shape != shape for parameter, shape in before):
        for optimizer in trainer.optimizers:
            _forget(optimizer)
        _wrap_again(trainer)


def _follow(optimizer: Optimizer, graph: SpatialGraph, before: Tensor) -> None:
    """Let the state of free weights and delays, one number for each synapse, follow the synapses."""
    after = graph.edge_index
    if graph.free_synapses is None or torch.equal(before, after):
        return
    for parameter in graph.free_synapses.parameters():
        state = optimizer.state.get(parameter, {})
        for name, values in state.items():
            if isinstance(values, Tensor) and values.shape == before.shape[1:]:
                state[name] = values.new_zeros(after.shape[1])
                carry_over_(state[name], values, before, after)


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
