"""The costs of a network as numbers and as a table."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

__all__ = ["Cost", "ProjectionCost", "Summary"]


@dataclasses.dataclass(frozen=True)
class Cost:
    """The costs of a network or of a part of it.

    Args:
        synapses: number of synapses.
        multiply_adds: multiplications with additions for each sample and time step, one for each synapse.
        parameters: number of parameters.
        bytes: bytes in a file.
        milliseconds: time of the products in a forward pass without gradients, for a batch and a time step; NaN where
            it was not measured.
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
        pruned: costs of the network: ``parameters`` are those of the target neurons (position, polarity, bias), of the
            gap before their layer, and of the projection's synapses (free weights and delays); ``bytes`` those of the
            synapses in the file of :func:`~spatialgraph.save`, none if all-to-all.
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
        """Number of parameters outside the projections, such as those of the inputs and of the law."""
        return self.pruned.parameters - sum(row.pruned.parameters for row in self.rows)

    @property
    def other_bytes(self) -> int:
        """Size in bytes of everything in the file but synapses, such as positions and the header."""
        return self.pruned.bytes - sum(row.pruned.bytes for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as a dictionary that can be written as JSON; None for times that were not measured.

        Example:
            >>> from spatialgraph import SpatialGraph, summary
            >>> summary(SpatialGraph.layered([3, 2]), batch=2).to_dict()["rows"][0]["dense"]["parameters"]
            8
        """
        rows = [dataclasses.asdict(row) | {"share": row.share} for row in self.rows]
        own = {name: getattr(self, name) for name in ("share", "other_parameters", "other_bytes")}
        return _without_nan(dataclasses.asdict(self) | own | {"rows": rows})

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
            "other: parameters of the inputs and the law; in the file, everything except synapses.\n"
            f"ms: forwards, without gradients, on {self.device}."
        )


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """Return nested dictionaries and lists with None for NaN."""

    def replaced(value: Any) -> Any:  # noqa: ANN401 - as in JSON
        if isinstance(value, dict):
            return {key: replaced(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [replaced(each) for each in value]
        return None if isinstance(value, float) and math.isnan(value) else value

    return {key: replaced(value) for key, value in values.items()}


def _cells(row: ProjectionCost | Summary) -> list[str]:
    pairs = [
        (f"{getattr(row.pruned, name):{style}}", f"{getattr(row.dense, name):{style}}")
        for name, style in (("synapses", ","), ("parameters", ","), ("bytes", ","), ("milliseconds", ",.2f"))
    ]
    synapses, *others = pairs
    cells = [*synapses, f"{100 * row.share:.2f} %", *(cell for pair in others for cell in pair)]
    return ["-" if cell == "nan" else cell for cell in cells]


def _aligned(groups: Sequence[tuple[str, list[str]]], rows: Sequence[list[str]]) -> str:
    """Format rows under two lines of headings; the first column is left-aligned, numbers are right-aligned."""
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

    width = sum(widths) + 2 * (len(widths) - 1)
    body = [line(row) for row in rows]
    heading = ["  ".join(spans).rstrip(), line(names)]
    return "\n".join(["=" * width, *heading, "-" * width, *body[:-1], "-" * width, body[-1], "=" * width])
