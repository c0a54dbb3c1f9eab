"""Callbacks that change a network during training: gradual pruning, and functions called at regular steps."""

import math
import warnings
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import lightning
from torch import Tensor

from spatialgraph import checks
from spatialgraph.distributed import synchronize_
from spatialgraph.training.replicas import changing
from spatialgraph.training.task import Classifier

__all__ = ["AtSteps", "EverySteps", "GradualPruning", "Pruner"]


@runtime_checkable
class Pruner(Protocol):
    """Interface of pruners: ``amount`` can be set at any time, ``remove`` makes the pruning final."""

    amount: float

    def remove(self) -> None:
        """Make the pruning final."""


class GradualPruning(lightning.Callback):
    r"""Increase the amount of a pruner during training, and make the pruning final at its end.

    .. math:: a(t) = a_1 \left(1 - \left(1 - \frac{t - t_0}{t_1 - t_0}\right)^3\right)

    between the shares :math:`t_0` and :math:`t_1` of all steps, 0 before and :math:`a_1` after. The schedule is that of
    `Zhu and Gupta (2017) <https://arxiv.org/abs/1710.01878>`_, Eq. 1, from 0.

    The amount depends only on the step. To resume a training, attach a new pruner to the model first; resuming a
    finished training also makes the pruning final. After an interruption the pruner remains attached; after early
    stopping, the current amount becomes final.

    A copy of the model with averaged weights does not follow the amount of a ``sg.PruneWhileTraining``, and raises at
    its next pass: with Lightning's ``WeightAveraging``, train without validation, and begin to average once the final
    amount is reached.

    Args:
        pruner: a pruner attached to the model, such as ``sg.PruneLinearWhileTraining(0.8).attach(model)``; its amount
            is the final one.
        start: share of the training after which pruning starts.
        end: share of the training after which the final amount is reached.

    Raises:
        TypeError: if ``pruner`` has no ``amount`` or no ``remove``, or ``start`` or ``end`` is not a number.
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
        self.pruner, self.start, self.end = pruner, checks.number("start", start), checks.number("end", end)
        if not 0 <= self.start < self.end <= 1:
            raise ValueError(f"start and end must be shares with 0 <= start < end <= 1, got {start} and {end}")
        self.final = pruner.amount

    def amount(self, done: float) -> float:
        """Return the amount after a share of the training."""
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
        """Make the pruning final; also called on resuming a finished training, but not after an interruption."""
        self.pruner.amount = self.amount(_done(trainer))
        self.pruner.remove()
        synchronize_(pl_module)


class AtSteps(lightning.Callback):
    """Base class of callbacks that change the network after every so many optimiser steps.

    Args:
        every: number of optimiser steps between two changes.
        until: share of the training after which there are no more; with 1 there is none after the last step.

    Raises:
        TypeError: if ``every`` is not an int or ``until`` not a number.
        ValueError: if ``every`` is not above 0 or ``until`` not between 0 and 1.
    """

    def __init__(self, every: int, until: float = 1.0) -> None:
        self.every = checks.integer("every", every, minimum=1)
        self.until = checks.between("until", until, 0.0, 1.0)
        self._steps_before = 0

    def act(self, step: int) -> None:
        """Change the network, after an optimiser step of this number."""
        raise NotImplementedError

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Warn where the training is too short for a single change."""
        steps = _steps(trainer)
        if self.every / steps >= self.until:
            warnings.warn(
                f"{type(self).__name__} does nothing in this training: it has {steps} steps, and changes come every "
                f"{self.every} steps in the first {self.until:.0%} of them",
                stacklevel=1,  # Lightning's own warnings are hidden
            )

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Store the step, because a batch that only accumulates gradients does not take one."""
        self._steps_before = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Tensor | Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Change the network after every ``every`` steps."""
        step = trainer.global_step
        if step > self._steps_before and step % self.every == 0 and _done(trainer) < self.until:
            if isinstance(pl_module, Classifier):  # what is not finite is no network to change
                pl_module.check_losses()
            with changing(trainer, pl_module):
                self.act(step)
            if isinstance(pl_module, Classifier):
                pl_module.changed()


class EverySteps(AtSteps):
    """Call a function after every ``every`` optimiser steps, for example to regrow synapses.

    With several processes, each calls the function, and the network of the first is then copied to all. The function
    must not replace parameters by new objects. Where synapses change, the optimiser's state of their free weights and
    delays goes with them; that of other parameters whose size changes is reset.

    Args:
        every: number of optimiser steps between two calls.
        action: a function without arguments, such as ``lambda: sg.regrow_(model, 0.1)``.
        until: share of the training after which there are no more calls; with 1 there is none after the last step.

    Raises:
        TypeError: if ``every`` is not an int, ``until`` not a number or ``action`` not callable.
        ValueError: if ``every`` is not above 0 or ``until`` not between 0 and 1; during training, if the function
            creates new parameters.

    Warns:
        UserWarning: if the training is too short for a single call.

    Example:
        >>> EverySteps(100, lambda: None, until=0.5).until
        0.5
    """

    def __init__(self, every: int, action: Callable[[], object], until: float = 1.0) -> None:
        super().__init__(every, until)
        if not callable(action):
            raise TypeError(f"action must be a function without arguments, got {type(action).__name__}")
        self.action = action

    def act(self, step: int) -> None:
        """Call the function."""
        self.action()


def _done(trainer: lightning.Trainer) -> float:
    """Return the share of all optimiser steps that are done."""
    return trainer.global_step / _steps(trainer)


def _steps(trainer: lightning.Trainer) -> int:
    """Return the number of optimiser steps of the whole training."""
    steps = trainer.estimated_stepping_batches
    if not 0 < steps < math.inf:
        raise ValueError(f"the training must have a known number of steps, got {steps}; give the trainer max_steps")
    return int(steps)
