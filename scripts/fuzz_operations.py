"""The public operators and kernels that `fuzz_bounds.py` calls, each with valid arguments and a plain computation."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable
from typing import Any

import torch
from fuzz_references import (
    SOFTENING,
    along_edges,
    convolved,
    delayed,
    dense,
    gathered,
    listed,
    normalised,
    pairwise,
    potentials,
    product,
    scalar_products,
    sent,
    spread,
)
from torch import Tensor

from spatialgraph import SpatialSimpleConv, functional
from spatialgraph.functional import delays, leaky
from spatialgraph.functional import normalization as normalisation
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.kernels import compressed as sparse_kernels
from spatialgraph.kernels import delays as delay_kernels
from spatialgraph.kernels import dense as kernels
from spatialgraph.kernels import handover
from spatialgraph.kernels import leaky as leaky_kernels
from spatialgraph.kernels import normalization as normalisation_kernels
from spatialgraph.kernels import stencils as stencil_kernels
from spatialgraph.laws import Cosine, Gaussian, InverseDistance, InversePower, Law

Arguments = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation to call, with functions for valid arguments and for the expected first result.

    Args:
        draw: returns valid arguments by name.
        call: computes.
        expect: computes the same by plain operations in the precision of the arguments; None if `call` is a gradient,
            which is tested through the operators that use it.
    """

    draw: Callable[[Draw], Arguments]
    call: Callable[..., Any]
    expect: Callable[..., Tensor] | None = None


