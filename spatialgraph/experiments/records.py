"""The folder of one training: the settings it began with, and the figures that say that it is finished."""

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spatialgraph import atomic, training

__all__ = ["finish", "finished", "note", "prepare"]

_SETTINGS = "settings.json"
_METRICS = "metrics.json"

# What the figures of a finished training hold at least.
_NEEDED = {"accuracy": float, "parameters": int, "synapses": int, "seconds": int | float}


def prepare(folder: Path, settings: dict[str, Any], resume: bool) -> None:
    """Empty the folder of an earlier training, or check that the one to resume had the same settings.

    Args:
        folder: the folder; made where there is none.
        settings: everything that decides how the training comes out, as JSON can hold it.
        resume: whether to continue what the folder holds.

    Raises:
        SystemExit: if the training to resume had other settings.
        OSError: if the folder cannot be used, or another training has it.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> prepare(folder, {"epochs": 3}, resume=False)
        >>> prepare(folder, {"epochs": 4}, resume=True)
        Traceback (most recent call last):
            ...
        SystemExit: --resume needs the settings of the run in ...: epochs was 3, got 4
    """
    with training.claim(folder):
        if resume and (before := _read(folder / _SETTINGS)) is not None:
            _check_same(folder, before, settings)
            return
        if resume and any(folder.iterdir()):
            note(f"{folder} has files, but does not say of what settings: it is emptied, and training starts anew")
        _empty(folder)
        atomic.write_text(folder / _SETTINGS, json.dumps(settings, indent=1))


def finish(folder: Path, model: nn.Module, figures: dict[str, Any]) -> None:
    """Write a trained model, and then the figures that say that the training is finished.

    Args:
        folder: the folder that :func:`prepare` made ready.
        model: the model; its ``state_dict`` goes into ``model.pt``.
        figures: ``accuracy``, ``parameters``, ``synapses``, ``seconds`` and any others, as JSON can hold them.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> finish(folder, nn.Linear(3, 2), {"accuracy": 0.5, "parameters": 8, "synapses": 6, "seconds": 1.0})
        >>> finished(folder)["accuracy"]
        0.5
    """
    atomic.write(folder / "model.pt", functools.partial(torch.save, model.state_dict()))
    atomic.write_text(folder / _METRICS, json.dumps(figures, indent=1))


def finished(folder: Path) -> dict[str, Any] | None:
    """Return the figures of a training that is finished; None of one that is not.

    Args:
        folder: the folder of the training.

    Example:
        >>> import tempfile
        >>> print(finished(Path(tempfile.mkdtemp())))
        None
    """
    path = folder / _METRICS
    figures = _read(path)
    if figures is None:
        return None
    wrong = [name for name, kind in _NEEDED.items() if not isinstance(figures.get(name), kind)]
    if wrong:
        note(f"{path} is damaged (without {', '.join(wrong)}): the training counts as unfinished")
        return None
    return figures


def note(text: str) -> None:
    """Tell the user something that does not end the run."""
    print(f"Note: {text}", flush=True)


def _check_same(folder: Path, before: dict[str, Any], settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        if before.get(name) != value:
            was = f"{name} was {before.get(name)!r}, got {value!r}"
            raise SystemExit(f"--resume needs the settings of the run in {folder}: {was}")


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _read(path: Path) -> dict[str, Any] | None:
    """Return what a JSON file holds; None where there is none or, with a note, where it is damaged."""
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
