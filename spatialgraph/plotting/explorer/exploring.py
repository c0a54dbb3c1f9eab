"""Writes the explorer's page of a network."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spatialgraph import atomic
from spatialgraph.connectome.survey import Survey
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.recording import Recording
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.plotting.explorer import neurons
from spatialgraph.plotting.explorer.axes_shown import AxesShown
from spatialgraph.plotting.explorer.blocks import pack, smallest
from spatialgraph.plotting.explorer.epochs import epochs_of
from spatialgraph.plotting.explorer.fields import fields_of, image_shape
from spatialgraph.plotting.explorer.page_text import page_text

__all__ = ["explore"]

_TOP = 50_000
# More than a browser draws.
_MOST = 1_000_000
_SUFFIXES = (".html", ".htm")


@torch.no_grad()
def explore(
    network: nn.Module,
    path: str | os.PathLike[str],
    *,
    min_weight: float | None = None,
    top: int | None = None,
    fraction: float | None = None,
    scope: str = "global",
    title: str | None = None,
    activations: Tensor | None = None,
    modules: Tensor | None = None,
    recording: Recording | None = None,
    image: tuple[int, int] | str | None = "auto",
    axes: Sequence[int] | None = None,
) -> Path:
    """Write an interactive page of a network in space, one HTML file that works without a network connection.

    The page turns and zooms the network, shows the facts of the neuron under the pointer, and on a click only the
    synapses of that neuron. A slider shows the strongest share of the synapses, boxes hide layers, and neurons are
    coloured by polarity, strength, module, layer or activation.

    Args:
        network: a graph, or a model that has one.
        path: the file, which ends in ``.html``.
        min_weight: keep only synapses of at least this absolute weight.
        top: keep only so many synapses, those of the largest absolute weights; 50,000 where none of the three is given.
        fraction: keep only this share of the synapses, those of the largest absolute weights.
        scope: ``"global"`` to choose from all synapses together, ``"projection"`` to choose ``top`` or ``fraction`` of
            each projection.
        title: what stands at the top of the page; None for the kind and size of the network.
        activations: values to colour neurons by, shape ``(N,)``, or ``(samples, N)`` with a slider for the sample.
        modules: module of each neuron, counted from 0, shape ``(N,)``; None for those that the Louvain method finds
            among the synapses of the page, where igraph is installed.
        recording: positions and polarities during training, for a slider of the epoch. At most 200,000 positions are
            kept, in evenly spaced epochs.
        image: rows and columns of the image whose pixels the inputs are, row by row: the page then shows receptive
            fields. ``"auto"`` for a square where the number of inputs is one, from 8 x 8 on; None for no image. Fields
            have 8 bits for a weight; above 2,500,000 weights 4; above 8,000,000 they are left out.
        axes: numbers of one to three axes: to the right, up, and towards the viewer. None for those of a layered
            network from left to right, and of others in their order.

    Returns:
        The path of the file, which is written as a whole or not at all.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument has a wrong shape or value, the recording is of another network, a position or weight
            is infinite or NaN, or there are more than 1,000,000 neurons or kept synapses.
        OSError: if the file cannot be written; an existing file is then unchanged.

    Example:
        >>> import tempfile
        >>> path = explore(SpatialGraph.layered([16, 9, 4]), f"{tempfile.mkdtemp()}/network.html")
        >>> path.name, path.stat().st_size < 100_000
        ('network.html', True)
    """
    graph = graph_of(network)
    path = _checked_path(path)
    name = _title(network, graph) if title is None else _checked_title(title)
    _refuse_more("neurons", graph.neurons)
    shown, shape = AxesShown.of(graph, axes), image_shape(graph, image)
    rows = neurons.activation_rows(graph, activations)
    recorded = None if recording is None else epochs_of(graph, recording, shown)
    if min_weight is None and fraction is None and top is None:
        top = _TOP
    survey = Survey.of(graph, min_weight=min_weight, top=top, fraction=fraction, scope=scope)
    _refuse_more("synapses on a page", len(survey.weight))
    found = neurons.module_numbers(graph, survey, modules)
    fields = None if shape is None else fields_of(network, graph, shape)
    group, groups = neurons.groups(graph)
    packed = {"network": pack(_columns(graph, survey, shown, group, rows, found))}
    packed |= {} if fields is None else {"fields": pack(fields[1])}
    packed |= {} if recorded is None else {"recording": pack(recorded[1])}
    facts = _facts(graph, shown) | {
        "shown": len(survey.weight),
        "groups": groups,
        "modules": None if found is None else found[1],
        "samples": 0 if rows is None else len(rows),
        "image": shape,
        "fields": None if fields is None else fields[0],
        "epochs": None if recorded is None else recorded[0],
        "blocks": {key: places for key, (_, places) in packed.items()},
    }
    atomic.write_text(path, page_text(name, facts, {key: text for key, (text, _) in packed.items()}))
    return path


def _refuse_more(what: str, count: int) -> None:
    if count > _MOST:
        raise ValueError(f"network must have at most {_MOST:,} {what}, got {count:,}")


def _facts(graph: SpatialGraph, shown: AxesShown) -> dict[str, Any]:
    """Return what holds for the network as a whole."""
    last = graph.dim - 1
    return {
        "neurons": graph.neurons,
        "outputs": int(graph.is_output.sum()),
        "synapses": graph.synapses,
        "axes": shown.names,
        "depth": len(shown.names) == 3,
        "layered": graph.is_layered,
        "stretched": shown.numbers.index(last) if graph.is_layered and last in shown.numbers else None,
        "polarities": graph.weight_mode != "free",
    }


def _columns(
    graph: SpatialGraph,
    survey: Survey,
    shown: AxesShown,
    group: np.ndarray,
    activations: np.ndarray | None,
    modules: tuple[np.ndarray, Any] | None,
) -> dict[str, np.ndarray]:
    """Return what every neuron and every synapse of the page has."""
    columns = {
        "pos": neurons.single("pos", shown.place(graph.positions())),
        "role": neurons.roles(graph),
        "group": group,
        "polarity": neurons.single("polarity", graph.polarity),
        "bias": neurons.single("bias", graph.bias),
        "strength": neurons.single("the sums of weights", survey.strength),
        "fan_in": smallest(survey.fan_in.numpy()),
        "fan_out": smallest(survey.fan_out.numpy()),
        "source": smallest(survey.source.numpy()),
        "target": smallest(survey.target.numpy()),
        "weight": neurons.single("weights", survey.weight),
        "length": neurons.single("lengths", survey.length),
    }
    columns |= {} if activations is None else {"activation": activations}
    return columns | ({} if modules is None else {"module": modules[0]})


def _title(network: nn.Module, graph: SpatialGraph) -> str:
    kind = type(network).__name__
    if not graph.is_layered:
        return f"{kind} of {graph.neurons:,} neurons"
    sizes = torch.bincount(graph.layer).tolist()
    return f"{kind} " + "\N{NON-BREAKING HYPHEN}".join(map(str, sizes))


def _checked_title(title: object) -> str:
    if not isinstance(title, str):
        raise TypeError(f"title must be a string, got {type(title).__name__}")
    return title


def _checked_path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a path, got {type(path).__name__}")
    checked = Path(path)
    if checked.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"path must end in .html, got {os.fspath(path)!r}")
    return checked
