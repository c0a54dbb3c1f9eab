"""Checkpoints: the last one and the previous one, written atomically, with a record of their training."""

import dataclasses
import io
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import lightning
import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from torch import nn

from spatialgraph import atomic
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.tables import settings
from spatialgraph.graph.weighted import learnt_settings
from spatialgraph.training.finite import check_model
from spatialgraph.training.recipes import Recipe
from spatialgraph.training.samples import Images, checksum

__all__ = ["LAST", "PREVIOUS", "CheckpointFiles", "EveryEpoch", "find", "record_of"]

LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"

_RECORD = "spatialgraph"
_VERSION = 1

# Keys that Lightning needs to resume, besides the record.
_PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks")

Record = dict[str, Any]
"""The record of a training: a digest of its data, its recipe, seed, penalty, networks, and shapes of parameters."""


def record_of(
    model: nn.Module,
    train: Images,
    validation: Images | None,
    recipe: Recipe,
    seed: int,
    loss: Mapping[str, Any] | None = None,
    penalty: Mapping[str, float] | None = None,
) -> Record:
    """Return the record that must be equal to resume from a checkpoint.

    ``loss`` holds the settings of the loss, ``penalty`` the factors of penalties.

    Example:
        >>> data = torch.zeros(2, 3), torch.tensor([0, 1])
        >>> record_of(nn.Linear(3, 2), data, None, Recipe(), seed=4)["parameters"]
        {'weight': [2, 3], 'bias': [2]}
    """
    return {
        "version": _VERSION,
        "data": f"sha256 {checksum(train)}",
        "validation": None if validation is None else f"sha256 {checksum(validation)}",
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "loss": dict(loss or {}),
        "penalty": {name: float(factor) for name, factor in (penalty or {}).items()},
        "networks": {name: _settings(part) for name, part in model.named_modules() if isinstance(part, SpatialGraph)},
        "parameters": {name: list(parameter.shape) for name, parameter in model.named_parameters()},
    }


def _settings(graph: SpatialGraph) -> dict[str, Any]:
    """Return what a network is besides what a checkpoint holds: its state, and what may change in training."""
    held = {"gain", "masked_share", *(f"law_{name}" for name in learnt_settings(graph.law))}
    own = {name: value for name, value in settings(graph).items() if name not in held and not name.startswith("gap")}
    wirings = {"wiring": graph.wiring, "recurrent_wiring": graph.connectivity.recurrence or None}
    return {"velocity": None} | own | {name: value and repr(value) for name, value in wirings.items()}


def find(folder: Path, record: Record) -> tuple[Path | None, str]:
    """Return the checkpoint to resume from, and a note if it is not the last one.

    Args:
        folder: the folder of the training.
        record: the record of the training.

    Returns:
        The path of the last checkpoint or, if that cannot be used, of the previous one; None if there is neither. A
        note on what is wrong with the last one; empty if nothing is.

    Raises:
        ValueError: if there are checkpoints but none can be used, or if they are of another training.

    Example:
        >>> import tempfile
        >>> find(Path(tempfile.mkdtemp()), {})
        (None, '')
    """
    faults: dict[str, str] = {}
    for name in (LAST, PREVIOUS):
        path = folder / name
        try:
            before = read(path)[_RECORD]
        except FileNotFoundError:
            faults[name] = "does not exist"
        except ValueError as error:
            faults[name] = str(error)
        else:
            if (what := _difference(before, record)) is not None:
                raise ValueError(
                    f"resume must continue the training that {path} is of: {what}. Resume with what it was started "
                    "with, or train in another folder"
                )
            note = "; ".join(f"{folder / other} {fault}" for other, fault in faults.items())
            return path, note and f"{note}: the training continues from the previous one, {path}"
    if set(faults.values()) == {"does not exist"}:
        return None, ""
    what = "; ".join(f"{name} {fault}" for name, fault in faults.items())
    raise ValueError(f"no checkpoint in {folder} can be used: {what}. Delete them to train from the start")


def read(path: Path) -> dict[str, Any]:
    """Read and check a checkpoint.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged or was not written by this library; the message is to be prefixed by its path.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "last.ckpt"
        >>> path.touch()
        >>> read(path)
        Traceback (most recent call last):
            ...
        ValueError: is empty
    """
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise ValueError("is empty")
        return _load(file)


