"""What a network costs: synapses, parameters, bytes on disk and time, beside dense layers of the same sizes."""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import safetensors
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.connectome.files import save
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.projections import Projection
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.transmission import Transmission

__all__ = ["Cost", "ProjectionCost", "Summary", "summary"]

# A projection with delays is measured over a run, long enough that spikes arrive, and divided by its steps.
STEPS = 10


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a network or of a part of it.

    Args:
        synapses: number of synapses.
        multiply_adds: multiplications with additions for each sample and time step, one for each synapse.
        parameters: number of parameters.
        bytes: bytes in a file.
        milliseconds: time of a batch and time step forwards, without gradients; for the products only.
    """

    synapses: int
    multiply_adds: int
    parameters: int
    bytes: int
    milliseconds: float


@dataclasses.dataclass(frozen=True)
class ProjectionCost:
    """The cost of one projection.

    Args:
        sources: number of source neurons.
        targets: number of target neurons.
        pruned: cost of the network as it is: ``parameters`` are those of the target neurons (position, polarity, bias),
            of the gap before their layer, and of the projection's synapses (free weights and delays); ``bytes`` those
            of the synapses in the file of :func:`~spatialgraph.save`, none where all-to-all.
        dense: cost of an ``nn.Linear`` from these sources to these targets, with weights and biases in float32.
    """

    sources: int
    targets: int
    pruned: Cost
    dense: Cost

    @property
    def share(self) -> float:
        """Share of the pairs of a source and a target that have a synapse."""
        return self.pruned.synapses / self.dense.synapses


@dataclasses.dataclass(frozen=True)
class Summary:
    """The cost of a network, by projection and in total; ``print`` shows a table.

    Args:
        rows: the projections.
        pruned: total of the network as it is: all parameters of the model, the whole file of
            :func:`~spatialgraph.save`.
        dense: total of ``nn.Linear`` layers in place of the projections.
        neurons: number of neurons.
        batch: samples in a batch.
        device: where the time was measured, such as ``"cpu"``.
    """

    rows: tuple[ProjectionCost, ...]
    pruned: Cost
    dense: Cost
    neurons: int
    batch: int
    device: str

    @property
    def share(self) -> float:
        """Share of the pairs of a source and a target, over all projections, that have a synapse."""
        return self.pruned.synapses / self.dense.synapses

    @property
    def other_parameters(self) -> int:
        """Parameters of no projection: those of the inputs, of the law, and of the model beside its graph."""
        return self.pruned.parameters - sum(row.pruned.parameters for row in self.rows)

    @property
    def other_bytes(self) -> int:
        """Bytes of the file that belong to no synapse: positions, polarities, biases, number of edges, header."""
        return self.pruned.bytes - sum(row.pruned.bytes for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as a dictionary that JSON can hold.

        Example:
            >>> summary(SpatialGraph.layered([3, 2]), batch=2).to_dict()["rows"][0]["dense"]["parameters"]
            8
        """
        rows = [dataclasses.asdict(row) | {"share": row.share} for row in self.rows]
        own = {name: getattr(self, name) for name in ("share", "other_parameters", "other_bytes")}
        return dataclasses.asdict(self) | own | {"rows": rows}

    def __str__(self) -> str:
        """Return the table."""
        lines = [
            [f"{number}: {row.sources:,} -> {row.targets:,}", *_cells(row)]
            for number, row in enumerate(self.rows, start=1)
        ]
        other = ["other", "", "", "", f"{self.other_parameters:,}", "", f"{self.other_bytes:,}", "", "", ""]
        table = _aligned(
            [
                ("", ["projection"]),
                ("synapses = multiply-adds", ["pruned", "dense", "share"]),
                ("parameters", ["pruned", "dense"]),
                ("bytes in a file", ["pruned", "dense"]),
                (f"ms / batch of {self.batch:,}", ["pruned", "dense"]),
            ],
            [*lines, other, [f"total: {self.neurons:,} neurons", *_cells(self)]],
        )
        return (
            f"{table}\n"
            "pruned: this network; dense: nn.Linear layers of the same sizes; multiply-adds per sample and time step.\n"
            "other: parameters of the inputs and the law; in the file, all but synapses.\n"
            f"ms: forwards, without gradients, on {self.device}."
        )


