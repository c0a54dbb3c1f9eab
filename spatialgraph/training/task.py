"""The Lightning module, and the record of a training."""

import csv
import io
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph import atomic
from spatialgraph.distributed import synchronize_
from spatialgraph.tracing import without_autocast
from spatialgraph.training.augmentation import Augment
from spatialgraph.training.batches import ShuffledBatches
from spatialgraph.training.optimizers import make_optimizer, make_schedule
from spatialgraph.training.recipes import Recipe
from spatialgraph.training.tally import Tally

__all__ = ["Classifier", "EpochSeed", "History", "Loss", "Measured", "WithSettings"]

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From samples, logits and classes to the mean loss of a batch."""


@runtime_checkable
class WithSettings(Protocol):
    """Interface of losses with settings, which must be equal to resume a training."""

    def settings(self) -> dict[str, Any]:
        """Return the settings, as strings and numbers."""


def cross_entropy(samples: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy, as a loss.

    Example:
        >>> cross_entropy(torch.zeros(1, 3), torch.zeros(1, 2), torch.tensor([0]))
        tensor(0.6931)
    """
    return F.cross_entropy(logits, labels)


class Classifier(lightning.LightningModule):
    r"""Lightning module that trains a classifier with Adam, by cross-entropy or another loss.

    Args:
        model: from ``(batch, features)`` to ``(batch, classes)``.
        recipe: the schedule.
        steps: number of steps of the whole training, for the one-cycle schedule.
        penalty: a function without arguments whose value is added to the loss; None for nothing.
        samplers: samplers of ``"train"`` and ``"validation"``, used to weight unequal parts of a batch in several
            processes by their numbers of samples; without one, a batch is not distributed.
        loss: the loss of the training; that of validation is the cross-entropy.
        augment: from the samples of a batch to those that the model is trained on; None for the samples themselves.

    Example:
        >>> task = Classifier(nn.Linear(3, 2), Recipe(), steps=10)
        >>> task.training_step((torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)), 0).shape
        torch.Size([])
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        steps: int,
        penalty: Callable[[], Tensor] | None = None,
        samplers: Mapping[str, ShuffledBatches] | None = None,
        loss: Loss = cross_entropy,
        augment: Augment | None = None,
    ) -> None:
        super().__init__()
        self.model, self.recipe, self.steps, self.penalty = model, recipe, steps, penalty
        self.augment = augment
        self.samplers, self.losses = samplers or {}, {"train": loss, "validation": cross_entropy}
        self.tallies: dict[str, Tally] = {}

    def setup(self, stage: str) -> None:
        """Copy the network of the first process to all, because random wirings differ."""
        synchronize_(self.model)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        own, share = self._share("train", len(batch[1]), batch_idx)
        loss, figures = self.objective(*batch, share)
        self._tally("train").add(figures, own)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Count correct predictions on validation images."""
        own, _ = self._share("validation", len(batch[1]), batch_idx)
        _, figures = self._judged("validation", *batch)
        self._tally("validation").add(figures, own)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own type is a union of nine
        """Return Adam and its schedule."""
        optimizer = make_optimizer(self.model, self.recipe)
        schedule = make_schedule(optimizer, self.recipe, self.steps)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def objective(self, images: Tensor, labels: Tensor, share: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return what a step minimises, and its figures: the loss, the number of right answers, and the penalty.

        Augmentation and penalty are computed in full precision, also where the model is in a lower one.
        """
        samples = images
        if self.augment is not None:
            with without_autocast(images.device.type):
                samples = self.augment(images)
        loss, figures = self._judged("train", samples, labels)
        loss = loss if share == 1 else loss * share
        if self.penalty is None:
            return loss, figures
        with without_autocast(images.device.type):
            penalty = self.penalty()
        own = penalty.detach().reshape(1).to(figures) if isinstance(penalty, Tensor) else figures.new_tensor([penalty])
        return loss + penalty, torch.cat([figures, own])

    def check_losses(self) -> None:
        """Check the losses so far, where steps do not wait for them.

        Raises:
            FloatingPointError: if one is not finite.
        """
        for tally in self.tallies.values():
            tally.read()

    def changed(self) -> None:
        """Take note of a change of the model or of its settings between two steps."""

    def release(self) -> None:
        """Free the memory that the training holds on its device, besides the model."""
        self.tallies.clear()

    def averages(self, stage: str) -> dict[str, float]:
        """Return mean loss and accuracy of a stage since the last call, over all processes."""
        tally = self.tallies.pop(stage, None)
        if tally is None:
            return {}
        sums = tally.sums()
        if self.trainer.world_size > 1:
            own = torch.tensor(sums, dtype=torch.float64, device=self.device)
            sums = self.trainer.strategy.reduce(own, reduce_op="sum").tolist()
        loss, right, count = sums
        return {f"{stage}_loss": loss / count, f"{stage}_accuracy": right / count}

    def _judged(self, stage: str, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss of a batch, and as one tensor the loss and the number of right answers."""
        logits = self.model(images)
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        loss = self.losses[stage](images, logits, labels)
        with torch.no_grad():
            right = (logits.argmax(1) == labels).sum()
            kind = torch.promote_types(loss.dtype, torch.float32)  # some devices have no double precision
            return loss, torch.stack([loss.detach().to(kind), right.to(kind)])

    def _tally(self, stage: str) -> Tally:
        if stage not in self.tallies:
            self.tallies[stage] = Tally(stage, self.current_epoch + 1)
        return self.tallies[stage]

    def _share(self, stage: str, count: int, number: int) -> tuple[int, float]:
        """Return how many samples of a batch count here, and a factor by which losses average over all processes."""
        sampler = self.samplers.get(stage)
        if sampler is None:
            return count, 1.0
        own, whole = sampler.sizes(number)
        return own, 1.0 if own * sampler.world == whole else own * sampler.world / whole


class EpochSeed(lightning.Callback):
    """Seed PyTorch's random numbers at each epoch, as a function of the seed and the epoch.

    A model may draw random numbers during training, such as spikes; a resumed training then draws the same ones as an
    uninterrupted one.

    Args:
        seed: seed of the training.
        rank: rank of this process, so that processes draw different numbers.

    Example:
        >>> EpochSeed(3).seed
        3
    """

    def __init__(self, seed: int, rank: int = 0) -> None:
        self.seed, self.rank = seed, rank

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Seed the random numbers of this epoch."""
        torch.manual_seed((self.seed * 1_000_003 + trainer.current_epoch) * 1_009 + self.rank)


@runtime_checkable
class Measured(Protocol):
    """Interface of callbacks with metrics of their own, which become columns of the history."""

    def epoch_metrics(self) -> dict[str, float]:
        """Return the metrics of the epoch that ends, of the same names in every epoch."""


class History(lightning.Callback):
    """Record metrics of each epoch, in checkpoints and as CSV and JSON files.

    The rows are part of the checkpoint, so that a resumed training continues its record. Files are written atomically.

    Args:
        folder: folder of ``history.csv`` and ``history.json``.

    Example:
        >>> History(Path("runs")).rows
        []
    """

    FILES = ("history.json", "history.csv")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, float]] = []
        self._seconds = 0.0
        self._began = 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Add a row and write the files."""
        if not isinstance(pl_module, Classifier):
            raise TypeError(f"History records a Classifier, got {type(pl_module).__name__}")
        figures = pl_module.averages("train") | pl_module.averages("validation")  # after all that the device has to do
        self._seconds += time.perf_counter() - self._began
        for name, value in figures.items():
            pl_module.log(name, value, prog_bar="accuracy" in name, rank_zero_only=True)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            figures |= callback.epoch_metrics() if isinstance(callback, Measured) else {}
        self.rows.append({"epoch": trainer.current_epoch + 1, **figures, "seconds": round(self._seconds, 3)})
        if trainer.is_global_zero:
            self.write()

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the files of a finished training that is resumed, as they may be missing."""
        if trainer.is_global_zero and self.rows:
            self.write()

    def write(self) -> None:
        """Write the rows."""
        atomic.write_text(self.folder / self.FILES[0], json.dumps(self.rows, indent=1))
        file = io.StringIO(newline="")
        # Epochs before a training was resumed may lack what a new callback measures.
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(name for row in self.rows for name in row)))
        writer.writeheader()
        writer.writerows(self.rows)
        atomic.write_text(self.folder / self.FILES[1], file.getvalue())

    def state_dict(self) -> dict[str, Any]:
        """Return the rows for a checkpoint."""
        return {"rows": self.rows, "seconds": self._seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the rows of a checkpoint."""
        self.rows, self._seconds = list(state_dict["rows"]), state_dict["seconds"]
