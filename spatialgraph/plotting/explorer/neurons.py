"""What the explorer tells of each neuron."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.connectome.analysis.modules import find_modules
from spatialgraph.connectome.analysis.weighted_edges import WeightedEdges
from spatialgraph.connectome.survey import Survey
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.plotting.explorer.blocks import smallest

__all__ = ["activation_rows", "groups", "module_numbers", "roles", "single"]

# Numbers of activations that a page takes, 4 bytes each.
_ACTIVATIONS = 500_000
_COLORED = 8
INPUT, OUTPUT = 1, 2


def single(name: str, values: Tensor | np.ndarray) -> np.ndarray:
    """Return values in float32, which must be able to hold them.

    Example:
        >>> single("bias", torch.tensor([0.5], dtype=torch.float64))
        array([0.5], dtype=float32)
    """
    wide = torch.as_tensor(values).detach().cpu().double()
    checks.finite(name, checks.finite(name, wide).float())
    result: np.ndarray = wide.numpy().astype(np.float32)
    return result


def roles(graph: SpatialGraph) -> np.ndarray:
    """Return 1 for inputs, 2 for outputs, else 0.

    Example:
        >>> roles(SpatialGraph.layered([2, 2, 1]))
        array([1, 1, 0, 0, 2], dtype=uint8)
    """
    marks = INPUT * graph.is_input.to(torch.uint8) + OUTPUT * graph.is_output.to(torch.uint8)
    result: np.ndarray = marks.cpu().numpy()
    return result


def groups(graph: SpatialGraph) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Return the group of each neuron that can be hidden, a layer or a role, and the names and sizes of all.

    Example:
        >>> groups(SpatialGraph.layered([2, 1]))[1]
        [{'name': 'Layer 0, inputs', 'count': 2}, {'name': 'Layer 1, outputs', 'count': 1}]
    """
    if graph.is_layered:
        numbers = graph.layer.cpu().numpy()
        last = int(numbers.max())
        ends = {0: ", inputs", last: ", outputs"}
        names = [f"Layer {number}{ends.get(number, '')}" for number in range(last + 1)]
    else:
        order = np.array([1, 0, 2])  # inputs, hidden neurons, outputs
        used, numbers = np.unique(order[roles(graph)], return_inverse=True)
        names = [("Inputs", "Hidden", "Outputs")[place] for place in used]
    sizes = np.bincount(numbers, minlength=len(names)).tolist()
    return smallest(numbers), [{"name": name, "count": size} for name, size in zip(names, sizes, strict=True)]


def module_numbers(
    graph: SpatialGraph, survey: Survey, given: Tensor | None
) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Return the module of each neuron, and how many there are and how large those are that get a colour.

    Modules that are not given are found among the synapses of the survey; None without these, or without igraph.

    Raises:
        TypeError: if the given ones are no tensor of ints.
        ValueError: if their shape is another, or one is below 0.
    """
    found = _found(graph, survey) if given is None else _given(graph, given)
    if found is None:
        return None
    sizes = np.bincount(found[found < _COLORED], minlength=_COLORED)[: int(found.max()) + 1]
    return smallest(found), {"sizes": sizes.tolist(), "count": len(np.unique(found))}


def _given(graph: SpatialGraph, modules: Tensor) -> np.ndarray:
    numbers = checks.shape("modules", modules, (graph.neurons,)).detach().cpu()
    if numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool:
        raise TypeError(f"modules must hold ints, got {numbers.dtype}")
    checks.within("modules", numbers, 2**32)
    result: np.ndarray = numbers.to(torch.int64).numpy()
    return result


def _found(graph: SpatialGraph, survey: Survey) -> np.ndarray | None:
    if not survey.weight.any():
        return None
    ends = survey.source.numpy(), survey.target.numpy()
    edges = WeightedEdges(graph.neurons, *ends, survey.weight.numpy(), survey.length.numpy())
    try:
        return find_modules(edges)[0]
    except ImportError:  # of igraph, an extra: the page does without
        return None


def activation_rows(graph: SpatialGraph, activations: Tensor | None) -> np.ndarray | None:
    """Return activations, shape ``(samples, N)``; None for none.

    Raises:
        TypeError: if they are no tensor.
        ValueError: if they have another shape, are too many, or one is infinite or NaN.

    Example:
        >>> activation_rows(SpatialGraph.layered([2, 1]), torch.zeros(3)).shape
        (1, 3)
    """
    if activations is None:
        return None
    values = checks.tensor("activations", activations)
    if values.dim() not in (1, 2) or values.shape[-1] != graph.neurons or not values.numel():
        expected = f"({graph.neurons},) or (samples, {graph.neurons})"
        raise ValueError(f"activations must have shape {expected}, got {tuple(values.shape)}")
    if values.is_complex():
        raise TypeError(f"activations must be real, got {values.dtype}")
    if values.dim() == 2 and len(values) > 1 and values.numel() > _ACTIVATIONS:
        most = max(1, _ACTIVATIONS // graph.neurons)
        raise ValueError(f"activations must be those of at most {most} samples to fit a page, got {len(values)}")
    return single("activations", values).reshape(-1, graph.neurons)
