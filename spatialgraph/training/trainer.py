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
from lightning.pytorch.strategies import SingleDeviceStrategy, Strategy
from torch import Tensor, nn

from spatialgraph import atomic, checks
from spatialgraph.graph.penalties import make_penalty
from spatialgraph.training import captured, checkpoints
from spatialgraph.training.as_found import as_found
from spatialgraph.training.augmentation import Augment
from spatialgraph.training.batches import Batches, ShuffledBatches
from spatialgraph.training.callbacks import GradualPruning
from spatialgraph.training.finite import check_model
from spatialgraph.training.folder import claim
from spatialgraph.training.precision import PRECISIONS, check_precision, products_in
from spatialgraph.training.recipes import Recipe
from spatialgraph.training.samples import Images, check_model_type, checked
from spatialgraph.training.task import Classifier, EpochSeed, History, Loss, WithSettings, cross_entropy

__all__ = ["fit", "is_distributed", "is_main_process"]


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
    precision: str = "32-true",
    cuda_graph: bool = False,
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

    Data that take at most a quarter of a GPU's free memory are moved there once. On other devices than the CPU a step
    waits for nothing: losses are read, and checked, at the end of an epoch and after every thousand steps.

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
        precision: ``"32-true"``, the precision of the model, with whatever was set for TF32; ``"tf32"``, the same with
            matrix products in TF32 for the time of the training, on GPUs that have it; ``"bf16-mixed"`` or, not on the
            CPU, ``"16-mixed"``, with matrix products in half precision by ``torch.autocast``. Lengths, parameters,
            gradients, augmentation, penalties and losses keep their precision.
        cuda_graph: capture the forward and backward passes as a CUDA graph after three steps, and replay it, which
            saves the time of launching kernels one by one. The last, smaller batch of an epoch is run as it is. After a
            change of the network, as by :class:`Rewire`, the passes are captured again. Loss, penalty and augmentation
            must neither wait for the GPU nor depend on numbers that change outside tensors.
        strategy: how several processes work together, as in Lightning's ``Trainer``, such as ``"ddp"`` or a
            ``DDPStrategy``; ``"auto"`` is ``"ddp"`` where there are several.
        resume: continue from the checkpoint in ``folder`` where there is one; it must be of the same data, recipe,
            seed, precision, factors of penalties, parameters, and settings of spatial networks, such as law and wiring.
            Without, checkpoints that are there are removed.
        progress: whether to show a progress bar.

    Returns:
        A row for each epoch, of ``epoch``, ``train_loss``, ``train_accuracy``, ``seconds`` and, with held-out images,
        ``validation_loss`` and ``validation_accuracy``.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if images and labels do not fit the model or each other, if a number among them is not finite, if
            ``patience`` is given without ``validation``, if ``precision`` is unknown, not one of the device, or
            ``"tf32"`` where it was set in PyTorch's newer way, if ``cuda_graph`` is asked for elsewhere than on one
            CUDA device, with :class:`GradualPruning` or 16 bits, if the checkpoints to resume from are damaged or of
            another training.
        RuntimeError: if an operation of a step cannot be captured.
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
    checks.choice("precision", precision, PRECISIONS)
    check_model(model, [], "before training")
    folder = Path(folder)
    processes = _Processes.from_environment()
    settings = loss.settings() if isinstance(loss, WithSettings) else None
    factors = penalty if isinstance(penalty, Mapping) else None
    term = make_penalty(model, penalty) if isinstance(penalty, Mapping) else penalty
    record = checkpoints.record_of(model, train, validation, recipe, seed, settings, factors)
    if augment is not None:
        record["augment"] = augment.settings() if isinstance(augment, WithSettings) else {}
    record["precision"] = precision
    history, files = History(folder), checkpoints.CheckpointFiles(folder)
    own: list[Callback] = [EpochSeed(seed, processes.rank), history, checkpoints.EveryEpoch(folder, record)]
    if patience is not None:
        own.append(_Patience("validation_accuracy", mode="max", patience=int(patience)))
    with _quiet():
        trainer = _trainer(recipe, [*own, *callbacks], files, processes, device, strategy, precision, progress)
    check_precision(precision, trainer.strategy.root_device)
    if cuda_graph:
        _check_capture(trainer, precision, callbacks)
    loaders = _loaders(train, validation, recipe, seed, processes, trainer.strategy.root_device)
    samplers = {stage: loader.sampler for stage, loader in loaders.items()}
    steps = recipe.epochs * len(loaders["train"])
    kind = captured.CapturedClassifier if cuda_graph else Classifier
    task = kind(model, recipe, steps, term, samplers, loss, augment)
    with claim(folder) if processes.rank == 0 else contextlib.nullcontext():
        checkpoint = _begin(folder, record, resume, processes)
        files.last_is_whole = checkpoint == folder / checkpoints.LAST
        with _quiet(), _interruptible(trainer), as_found(model), products_in(precision), _released(task, loaders):
            trainer.fit(task, loaders["train"], loaders.get("validation"), ckpt_path=checkpoint, weights_only=True)
    return history.rows


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


def _loaders(
    train: Images,
    validation: Images | None,
    recipe: Recipe,
    seed: int,
    processes: _Processes,
    device: torch.device,
) -> dict[str, Batches]:
    ranks = processes.rank, processes.world
    loaders = {"train": Batches(train, ShuffledBatches(len(train[0]), recipe.batch_size, seed, *ranks), device)}
    if validation is not None:
        loaders["validation"] = Batches(validation, ShuffledBatches(len(validation[0]), 1000, 0, *ranks), device)
    return loaders


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


def _check_capture(trainer: Trainer, precision: str, callbacks: Sequence[Callback]) -> None:
    """Check that the steps of a training can be captured as a CUDA graph."""
    device = trainer.strategy.root_device
    if device.type not in captured.DEVICES:
        raise ValueError(f"cuda_graph must be False where the device is not one of CUDA, got True for {device}")
    if not isinstance(trainer.strategy, SingleDeviceStrategy):
        strategy = type(trainer.strategy).__name__
        raise ValueError(f"cuda_graph must be False unless one process trains on one device, got True with {strategy}")
    if precision == "16-mixed":
        raise ValueError("cuda_graph must be False with 16-mixed, whose scaler acts between the passes, got True")
    if any(isinstance(callback, GradualPruning) for callback in callbacks):
        raise ValueError("cuda_graph must be False with GradualPruning, which changes each step, got True")


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
    precision: str,
    progress: bool,
) -> Trainer:
    return Trainer(
        max_epochs=recipe.epochs,
        accelerator=device,
        devices=processes.world // processes.nodes,
        num_nodes=processes.nodes,
        precision="32-true" if precision == "tf32" else precision,  # type: ignore[arg-type] # checked before
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
def _released(task: Classifier, loaders: Mapping[str, Batches]) -> Iterator[None]:
    """Free what a training holds on its device, which Lightning's own objects may keep for long."""
    try:
        yield
    finally:
        task.release()
        for loader in loaders.values():
            loader.release()


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
