"""A recording of a training on the explorer's page: positions and polarities in 16 bits."""

from typing import Any

import numpy as np
import torch

from spatialgraph import checks
from spatialgraph.graph.recording import Recording
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.plotting.explorer.axes_shown import AxesShown

__all__ = ["epochs_of", "spaced", "whole"]

# So many positions of neurons at most, 8 bytes each with the polarity.
_POSITIONS = 200_000
_STEPS = 2**16 - 1


def epochs_of(graph: SpatialGraph, recording: Recording, axes: AxesShown) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the names of the epochs, and the arrays of where neurons were in each.

    Where there are too many epochs, those that stay are evenly spaced. The network as it is now follows after the last
    one, unless that is where it was then.

    Raises:
        TypeError: if ``recording`` is no Recording.
        ValueError: if it is empty, or of a network with other numbers of neurons or axes.

    Example:
        >>> graph, recording = SpatialGraph.layered([2, 1]), Recording()
        >>> recording.add(graph, epoch=0)
        >>> epochs_of(graph, recording, AxesShown.of(graph))[0]
        ['0']
    """
    if not isinstance(recording, Recording):
        raise TypeError(f"recording must be a Recording, got {type(recording).__name__}")
    if not len(recording):
        raise ValueError("recording must hold an epoch at least, got none")
    now, polarity = graph.positions().detach().cpu(), graph.polarity.detach().cpu()
    checks.shape("the positions of recording", recording.positions, (len(recording), *now.shape))
    kept = spaced(len(recording), max(2, _POSITIONS // graph.neurons - 1))
    names = [f"{recording.epochs[place]:g}" for place in kept]
    pos, polarities = recording.positions[kept].double(), recording.polarities[kept].double()
    if not torch.equal(pos[-1], now.double()) or not torch.equal(polarities[-1], polarity.double()):
        names.append("as given")
        pos, polarities = torch.cat([pos, now.double()[None]]), torch.cat([polarities, polarity.double()[None]])
    placed, low, step = whole(axes.place(pos).reshape(-1, 3))
    signs, least, unit = whole(polarities.numpy().reshape(-1, 1))
    arrays = {"pos": placed, "low": low, "step": step, "polarity": signs}
    return names, arrays | {"polarity_range": np.concatenate([least, unit])}


def spaced(count: int, most: int) -> list[int]:
    """Return numbers of so many of a list's items at most, evenly spaced from the first to the last.

    Example:
        >>> spaced(3, 5), spaced(9, 3)
        ([0, 1, 2], [0, 4, 8])
    """
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most)).tolist()})


def whole(values: np.ndarray) -> tuple[np.ndarray, Any, Any]:
    """Return columns in whole numbers of 16 bits, and for each the value of 0 and of a step.

    Example:
        >>> whole(np.array([[-1.0], [0.0], [1.0]]))[0].tolist()
        [0, 32768, 65535]
    """
    low, high = values.min(0), values.max(0)
    step = np.where(high > low, (high - low) / _STEPS, 1.0)
    numbers = np.rint((values - low) / step).astype(np.uint16).ravel()
    return numbers, low.astype(np.float32), step.astype(np.float32)