@torch.no_grad()
def summary(model: nn.Module, batch: int = 600, rounds: int = 5) -> Summary:
    """Count and measure what a network costs, beside dense layers of the same sizes.

    The time is that of the projections, computed the way models compute them for inference, without activations and
    normalisation, against a dense product of the same shape. With delays it is that of a run of 10 time steps, divided
    by 10. The model is left as it is, and no random numbers are drawn from PyTorch's own.

    Args:
        model: a :class:`~spatialgraph.SpatialGraph` or any module that has one as its ``graph``.
        batch: samples in a batch.
        rounds: how often each product is measured, after one that is not; the median counts.

    Returns:
        The figures; ``print`` shows them as a table.

    Raises:
        TypeError: if an argument is of the wrong type, or the law is a class of your own, which no file can hold.
        ValueError: if ``batch`` or ``rounds`` is below 1.

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
    file_bytes, edge_bytes = _file(graph)
    transmission = graph.transmission()
    own = _parameters_by_neuron(graph)
    rows = []
    for number, projection in enumerate(graph.projections):
        sources, targets = projection.sources.numel(), projection.targets.numel()
        x = _any_numbers((batch, sources), graph.raw_bias)
        is_listed = not graph.connectivity.topology.all_to_all[number]
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
    gap = int(isinstance(graph.positions.gaps, nn.Parameter))
    parameters = int(own[projection.targets].sum()) + gap + len(free) * synapses
    each = sum(values.element_size() for values in free) + edge_bytes
    return Cost(synapses, synapses, parameters, each * synapses, milliseconds)


def _dense(sources: int, targets: int, milliseconds: float) -> Cost:
    pairs, parameters = sources * targets, (sources + 1) * targets
    return Cost(pairs, pairs, parameters, 4 * parameters, milliseconds)


def _total(costs: Sequence[Cost]) -> Cost:
    return Cost(*(sum(figures) for figures in zip(*map(dataclasses.astuple, costs), strict=True)))


def _parameters_by_neuron(graph: SpatialGraph) -> Tensor:
    """Return how many parameters each neuron has: coordinates, polarity, bias."""
    coords = graph.positions.coords
    axes = coords.shape[1] if isinstance(coords, nn.Parameter) else 0
    coordinates = axes * (~graph.positions.anchored).long()
    has_polarity = ~graph.is_output if graph.raw_polarity.numel() else torch.zeros_like(graph.is_output)
    return coordinates + has_polarity.long() + (~graph.is_input).long()


def _file(graph: SpatialGraph) -> tuple[int, int]:
    """Return the bytes of the network's file, and how many of them a listed edge takes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        save(graph, path)
        with safetensors.safe_open(path, "pt") as file:
            return path.stat().st_size, file.get_tensor("connectivity.sources").element_size()


# Time ----------------------------------------------------------------------------------------------------------------


def _pruned_time(transmission: Transmission, number: int, x: Tensor, rounds: int) -> float:
    """Measure a projection the way models compute it, in milliseconds."""
    if transmission.velocity is None:
        matrix = transmission.matrix(number)
        return _median(lambda: matrix.send(x), rounds, x.device)
    series = x.expand(STEPS, *x.shape)
    run = _median(lambda: transmission.send_delayed(number, series, None, transmission.delay(number)), rounds, x.device)
    return run / STEPS


def _dense_time(x: Tensor, targets: int, rounds: int) -> float:
    matrix = _any_numbers((targets, x.shape[1]), x)
    return _median(lambda: F.linear(x, matrix), rounds, x.device)


def _any_numbers(shape: tuple[int, int], like: Tensor) -> Tensor:
    """Return numbers between 0 and 1 that are the same in each call and leave PyTorch's generator alone."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(like)


def _median(compute: Callable[[], Tensor], rounds: int, device: torch.device) -> float:
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        compute()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


# Table ---------------------------------------------------------------------------------------------------------------


def _cells(row: ProjectionCost | Summary) -> list[str]:
    pairs = [
        (f"{getattr(row.pruned, name):{style}}", f"{getattr(row.dense, name):{style}}")
        for name, style in (("synapses", ","), ("parameters", ","), ("bytes", ","), ("milliseconds", ",.2f"))
    ]
    synapses, *others = pairs
    return [*synapses, f"{100 * row.share:.2f} %", *(cell for pair in others for cell in pair)]


def _aligned(groups: Sequence[tuple[str, list[str]]], rows: Sequence[list[str]]) -> str:
    """Lay out rows under two lines of headings; the first column to the left, figures to the right."""
    names = [name for _, columns in groups for name in columns]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    spans, first = [], 0
    for title, columns in groups:
        last = first + len(columns) - 1
        widths[last] += max(0, len(title) - sum(widths[first : last + 1]) - 2 * (last - first))
        spans.append(f"{title:^{sum(widths[first : last + 1]) + 2 * (last - first)}}")
        first = last + 1

    def line(cells: list[str]) -> str:
        return "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()

    rule = sum(widths) + 2 * (len(widths) - 1)
    body = [line(row) for row in rows]
    heading = ["  ".join(spans).rstrip(), line(names)]
    return "\n".join(["=" * rule, *heading, "-" * rule, *body[:-1], "-" * rule, body[-1], "=" * rule])
