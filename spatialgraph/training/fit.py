"""Training a model with checkpoints, resume and early stop."""

import contextlib
import dataclasses
import logging
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn

from spatialgraph.training.batches import ShuffledBatches, batches
from spatialgraph.training.recipes import Recipe
from spatialgraph.training.task import Classifier, EpochSeed, History

__all__ = ["Images", "accuracy", "fit", "is_main_process"]

Images = tuple[Tensor, Tensor]
"""Samples of shape (count, features) and their classes of shape (count,)."""


@dataclasses.dataclass(frozen=True)
class _Processes:
    """The processes that ``torchrun`` started, or this one alone."""

    rank: int
    world: int
    nodes: int

    @classmethod
    def from_environment(cls) -> "_Processes":
        world = int(os.environ.get("WORLD_SIZE", 1))
        here = int(os.environ.get("LOCAL_WORLD_SIZE", world))
        return cls(int(os.environ.get("RANK", 0)), world, max(1, world // here))


def is_main_process() -> bool:
    """Tell whether this process is the one that reports and writes files.

    Example:
        >>> is_main_process()
        True
    """
    return _Processes.from_environment().rank == 0


def fit(
    model: nn.Module,
    train: Images,
    recipe: Recipe,
    folder: str | Path,
    *,
    seed: int = 0,
    validation: Images | None = None,
    patience: int | None = None,
    penalty: Callable[[], Tensor] | None = None,
    callbacks: Sequence[Callback] = (),
    device: str = "cpu",
    strategy: str | Strategy = "auto",
    resume: bool = False,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train a model in place and return its history.

    After every epoch a checkpoint (``last.ckpt``) replaces the one before, so that an interruption of any kind loses
    one epoch at most; a resumed training ends at the same bits as an uninterrupted one. Started by ``torchrun``, the
    processes share each batch (distributed data parallel): the loss is the mean over the samples of the whole batch.
    All begin with the network of the first process, also where each has drawn a random wiring of its own.

    Args:
        model: from ``(batch, features)`` to ``(batch, classes)``, already initialised.
        train: training images and labels.
        recipe: the schedule.
        folder: where checkpoint and history go.
        seed: seed of the shuffling, and at each epoch of PyTorch's random numbers.
        validation: held-out images and labels; None trains without.
        patience: stop after this many epochs without a better validation accuracy; None never stops early.
        penalty: added to the loss, a function without arguments.
        callbacks: Lightning callbacks beside its own, such as :class:`GradualPruning`.
        device: ``"cpu"``, ``"cuda"``, ... or ``"auto"``.
        strategy: how several processes work together, as in Lightning's ``Trainer``, such as ``"ddp"`` or a
            ``DDPStrategy``; ``"auto"`` is ``"ddp"`` where there are several.
        resume: continue from the checkpoint in ``folder`` where there is one.
        progress: whether to show a progress bar.

    Returns:
        A row for each epoch, of ``epoch``, ``train_loss``, ``train_accuracy``, ``seconds`` and, with held-out images,
        ``validation_loss`` and ``validation_accuracy``.

    Raises:
        ValueError: if ``patience`` is given without ``validation``, or the checkpoint to resume from is damaged.
        KeyboardInterrupt: on Ctrl-C, after the checkpoint of the last full epoch was kept.

    Example:
        >>> import tempfile
        >>> images = torch.randn(20, 3), torch.arange(20) % 2
        >>> rows = fit(nn.Linear(3, 2), images, Recipe(epochs=2), Path(tempfile.mkdtemp()), progress=False)
        >>> [row["epoch"] for row in rows]
        [1, 2]
    """
    if patience is not None and validation is None:
        raise ValueError(f"patience needs validation images, got patience={patience} without")
    folder = Path(folder)
    processes = _Processes.from_environment()
    sampler = ShuffledBatches(len(train[0]), recipe.batch_size, seed, processes.rank, processes.world)
    samplers = {"train": sampler}
    if validation is not None:
        samplers["validation"] = ShuffledBatches(len(validation[0]), 1000, 0, processes.rank, processes.world)
    task = Classifier(model, recipe, recipe.epochs * len(sampler), penalty, samplers)
    history = History(folder)
    own: list[Callback] = [EpochSeed(seed, processes.rank), history, _checkpoint(folder)]
    if patience is not None:
        own.append(EarlyStopping("validation_accuracy", mode="max", patience=patience))
    checkpoint = _checkpoint_to_resume(folder) if resume else None
    with _quiet():
        trainer = _trainer(recipe, [*own, *callbacks], processes, device, strategy, progress)
    with _quiet(), _interruptible(trainer):
        trainer.fit(
            task,
            batches(*train, sampler),
            None if validation is None else batches(*validation, samplers["validation"]),
            ckpt_path=checkpoint,
            weights_only=True,
        )
    model.cpu().eval()
    return history.rows


@torch.no_grad()
def accuracy(model: nn.Module, images: Images) -> float:
    """Return the share of right answers.

    Example:
        >>> accuracy(nn.Identity(), (torch.eye(4), torch.arange(4)))
        1.0
    """
    model.eval()
    parts = zip(torch.split(images[0], 1000), torch.split(images[1], 1000), strict=True)
    right = sum(int((model(x).argmax(1) == y).sum()) for x, y in parts)
    return right / len(images[1])


def _trainer(
    recipe: Recipe,
    callbacks: list[Callback],
    processes: _Processes,
    device: str,
    strategy: str | Strategy,
    progress: bool,
) -> Trainer:
    return Trainer(
        max_epochs=recipe.epochs,
        accelerator=device,
        devices=processes.world // processes.nodes,
        num_nodes=processes.nodes,
        strategy="ddp" if processes.world > 1 and strategy == "auto" else strategy,
        use_distributed_sampler=False,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _checkpoint(folder: Path) -> Callback:
    return ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)


def _checkpoint_to_resume(folder: Path) -> str | None:
    path = folder / "last.ckpt"
    if not path.exists():
        return None
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).split(".")[0]
        raise ValueError(f"{path} is damaged ({reason}); delete it to train from the start") from error
    return str(path)


@contextlib.contextmanager
def _interruptible(trainer: Trainer) -> Iterator[None]:
    """Let Ctrl-C arrive as KeyboardInterrupt: Lightning turns it into an exit and ignores later ones."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
    if trainer.interrupted:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide Lightning's start-up notes and its advice on loader workers, which does not fit data in memory."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
