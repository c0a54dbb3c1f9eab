"""What all examples share: how they end, and the folder of one training with its settings, figures and files."""

import functools
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from spatialgraph import atomic, training

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETTINGS = "settings.json"
METRICS = "metrics.json"

# What the figures of a finished training hold at least.
NEEDED = {"accuracy": float, "parameters": int, "synapses": int, "seconds": int | float}


def as_script(main: Callable[[], object]) -> None:
    """Run an example; what a user can do something about ends it with a sentence."""
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted; the same command with --resume continues.")
    except OSError as error:
        sys.exit(f"{error}. The same command with --resume continues once this is mended.")
    except FloatingPointError as error:
        sys.exit(str(error))


def prepare(folder: Path, settings: dict[str, Any], resume: bool) -> None:
    """Empty the folder of an earlier training, or check that the one to resume had the same settings."""
    with training.claim(folder):
        if resume and (before := read(folder / SETTINGS)) is not None:
            for name, value in settings.items():
                if before.get(name) != value:
                    was = f"{name} was {before.get(name)!r}, got {value!r}"
                    raise SystemExit(f"--resume needs the settings of the run in {folder}: {was}")
            return
        if resume and any(folder.iterdir()):
            note(f"{folder} has files, but does not say of what settings: it is emptied, and training starts anew")
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        atomic.write_text(folder / SETTINGS, json.dumps(settings, indent=1))


def finished(folder: Path) -> dict[str, Any] | None:
    """Return the figures of a training that is finished; None of one that is not."""
    path = folder / METRICS
    figures = read(path)
    if figures is None:
        return None
    wrong = [name for name, kind in NEEDED.items() if not isinstance(figures.get(name), kind)]
    if wrong:
        note(f"{path} is damaged (without {', '.join(wrong)}): the training counts as unfinished")
        return None
    return figures


def read(path: Path) -> dict[str, Any] | None:
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


def finish(folder: Path, model: nn.Module, figures: dict[str, Any]) -> None:
    """Write a trained model, and then the figures that say that the training is finished."""
    atomic.write(folder / "model.pt", functools.partial(torch.save, model.state_dict()))
    atomic.write_text(folder / METRICS, json.dumps(figures, indent=1))


def save_figure(figure: "Figure", path: Path, dpi: int = 110) -> None:
    """Write a picture as PNG, whole or not at all."""
    atomic.write(path, functools.partial(figure.savefig, format="png", dpi=dpi))


def note(text: str) -> None:
    """Tell the user something that does not end the run."""
    print(f"Note: {text}", flush=True)
