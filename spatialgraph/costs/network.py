"""Costs of a network in synapses, parameters, bytes on disk and time, compared with dense layers of the same sizes."""

import dataclasses
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import safetensors
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.connectome.formats.files import save
from spatialgraph.costs.tables import Cost, ProjectionCost, Summary
from spatialgraph.devices import on_cpu
from spatialgraph.functional.memory import weights_fit
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.projections import Projection
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.transmission import Transmission

__all__ = ["summary"]

# Time steps over which a projection with delays is measured, so that delayed spikes arrive.
STEPS = 10


@torch.no_grad()
@on_cpu
def summary(model: nn.Module, batch: int = 600, rounds: int = 5) -> Summary:
    """Count and measure the costs of a network, compared with dense layers of the same sizes.

    The time is that of the projections in inference, without activations and normalisation, compared with a dense
    product of the same shape. With delays it is that of a run of 10 time steps, divided by 10. The model is not
    changed, and PyTorch's random number generator is not used. Dense products whose matrix would take too much of the
    memory are not measured: their time is NaN.

    Args:
        model: a :class:`~spatialgraph.SpatialGraph` or any module that has one as its ``graph``.
        batch: samples in a batch.
        rounds: number of measurements of each product, after one warm-up; the median is reported.

    Returns:
        The figures; ``print`` shows them as a table.

    Raises:
        TypeError: if ``model`` has no graph, ``batch`` or ``rounds`` is not an int, or the law is a custom class, which
            cannot be saved to a file.
        ValueError: if ``batch`` or ``rounds`` is below 1, or activations of a batch would fill the memory.

    Example:
        >>> from spatialgraph import prune_
        >>> found = summary(prune_(SpatialGraph.layered([784, 64, 10]), 0.9), batch=10)
        >>> found.pruned.synapses, found.dense.synapses
        (5082, 50816)
        >>> found.pruned.parameters, found.dense.parameters
        (2640, 50890)
    """
    graph = graph_of(model, "model")
    batch, rounds = checks.integer("batch", batch, minimum=1), checks.integer("rounds", rounds, minimum=1)
    widest = max(max(p.sources.numel(), p.targets.numel()) for p in graph.projections)
    if not weights_fit(batch, widest):
        raise ValueError(f"batch must leave its activations a place in memory, got {batch} of {widest:,} neurons")
    file_bytes, edge_bytes = _file(graph)
    transmission = graph.transmission()
    own = _parameters_by_neuron(graph)
    rows = []
    for number, projection in enumerate(graph.projections):
        sources, targets = projection.sources.numel(), projection.targets.numel()
        x = _any_numbers((batch, sources), graph.raw_bias)
        is_listed = _is_listed(graph, number)
        time_taken = _pruned_time(transmission, number, x, rounds)
        pruned = _pruned(graph, projection, own, edge_bytes if is_listed else 0, time_taken)
        rows.append(ProjectionCost(sources, targets, pruned, _dense(sources, targets, _dense_time(x, targets, rounds))))
    whole = {"parameters": sum(p.numel() for p in model.parameters()), "bytes": file_bytes}
    return Summary(
        rows=tuple(rows),
        pruned=dataclasses.replace(_total([row.pruned for row in rows]), **whole),
        dense=_total([row.dense for row in rows]),
        neurons=graph.neurons,
        batch=batch,
        device=str(graph.raw_bias.device),
    )


# Counts --------------------------------------------------------------------------------------------------------------


def _pruned(graph: SpatialGraph, projection: Projection, own: Tensor, edge_bytes: int, milliseconds: float) -> Cost:
    synapses = projection.synapses
    free = [] if graph.free_synapses is None else list(graph.free_synapses.parameters())
    parameters = len(free) * synapses
    if not projection.is_recurrent:  # whose targets are those of another projection
        parameters += int(own[projection.targets].sum()) + int(isinstance(graph.positions.gaps, nn.Parameter))
    each = sum(values.element_size() for values in free) + edge_bytes
    return Cost(synapses, synapses, parameters, each * synapses, milliseconds)


def _dense(sources: int, targets: int, milliseconds: float) -> Cost:
    pairs, parameters = sources * targets, (sources + 1) * targets
    return Cost(pairs, pairs, parameters, 4 * parameters, milliseconds)


def _total(costs: Sequence[Cost]) -> Cost:
    return Cost(*(sum(figures) for figures in zip(*map(dataclasses.astuple, costs), strict=True)))


def _is_listed(graph: SpatialGraph, number: int) -> bool:
    """Tell whether a file lists the synapses of a projection."""
    topology, projection = graph.connectivity.topology, graph.projections[number]
    complete = topology.all_recurrent[projection.blocks[0]] if projection.is_recurrent else topology.all_to_all[number]
    return not complete


def _parameters_by_neuron(graph: SpatialGraph) -> Tensor:
    """Return how many parameters each neuron has: coordinates, polarity, bias. A grid counts for its first neuron."""
    counts = (~graph.is_input).long()
    moved = any(isinstance(values, nn.Parameter) for values in (graph.positions.coords, graph.positions.grid_coords))
    kinds = [(graph.connectivity.located.movable, graph.positions.coords.shape[1])] if moved else []
    kinds += [(graph.polarised, 1)] if graph.weight_mode != "free" else []
    for sums, each in kinds:
        counts[sums.single] += each
        for grid, cells in zip(sums.grids, sums.cells, strict=True):
            counts[cells[0]] += each * grid.rows
    return counts


def _file(graph: SpatialGraph) -> tuple[int, int]:
    """Return the size of the network's file in bytes, and the bytes per listed edge."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        save(graph, path)
        with safetensors.safe_open(path, "pt") as file:
            return path.stat().st_size, file.get_tensor("connectivity.sources").element_size()


# Time ----------------------------------------------------------------------------------------------------------------


def _pruned_time(transmission: Transmission, number: int, x: Tensor, rounds: int) -> float:
    """Measure a projection as models compute it in inference, in milliseconds."""
    if transmission.velocity is None:
        matrix = transmission.matrix(number)
        return _median(lambda: matrix.send(x), rounds, x.device)
    series = x.expand(STEPS, *x.shape)
    run = _median(lambda: transmission.send_delayed(number, series, None, transmission.delay(number)), rounds, x.device)
    return run / STEPS


def _dense_time(x: Tensor, targets: int, rounds: int) -> float:
    if not weights_fit(x.shape[1], targets):
        return math.nan
    matrix = _any_numbers((targets, x.shape[1]), x)
    return _median(lambda: F.linear(x, matrix), rounds, x.device)


def _any_numbers(shape: tuple[int, int], like: Tensor) -> Tensor:
    """Return reproducible numbers between 0 and 1, without PyTorch's default generator."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(like)


def _median(compute: Callable[[], Tensor], rounds: int, device: torch.device) -> float:
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        compute()
        if device.type != "cpu":
            getattr(torch, device.type).synchronize()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])
