"""The folder of one training: its settings, and its metrics once it is finished."""

import contextlib
import functools
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spatialgraph import atomic, training

__all__ = [
    "METRICS",
    "RESERVED",
    "OtherSettings",
    "check_network",
    "clear",
    "finish",
    "finished",
    "lock_of",
    "note",
    "prepare",
    "settings_of",
    "threads_of",
]

_SETTINGS = "settings.json"
# What stands beside the settings in their file.
RESERVED = ("network", "threads")
"""Names that settings cannot have."""
METRICS = "metrics.json"
"""The file that marks a training as finished."""

# Required metrics of a finished training.
_NEEDED = {"accuracy": float, "parameters": int, "synapses": int | None, "seconds": int | float}


class OtherSettings(ValueError):
    """The training to resume has other settings."""


def lock_of(folder: Path) -> Path:
    """Return the folder that is locked while a process trains in ``folder``, which is emptied meanwhile.

    Example:
        >>> lock_of(Path("runs/linear/seed-0")).as_posix()
        'runs/.locks/linear_seed-0'
    """
    return folder.parent.parent / ".locks" / f"{folder.parent.name}_{folder.name}"


def clear(folders: Iterable[Path]) -> None:
    """Delete earlier trainings, all of them or none.

    Args:
        folders: their folders, which are created where they do not exist.

    Raises:
        BlockingIOError: if a process trains in one of them.
        OSError: if a folder cannot be used.
    """
    folders = list(folders)
    with contextlib.ExitStack() as locks:
        for folder in folders:
            locks.enter_context(training.claim(lock_of(folder)))
            locks.enter_context(training.claim(folder))
        for folder in folders:
            _empty(folder)


def prepare(folder: Path, settings: dict[str, Any], resume: bool) -> None:
    """Prepare a folder: delete an earlier training, or check that the one to resume has the same settings.

    The settings are written to the folder, with PyTorch's number of threads, on which the last bits of sums depend.

    Args:
        folder: the folder; created if it does not exist.
        settings: all settings that affect the results of the training, as JSON values.
        resume: whether to continue the training in the folder.

    Raises:
        OtherSettings: if the training to resume has other settings.
        OSError: if the folder cannot be used, or is used by another training.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> prepare(folder, {"epochs": 3}, resume=False)
        >>> prepare(folder, {"epochs": 4}, resume=True)
        Traceback (most recent call last):
            ...
        spatialgraph.experiments.records.OtherSettings: resume needs the settings of the run in ...: epochs was 3, got 4
    """
    with training.claim(folder):
        if resume and (before := _read(folder / _SETTINGS)) is not None:
            _check_same(folder, before, settings)
            return
        if resume and any(folder.iterdir()):
            note(f"{folder} has files but no settings: they are deleted, and the training starts from the beginning")
        _empty(folder)
        atomic.write_text(folder / _SETTINGS, json.dumps(settings | {"threads": torch.get_num_threads()}, indent=1))


def threads_of(folder: Path) -> int:
    """Return the number of threads that the training in a folder began with, or PyTorch's where there is none.

    Args:
        folder: a folder prepared by :func:`prepare`.

    Example:
        >>> threads_of(Path("nowhere")) == torch.get_num_threads()
        True
    """
    threads = (_read(folder / _SETTINGS) or {}).get("threads")
    return threads if isinstance(threads, int) and threads > 0 else torch.get_num_threads()


def check_network(folder: Path, network: dict[str, Any]) -> None:
    """Check that the training in a folder is that of a network; a new training notes which it is.

    Args:
        folder: a folder prepared by :func:`prepare`.
        network: what tells networks apart, as JSON values.

    Raises:
        OtherSettings: if the training is that of another network.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> prepare(folder, {"epochs": 3}, resume=False)
        >>> check_network(folder, {"parameters": 8})
        >>> check_network(folder, {"parameters": 9})
        Traceback (most recent call last):
            ...
        spatialgraph.experiments.records.OtherSettings: resume needs the network of ...: parameters was 8, got 9
    """
    settings = _read(folder / _SETTINGS) or {}
    if "network" not in settings:
        atomic.write_text(folder / _SETTINGS, json.dumps(settings | {"network": network}, indent=1))
        return
    for name, (before, now) in _differences(settings["network"], network).items():
        raise OtherSettings(f"resume needs the network of the run in {folder}: {name} was {before!r}, got {now!r}")


def settings_of(folder: Path) -> dict[str, Any]:
    """Return the settings of the training in a folder; empty where there is none."""
    return {name: value for name, value in (_read(folder / _SETTINGS) or {}).items() if name not in RESERVED}


def finish(folder: Path, model: nn.Module, figures: dict[str, Any]) -> None:
    """Write a trained model, and then the metrics that mark the training as finished.

    Args:
        folder: a folder prepared by :func:`prepare`.
        model: the model; its ``state_dict`` is written to ``model.pt``.
        figures: ``accuracy``, ``parameters``, ``synapses``, ``seconds`` and any others, as JSON values.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> prepare(folder, {"epochs": 3}, resume=False)
        >>> finish(folder, nn.Linear(3, 2), {"accuracy": 0.5, "parameters": 8, "synapses": 6, "seconds": 1.0})
        >>> finished(folder)["accuracy"]
        0.5
    """
    atomic.write(folder / "model.pt", functools.partial(torch.save, model.state_dict()))
    atomic.write_text(folder / METRICS, json.dumps(figures, indent=1))


def finished(folder: Path) -> dict[str, Any] | None:
    """Return the metrics of a finished training; None if it is not finished, or has no settings.

    Args:
        folder: the folder of the training.

    Example:
        >>> import tempfile
        >>> print(finished(Path(tempfile.mkdtemp())))
        None
    """
    path = folder / METRICS
    figures = _read(path)
    if figures is None or _read(folder / _SETTINGS) is None:
        return None
    # The default stands for a missing entry, because None is a valid number of synapses.
    wrong = [name for name, kind in _NEEDED.items() if not isinstance(figures.get(name, ...), kind)]
    if wrong:
        note(f"{path} is damaged (without {', '.join(wrong)}): the training counts as unfinished")
        return None
    return figures


def note(text: str) -> None:
    """Print a note to the user."""
    print(f"Note: {text}", flush=True)


def _check_same(folder: Path, before: dict[str, Any], settings: dict[str, Any]) -> None:
    known = {name: value for name, value in before.items() if name not in RESERVED}
    for name, (old, new) in _differences(known, settings).items():
        raise OtherSettings(f"resume needs the settings of the run in {folder}: {name} was {old!r}, got {new!r}")


def _differences(before: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs, as it is in JSON; None stands for what is missing."""
    now = json.loads(json.dumps(now))
    pairs = {name: (before.get(name), now.get(name)) for name in {**now, **before}}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _read(path: Path) -> dict[str, Any] | None:
    """Return the content of a JSON file; None if it does not exist or, with a note, if it is damaged."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        note(f"{path} is damaged ({error}) and counts as missing")
        return None
    if not isinstance(content, dict):
        note(f"{path} is damaged (no JSON object) and counts as missing")
        return None
    return content
