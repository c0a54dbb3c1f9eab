"""Training a model with checkpoints, resume and early stop."""

import contextlib
import dataclasses
import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn

from spatialgraph import atomic, checks
from spatialgraph.graph.network import graph_or_none
from spatialgraph.graph.penalties import make_penalty
from spatialgraph.training import checkpoints
from spatialgraph.training.as_found import as_found, device_of, evaluating
from spatialgraph.training.augmentation import Augment
from spatialgraph.training.batches import ShuffledBatches, batches
from spatialgraph.training.finite import check_model
from spatialgraph.training.folder import claim
from spatialgraph.training.recipes import Recipe
from spatialgraph.training.samples import Images, checked
from spatialgraph.training.task import Classifier, EpochSeed, History, Loss, WithSettings, cross_entropy

__all__ = ["accuracy", "check_model_type", "fit", "is_distributed", "is_main_process"]

# Samples, and activations of all neurons, that are evaluated at a time.
_MOST_SAMPLES, _MOST_ACTIVATIONS = 1000, 2**27


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


def is_distributed() -> bool:
    """Tell whether this process is one of several that ``torchrun`` started.

    Example:
        >>> is_distributed()
        False
    """
    return _Processes.from_environment().world > 1


def fit(
    model: nn.Module,
    train: Images,
    recipe: Recipe,
    folder: str | Path,
    *,
    seed: int = 0,
    validation: Images | None = None,
    patience: int | None = None,
    penalty: Callable[[], Tensor] | Mapping[str, float] | None = None,
    loss: Loss = cross_entropy,
    augment: Augment | None = None,
    callbacks: Sequence[Callback] = (),
    device: str = "cpu",
    strategy: str | Strategy = "auto",
    resume: bool = False,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train a model in place and return its history.

    The model is trained in ``train()``. Afterwards, also if the training fails, its device, the mode of each module and
    its ``requires_grad`` flags are as before, and hooks that the training added are removed.

    After every epoch a checkpoint (``last.ckpt``) takes the place of the one before, which stays as ``previous.ckpt``:
    an interruption of any kind loses one epoch at most, and a last checkpoint that the disk has damaged one more. A
    resumed training ends at the same bits as an uninterrupted one. One training at a time may use a folder. A loss that
    is not finite ends the training, and no checkpoint is written of a model whose numbers are not. Started by
    ``torchrun``, the processes share each batch (distributed data parallel): the loss is the mean over the samples of
    the whole batch. All begin with the network of the first process, also where each has drawn a random wiring.

    Args:
        model: from ``(batch, features)`` to ``(batch, classes)``, already initialised.
        train: training images and labels: finite numbers of shape ``(samples, features)`` and whole ones of shape
            ``(samples,)``, from 0 to the number of classes minus 1.
        recipe: the schedule.
        folder: where checkpoints and history go.
        seed: seed of the shuffling, and at each epoch of PyTorch's random numbers.
        validation: held-out images and labels; None trains without.
        patience: stop after this many epochs without a better validation accuracy; None never stops early.
        penalty: added to the loss: a function without arguments, or factors of the penalties of a spatial network, such
            as ``{"wiring": 1e-4}`` (see :func:`~spatialgraph.graph.penalties.make_penalty`).
        loss: from samples, logits and classes to the mean loss of a batch, such as a :class:`Distillation`. Resuming
            needs the same settings, where it has a method ``settings``. The validation loss is the cross-entropy.
        augment: from the samples of a batch to those that the model is trained on, such as a :class:`RandomAffine`;
            None for the samples themselves. Random numbers must be PyTorch's. Resuming needs the same settings, as
            above.
        callbacks: Lightning callbacks beside its own, such as :class:`GradualPruning`. What a method ``epoch_metrics``
            of one returns, a dictionary of numbers, is added to the row of each epoch.
        device: where to train: ``"cpu"``, ``"cuda"``, ... or ``"auto"``.
        strategy: how several processes work together, as in Lightning's ``Trainer``, such as ``"ddp"`` or a
            ``DDPStrategy``; ``"auto"`` is ``"ddp"`` where there are several.
        resume: continue from the checkpoint in ``folder`` where there is one; it must be of the same data, recipe,
            seed, factors of penalties, parameters, and settings of spatial networks, such as law and wiring. Without,
            checkpoints that are there are removed.
        progress: whether to show a progress bar.

    Returns:
        A row for each epoch, of ``epoch``, ``train_loss``, ``train_accuracy``, ``seconds`` and, with held-out images,
        ``validation_loss`` and ``validation_accuracy``.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if images and labels do not fit the model or each other, if a number among them is not finite, if
            ``patience`` is given without ``validation``, if the checkpoints to resume from are damaged or of another
            training.
        FloatingPointError: if a loss or, at the end of an epoch, a number of the model is not finite.
        NotADirectoryError, PermissionError: if ``folder`` is a file or must not be written.
        BlockingIOError: if another training uses ``folder``.
        OSError: if the disk is full; the checkpoints are then those of the epochs before.
        KeyboardInterrupt: on Ctrl-C, after the checkpoint of the last full epoch was kept.

    Example:
        >>> import tempfile
        >>> images = torch.randn(20, 3), torch.arange(20) % 2
        >>> rows = fit(nn.Linear(3, 2), images, Recipe(epochs=2), Path(tempfile.mkdtemp()), progress=False)
        >>> [row["epoch"] for row in rows]
        [1, 2]
    """
    _check_arguments(model, recipe, validation, patience, loss, augment)
    seed = _seed(seed)
    train = checked("train", train, model)
    validation = None if validation is None else checked("validation", validation, model)
    check_model(model, [], "before training")
    folder = Path(folder)
    processes = _Processes.from_environment()
    settings = loss.settings() if isinstance(loss, WithSettings) else None
    factors = penalty if isinstance(penalty, Mapping) else None
    term = make_penalty(model, penalty) if isinstance(penalty, Mapping) else penalty
    record = checkpoints.record_of(model, train, validation, recipe, seed, settings, factors)
    if augment is not None:
        record["augment"] = augment.settings() if isinstance(augment, WithSettings) else {}
    sampler = ShuffledBatches(len(train[0]), recipe.batch_size, seed, processes.rank, processes.world)
    samplers = {"train": sampler}
    if validation is not None:
        samplers["validation"] = ShuffledBatches(len(validation[0]), 1000, 0, processes.rank, processes.world)
    task = Classifier(model, recipe, recipe.epochs * len(sampler), term, samplers, loss, augment)
    history = History(folder)
    own: list[Callback] = [EpochSeed(seed, processes.rank), history, checkpoints.EveryEpoch(folder, record)]
    if patience is not None:
        own.append(_Patience("validation_accuracy", mode="max", patience=int(patience)))
    with claim(folder) if processes.rank == 0 else contextlib.nullcontext():
        checkpoint = _begin(folder, record, resume, processes)
        files = checkpoints.CheckpointFiles(folder, last_is_whole=checkpoint == folder / checkpoints.LAST)
        with _quiet():
            trainer = _trainer(recipe, [*own, *callbacks], files, processes, device, strategy, progress)
        with _quiet(), _interruptible(trainer), as_found(model):
            trainer.fit(
                task,
                batches(*train, sampler),
                None if validation is None else batches(*validation, samplers["validation"]),
                ckpt_path=checkpoint,
                weights_only=True,
            )
    return history.rows


@torch.no_grad()
def accuracy(model: nn.Module, images: Images) -> float:
    """Return the share of right answers.

    Args:
        model: from ``(batch, features)`` to ``(batch, classes)``; it is evaluated in ``eval()`` and on its device, and
            its mode is restored.
        images: images and labels, as for :func:`fit`.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if images and labels do not fit the model or each other, or a number among them is not finite.

    Example:
        >>> accuracy(nn.Identity(), (torch.eye(4), torch.arange(4)))
        1.0
    """
    check_model_type("model", model)
    samples, labels = checked("images", images, model)
    device = device_of(model)
    with evaluating(model):
        answers = torch.cat([model(part.to(device)).argmax(1) for part in samples.split(_at_a_time(model))])
    return int((answers == labels.to(device)).sum()) / len(labels)


def _at_a_time(model: nn.Module) -> int:
    """Return for how many samples the activations of all neurons take little memory."""
    graph = graph_or_none(model)
    return _MOST_SAMPLES if graph is None else min(_MOST_SAMPLES, max(1, _MOST_ACTIVATIONS // graph.neurons))


def check_model_type(name: str, model: nn.Module) -> None:
    """Check that an argument is a module.

    Example:
        >>> check_model_type("teacher", 3)
        Traceback (most recent call last):
        TypeError: teacher must be a torch.nn.Module, got int
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{name} must be a torch.nn.Module, got {type(model).__name__}")


def _check_arguments(
    model: nn.Module,
    recipe: Recipe,
    validation: Images | None,
    patience: int | None,
    loss: Loss,
    augment: Augment | None,
) -> None:
    check_model_type("model", model)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("model must have parameters that can be trained, got none")
    if not isinstance(recipe, Recipe):
        raise TypeError(f"recipe must be a Recipe, got {type(recipe).__name__}")
    if not callable(loss):
        raise TypeError(f"loss must be a function of samples, logits and classes, got {type(loss).__name__}")
    if augment is not None and not callable(augment):
        raise TypeError(f"augment must be a function of samples, got {type(augment).__name__}")
    if patience is None:
        return
    if validation is None:
        raise ValueError(f"patience needs validation images, got patience={patience} without")
    checks.integer("patience", patience, minimum=0)


def _seed(seed: int) -> int:
    """Return a seed that all random numbers of a training can be drawn from."""
    if not 0 <= checks.integer("seed", seed) < 2**32:
        raise ValueError(f"seed must be between 0 and {2**32 - 1}, got {seed}")
    return int(seed)


def _begin(folder: Path, record: checkpoints.Record, resume: bool, processes: _Processes) -> Path | None:
    """Clear away what the folder holds of trainings that were killed or are over; return what to resume from."""
    checkpoint, note = checkpoints.find(folder, record) if resume else (None, "")
    if processes.rank == 0:
        if note:
            warnings.warn(note, stacklevel=3)
        atomic.remove_parts(folder, [checkpoints.LAST, *History.FILES])
        if not resume:  # to resume later must not continue another training
            for name in (checkpoints.PREVIOUS, checkpoints.LAST):
                (folder / name).unlink(missing_ok=True)
    return checkpoint


class _Patience(EarlyStopping):
    """Stop also a training that is resumed after it had stopped."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True


def _trainer(
    recipe: Recipe,
    callbacks: list[Callback],
    files: checkpoints.CheckpointFiles,
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
        plugins=[files],
        logger=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


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