def _load(file: IO[bytes]) -> dict[str, Any]:
    try:
        # PyTorch does not verify the checksums in the file.
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
        file.seek(0)
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    # A damaged file can raise almost any exception.
    except Exception as error:
        # PyTorch's message gives the reason after its advice.
        what = str(error).rpartition("WeightsUnpickler error:")[2]
        raise ValueError(f"is damaged ({type(error).__name__}: {' '.join(what.split())[:150]})") from error
    if broken is not None:
        raise ValueError(f"is damaged (the checksum of its part {broken} is wrong)")
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(_RECORD), dict):
        raise ValueError("has no record of its training: another program or an earlier release wrote it")
    version = checkpoint[_RECORD].get("version")
    if version != _VERSION:
        raise ValueError(f"is of version {version}, not {_VERSION}: another release wrote it")
    missing = [part for part in _PARTS if part not in checkpoint]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")
    return checkpoint


def _difference(before: Record, now: Record) -> str | None:
    """Describe the first difference between two records; None if they are equal."""
    pairs = [(name, before.get(name), now[name]) for name in ("data", "validation", "seed")]
    for part, title in (("recipe", "recipe.{}"), ("loss", "loss.{}"), ("parameters", "the shape of parameter {!r}")):
        old, new = before.get(part, {}), now[part]
        pairs += [(title.format(name), old.get(name), new.get(name)) for name in old | new]
    pairs.append(("augment", before.get("augment"), now.get("augment")))
    pairs.append(("precision", *(each.get("precision", "32-true") for each in (before, now))))
    if "penalty" in before:  # else it is of an earlier release, which recorded neither this nor the networks
        pairs.append(("penalty", before["penalty"], now["penalty"]))
    for part, new in now["networks"].items():
        old = before.get("networks", {}).get(part, new)
        # Where a network has lost its wiring, by pruning or regrowth, its edges are those of the checkpoint.
        names = [name for name in old | new if "wiring" not in name or None not in (old[name], new[name])]
        title = f"{{}} of the network {part!r}" if part else "{} of the network"
        pairs += [(title.format(name), old.get(name), new.get(name)) for name in names]
    return next((f"{name} was {old!r}, got {new!r}" for name, old, new in pairs if old != new), None)


class CheckpointFiles(CheckpointIO):
    """Write checkpoints atomically, and keep the previous one.

    Args:
        folder: the folder of the training.
        last_is_whole: whether the existing last checkpoint is valid and may become the previous one.

    Example:
        >>> CheckpointFiles(Path("runs")).folder.name
        'runs'
    """

    def __init__(self, folder: Path, last_is_whole: bool = False) -> None:
        self.folder, self.last_is_whole = folder, last_is_whole
        self._was_read_back = False

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ANN401 - as in Lightning
    ) -> None:
        """Write a checkpoint."""
        file = io.BytesIO()
        torch.save(checkpoint, file)
        if Path(path) != self.folder / LAST:  # that of a callback of the user's
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            atomic.write_bytes(path, file.getvalue())
            return
        if not self._was_read_back:
            self._read_back(file)
        keep = self.folder / PREVIOUS if self.last_is_whole else None
        atomic.write_bytes(path, file.getvalue(), keep)
        self.last_is_whole = True

    def _read_back(self, file: IO[bytes]) -> None:
        """Check once that a checkpoint can be read, rather than when it is needed."""
        file.seek(0)
        try:
            _load(file)
        except ValueError as error:
            raise TypeError(
                f"a checkpoint must hold tensors, numbers, strings, lists and dictionaries only, but {error}: this "
                "is what a callback's state_dict may return"
            ) from error
        self._was_read_back = True

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint onto the CPU; no code in it is run."""
        return read(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


class EveryEpoch(Checkpoint):
    """Write a checkpoint after every epoch, unless a parameter, gradient or optimiser state is not finite.

    Args:
        folder: the folder of the training.
        record: the record of the training.

    Example:
        >>> EveryEpoch(Path("runs"), {}).path.name
        'last.ckpt'
    """

    def __init__(self, folder: Path, record: Record) -> None:
        self.path, self.record = folder / LAST, record

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Check the model and write the checkpoint."""
        is_scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        when = f"at the end of epoch {trainer.current_epoch + 1}"
        check_model(pl_module, trainer.optimizers, when, with_gradients=not is_scaled)
        trainer.save_checkpoint(self.path)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the record."""
        checkpoint[_RECORD] = self.record
