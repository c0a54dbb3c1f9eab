"""What changes a network while it trains: gradual pruning, and any action every so many steps."""

import math
import warnings
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import lightning
from torch import Tensor

from spatialgraph.distributed import synchronize_
from spatialgraph.training.replicas import changing

__all__ = ["EverySteps", "GradualPruning", "Pruner"]


@runtime_checkable
class Pruner(Protocol):
    """What prunes a network in every forward pass: ``amount`` may be set at any time, ``remove`` makes it final."""

    amount: float

    def remove(self) -> None:
        """Leave the network pruned for good."""


class GradualPruning(lightning.Callback):
    r"""Raise the amount of a pruner during training, and make the pruning final when the training has ended.

    .. math:: a(t) = a_1 \left(1 - \left(1 - \frac{t - t_0}{t_1 - t_0}\right)^3\right)

    between the shares :math:`t_0` and :math:`t_1` of all steps, 0 before and :math:`a_1` after: fast while many weights
    are dispensable, slower as they become few. The schedule is that of `Zhu and Gupta (2017)
    <https://arxiv.org/abs/1710.01878>`_, Eq. 1, from 0.

    The amount follows from the number of the step alone. To resume a training, attach a new pruner to the model first;
    the pruning is made final also where nothing is left to train. An interrupted training leaves the pruner attached,
    one that stops early keeps the amount it has come to.

    Args:
        pruner: attached to the model that is trained, such as ``sg.PruneLinearWhileTraining(0.8).attach(model)``; its
            amount is the final one.
        start: share of the training after which pruning starts.
        end: share of the training after which the final amount is reached.

    Raises:
        TypeError: if ``pruner`` has no ``amount`` or no ``remove``.
        ValueError: if not 0 <= ``start`` < ``end`` <= 1.

    Example:
        >>> import spatialgraph as sg
        >>> from torch import nn
        >>> pruning = GradualPruning(sg.PruneLinearWhileTraining(0.8).attach(nn.Linear(3, 2)), start=0.0, end=0.5)
        >>> [round(pruning.amount(done), 3) for done in (0.0, 0.25, 0.5, 1.0)]
        [0.0, 0.7, 0.8, 0.8]
    """

    def __init__(self, pruner: Pruner, start: float = 0.0, end: float = 0.75) -> None:
        if not isinstance(pruner, Pruner):
            raise TypeError(f"pruner must have amount and remove, got {type(pruner).__name__}")
        if not 0 <= start < end <= 1:
            raise ValueError(f"start and end must be shares with 0 <= start < end <= 1, got {start} and {end}")
        self.pruner, self.start, self.end = pruner, start, end
        self.final = pruner.amount

    def amount(self, done: float) -> float:
        """Return the amount where a share of the training is done."""
        left = 1 - (done - self.start) / (self.end - self.start)
        return self.final * (1 - min(1.0, max(0.0, left)) ** 3)

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,  # noqa: ANN401 - as in Lightning
        batch_idx: int,
    ) -> None:
        """Set the amount of this step."""
        self.pruner.amount = self.amount(_done(trainer))

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Make the pruning final; Lightning comes here also on resuming a finished training, not when interrupted."""
        self.pruner.amount = self.amount(_done(trainer))
        self.pruner.remove()
        synchronize_(pl_module)


class EverySteps(lightning.Callback):
    """Call a function after every so many optimiser steps, for rewiring during training.

    Where several processes train, each calls it, and then all take over the network of the first. The function must
    leave the parameters the same objects; what an optimiser knows of parameters whose size it changes starts anew.

    Args:
        steps: how many optimiser steps lie between two calls.
        action: a function without arguments, such as ``model.graph.rewire_``.
        until: share of the training from which on there are no more calls; by 1 there is none after the last step.

    Raises:
        TypeError: if ``steps`` is not an int or ``action`` not callable.
        ValueError: if ``steps`` is not above 0 or ``until`` not between 0 and 1; while training, if the function has
            made new parameters.

    Warns:
        UserWarning: if the training is too short for a single call.

    Example:
        >>> EverySteps(100, lambda: None, until=0.5).until
        0.5
    """

    def __init__(self, steps: int, action: Callable[[], object], until: float = 1.0) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int):
            raise TypeError(f"steps must be an int, got {type(steps).__name__}")
        if steps < 1:
            raise ValueError(f"steps must be above 0, got {steps}")
        if not callable(action):
            raise TypeError(f"action must be a function without arguments, got {type(action).__name__}")
        if not 0 <= until <= 1:
            raise ValueError(f"until must be between 0 and 1, got {until}")
        self.steps, self.action, self.until = steps, action, until
        self._steps_before = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Warn where the training is too short for a single call."""
        steps = _steps(trainer)
        if self.steps / steps >= self.until:
            warnings.warn(
                f"EverySteps calls nothing in this training: it has {steps} steps, and calls come every {self.steps} "
                f"steps in the first {self.until:.0%} of them",
                stacklevel=1,  # Lightning's own warnings are hidden
            )

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Note the step: a batch whose gradients are only accumulated makes none."""
        self._steps_before = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Tensor | Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Call the function where its turn has come."""
        step = trainer.global_step
        if step > self._steps_before and step % self.steps == 0 and _done(trainer) < self.until:
            with changing(trainer, pl_module):
                self.action()


def _done(trainer: lightning.Trainer) -> float:
    """Return the share of all optimiser steps that are done."""
    return trainer.global_step / _steps(trainer)


def _steps(trainer: lightning.Trainer) -> int:
    """Return the number of optimiser steps of the whole training."""
    steps = trainer.estimated_stepping_batches
    if not 0 < steps < math.inf:
        raise ValueError("the training must have a known number of steps; give the trainer max_steps")
    return int(steps)