class Draw:
    """Random sizes and tensors of one call."""

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(seed)
        self.generator = torch.Generator().manual_seed(self.rng.getrandbits(60))
        self.dtype = self.rng.choice([torch.float32, torch.float64])
        self.n, self.m, self.d = self.rng.randint(0, 9), self.rng.randint(0, 9), self.rng.randint(1, 4)
        self.batch = self.rng.choice([0, 1, 2, 3, 15, 64, 65, 130])
        self.steps = self.rng.randint(0, 6)
        self.exists = torch.rand(self.m, self.n, generator=self.generator) < self.rng.choice([0.0, 0.3, 1.0])

    def floats(self, *shape: int) -> Tensor:
        """Draw normal numbers."""
        return torch.randn(*shape, generator=self.generator, dtype=self.dtype)

    def maybe(self, value: Any) -> Any:  # noqa: ANN401
        """Return a value or None."""
        return value if self.rng.random() < 0.5 else None

    def edges(self) -> CompressedEdges:
        """Return the edges of this call."""
        targets, sources = torch.nonzero(self.exists, as_tuple=True)
        return CompressedEdges.from_edges(torch.stack([sources, targets]), self.n, self.m)

    def geometry(self) -> Arguments:
        """Draw positions and scales."""
        source_pos, target_pos = self.floats(self.n, self.d), self.floats(self.m, self.d)
        return {"source_pos": source_pos, "target_pos": target_pos, "scale": self.floats(self.n)}

    def rows(self) -> Arguments:
        """Return the edges as arguments of the sparse kernels."""
        edges = self.edges()
        return {"pointer": edges.target_pointer, "column": edges.sources}

    def by_source(self) -> Arguments:
        """Return runs and edges as arguments of the kernels of delays."""
        edges, before = self.edges(), self.rng.randint(0, self.steps)
        count, target = len(edges.sources), edges.targets[edges.by_source]
        whole = torch.randint(0, 5, (count,), generator=self.generator)
        fraction = torch.rand(count, generator=self.generator, dtype=self.dtype)
        runs = self.floats(min(self.batch, 3), self.n, self.steps)
        listed = {"pointer": edges.source_pointer, "target": target, "whole": whole, "fraction": fraction}
        return {"runs": runs, **listed, "weight": self.floats(count), "before": before}

    def inputs(self) -> Arguments:
        """Draw inputs to be normalised, with either axis of the neurons."""
        axis = self.rng.randrange(2)
        return {"total": self.floats(*((self.m, self.batch), (self.batch, self.m))[axis]), "axis": axis}

    def on_grid(self) -> Arguments:
        """Draw positions on a grid."""
        axes, order = self.rng.randint(1, 3), self.rng.choice([2, 4, 6, 8])
        shape = [order + self.rng.randint(1, 4) for _ in range(axes)]
        inside = torch.rand(self.n, axes, generator=self.generator, dtype=self.dtype)
        pos = max(order // 2 - 1, 0) + inside * (torch.tensor(shape) - order)
        return {"pos": pos, "shape": shape, "order": order}

    def leaky(self) -> Arguments:
        """Draw currents and potentials."""
        rows = self.rng.choice([1, self.steps])
        shares = self.maybe(self.floats(self.steps))
        return {
            "current": self.floats(rows, self.m, min(self.batch, 3)),
            "potential": self.floats(self.m, min(self.batch, 3)),
            "beta": 0.9,
            "threshold": 0.5,
            "num_steps": self.steps,
            "shares": shares,
        }


# What is called ----

PAIRS, EDGES = kernels.PairKernels("inverse_distance"), sparse_kernels.EdgeKernels("inverse_distance")


def law(draw: Draw) -> Law:
    """Draw a law, with or without kernels."""
    laws = InverseDistance(softening=SOFTENING), Gaussian(), Cosine(learnable=True), InversePower(learnable=True)
    return draw.rng.choice(laws).to(draw.dtype)


def convolve(x: Tensor, pos: Any, edges: Tensor, law: Any) -> Tensor:  # noqa: ANN401
    """Convolve from one set of nodes to another."""
    y: Tensor = SpatialSimpleConv(law)((x, None), pos, edges)
    return y


def draw_convolution(draw: Draw) -> Arguments:
    """Draw edges as a list or as a matrix."""
    edges = torch.nonzero(draw.exists).t().flip(0)
    if draw.rng.random() < 0.5:
        compressed = draw.edges()
        edges = compressed.matrix(torch.ones(edges.shape[1]))
    pos = draw.floats(draw.n, draw.d), draw.floats(draw.m, draw.d)
    return {"x": draw.floats(draw.n, 3), "pos": pos, "edges": edges, "law": law(draw)}


def draw_delayed(draw: Draw) -> Arguments:
    """Draw delays of all pairs or of edges."""
    edges = draw.maybe(draw.edges())
    shape = (draw.m, draw.n) if edges is None else (len(edges.sources),)
    x = draw.floats(draw.steps, min(draw.batch, 3), draw.n)
    delay = draw.floats(*shape).abs() * 2
    line = draw.maybe(draw.floats(2, min(draw.batch, 3), draw.n))
    return {"x": x, "weight": draw.floats(*shape), "delay": delay, "edges": edges, "line": line}


def draw_all_to_all(draw: Draw) -> Arguments:
    """Draw an all-to-all projection."""
    more = {"bias": draw.maybe(draw.floats(draw.m)), "mask": draw.maybe(draw.exists)}
    return {"x": draw.floats(draw.batch, draw.n), **draw.geometry(), "law": law(draw), **more}


def draw_leaky_gradients(draw: Draw) -> Arguments:
    """Draw a run and gradients of some of its results."""
    run = draw.leaky()
    of_run, of_last = (draw.steps, *run["potential"].shape), run["potential"].shape
    grads = {"by_spikes": of_run, "by_potentials": of_run, "by_sum": of_last, "by_last": of_last}
    return run | {"reset": 1, "slope": 25.0} | {name: draw.maybe(draw.floats(*shape)) for name, shape in grads.items()}


def draw_edges(draw: Draw) -> Arguments:
    """Take edges apart."""
    return {
        field.name: getattr(edges, field.name)
        for edges in [draw.edges()]
        for field in dataclasses.fields(edges)
        if field.init
    }


def run_potentials(**arguments: Any) -> Tensor | None:  # noqa: ANN401
    """Run leaky neurons, and return the potentials."""
    return leaky.leaky_run(**arguments, spike_grad=leaky.FastSigmoid()).potentials


OPERATIONS = {
    "pairwise_weight": Operation(
        lambda draw: draw.geometry() | {"law": law(draw)}, functional.pairwise_weight, pairwise
    ),
    "all_to_all": Operation(draw_all_to_all, functional.all_to_all, dense),
    "edge_weight": Operation(
        lambda draw: draw.geometry() | {"law": law(draw), "edges": draw.edges()}, functional.edge_weight, listed
    ),
    "sparse": Operation(
        lambda draw: {
            "x": draw.floats(draw.batch, draw.n),
            "weight": draw.floats(int(draw.exists.sum())),
            "edges": draw.edges(),
            "bias": draw.maybe(draw.floats(draw.m)),
            "rectify": draw.rng.random() < 0.5,
        },
        functional.sparse,
        along_edges,
    ),
    "delayed": Operation(draw_delayed, delays.delayed, delayed),
    "leaky_run": Operation(lambda draw: draw.leaky() | {"reset_mechanism": "subtract"}, run_potentials, potentials),
    "normalised": Operation(
        lambda draw: {"total": draw.floats(draw.m + 1, draw.batch).t(), "bias": draw.floats(draw.m + 1)},
        normalisation.normalised,
        normalised,
    ),
    "SpatialSimpleConv": Operation(draw_convolution, convolve, convolved),
    "CompressedEdges": Operation(draw_edges, CompressedEdges),
    "CompressedEdges.from_edges": Operation(
        lambda draw: {
            "edges": torch.nonzero(draw.exists).t().flip(0),
            "n_sources": draw.n,
            "n_targets": draw.m,
        },
        CompressedEdges.from_edges,
    ),
    "kernels.weight": Operation(lambda draw: draw.geometry() | {"softening": SOFTENING}, PAIRS.weight, pairwise),
    "kernels.geometry_gradients": Operation(
        lambda draw: draw.geometry() | {"grad_weight": draw.floats(draw.m, draw.n), "softening": SOFTENING},
        PAIRS.geometry_gradients,
    ),
    "handover.compressed_rows": Operation(lambda draw: draw.rows(), handover.compressed_rows),
    "sparse_kernels.product": Operation(
        lambda draw: (
            draw.rows()
            | {
                "weight": draw.floats(int(draw.exists.sum())),
                "x": draw.rng.choice([draw.floats(draw.n, draw.batch), draw.floats(draw.batch, draw.n).t()]),
                "bias": draw.maybe(draw.floats(draw.m)),
                "rectify": draw.rng.random() < 0.5,
            }
        ),
        sparse_kernels.product,
        product,
    ),
    "sparse_kernels.sampled": Operation(
        lambda draw: (
            draw.rows()
            | {
                "rows": draw.floats(draw.m, draw.batch),
                "x": draw.rng.choice([draw.floats(draw.n, draw.batch), draw.floats(draw.batch, draw.n).t()]),
                "active": draw.maybe(draw.floats(draw.m, draw.batch)),
            }
        ),
        sparse_kernels.sampled,
        scalar_products,
    ),
    "stencil_kernels.spread": Operation(
        lambda draw: draw.on_grid() | {"charge": draw.floats(draw.n, draw.batch)}, stencil_kernels.spread, spread
    ),
    "stencil_kernels.gather": Operation(
        lambda draw: (lambda grid: grid | {"field": draw.floats(math.prod(grid["shape"]), draw.batch)})(draw.on_grid()),
        stencil_kernels.gather,
        gathered,
    ),
    "stencil_kernels.pull": Operation(
        lambda draw: (
            lambda grid: (
                grid
                | {
                    "field": draw.floats(math.prod(grid["shape"]), draw.batch),
                    "charge": draw.floats(draw.n, draw.batch),
                }
            )
        )(draw.on_grid()),
        stencil_kernels.pull,
    ),
    "sparse_kernels.weights": Operation(
        lambda draw: draw.rows() | draw.geometry() | {"softening": SOFTENING}, EDGES.weights
    ),
    "sparse_kernels.gradients": Operation(
        lambda draw: (
            draw.rows() | draw.geometry() | {"softening": SOFTENING, "grad": draw.floats(int(draw.exists.sum()))}
        ),
        EDGES.gradients,
    ),
    "delay_kernels.send": Operation(lambda draw: draw.by_source() | {"targets": draw.m}, delay_kernels.send, sent),
    "delay_kernels.gradients": Operation(
        lambda draw: (
            lambda given: given | {"grad": draw.floats(given["runs"].shape[0], draw.m, draw.steps - given["before"])}
        )(draw.by_source()),
        delay_kernels.gradients,
    ),
    "leaky_kernels.run": Operation(lambda draw: draw.leaky() | {"reset": 1}, leaky_kernels.run),
    "leaky_kernels.gradients": Operation(draw_leaky_gradients, leaky_kernels.gradients),
    "normalisation_kernels.normalise": Operation(
        lambda draw: draw.inputs() | {"bias": draw.floats(draw.m)}, normalisation_kernels.normalise
    ),
    "normalisation_kernels.gradients": Operation(
        lambda draw: (
            lambda inputs: (
                inputs
                | {
                    "bias": draw.floats(draw.m),
                    "mean": draw.floats(draw.batch),
                    "scale": draw.floats(draw.batch),
                    "grad": draw.floats(*inputs["total"].shape),
                }
            )
        )(draw.inputs()),
        normalisation_kernels.gradients,
    ),
}
