"""Compare step times with alternatives in PyTorch and PyG; run by hand on an idle machine.

    python benchmarks/step_time.py

Each row alternates between two candidates in processes of its own with two threads, and compares medians.
"""

import argparse
import json
import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from on_device import add_device, record
from steps import in_bfloat16, inference, random_images, training_step, whole_step
from timing import Step, compare
from torch import Tensor, nn
from torch_geometric.nn import GraphConv

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.functional import sparse
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.wiring import random

SIZES = [784, 2048, 10]
BATCH = 600


def gather_and_scatter(x: Tensor, weight: Tensor, edge_index: Tensor, targets: int) -> Callable[[Tensor], Tensor]:
    """Return PyG's own message passing with given edge weights, without its linear layers."""
    conv = GraphConv(BATCH, BATCH, bias=False)

    def run(values: Tensor) -> Tensor:
        size = (x.shape[0], targets)
        out: Tensor = conv.propagate(edge_index, x=(values, None), edge_weight=weight, size=size)
        return out

    return run


def sparse_rows(rounds: int, density: float, device: torch.device) -> dict[str, dict[str, float]]:
    """Compare the compressed engine with gather-and-scatter at a share of the first projection's edges."""
    sources, targets = SIZES[0], SIZES[1]
    listed = random(sources, targets, density).to(device)
    edges = CompressedEdges.from_edges(listed, sources, targets)
    weight = torch.randn(listed.shape[1]).to(device).requires_grad_()
    x = torch.rand(BATCH, sources).to(device).requires_grad_()
    columns = x.detach().t().contiguous().requires_grad_()
    scatter = gather_and_scatter(columns, weight, listed, targets)
    torch.testing.assert_close(sparse(x, weight, edges).t(), scatter(columns), rtol=1e-4, atol=1e-4)

    def ours() -> None:
        sparse(x, weight, edges).sum().backward()

    def theirs() -> None:
        scatter(columns).sum().backward()

    def forward(step: Callable[[], Tensor]) -> Step:
        def run() -> Tensor:
            with torch.no_grad():
                return step()

        return run

    few = max(3, rounds // 5)  # the other side takes a fifth of a second
    ahead = compare(forward(lambda: sparse(x, weight, edges)), forward(lambda: scatter(columns)), few, device)
    return {
        f"compressed rows against PyG gather-and-scatter, {density:.0%} of edges, forward": ahead,
        f"compressed rows against PyG gather-and-scatter, {density:.0%} of edges, forward and backward": compare(
            ours, theirs, few, device
        ),
    }


Pair = Callable[[sg.SpatialMLP, nn.Module, Tensor, Tensor], tuple[Step, Step]]
"""From our network and theirs, images and labels to what is compared."""

PAIRS: dict[str, Pair] = {
    "training step against nn.Linear": lambda ours, theirs, x, y: (
        training_step(ours, x, y),
        training_step(theirs, x, y),
    ),
    "training step in bfloat16 against nn.Linear in float32": lambda ours, theirs, x, y: (
        in_bfloat16(ours, x, y),
        training_step(theirs, x, y),
    ),
    "training step with Adam against nn.Linear": lambda ours, theirs, x, y: (
        whole_step(ours, x, y),
        whole_step(theirs, x, y),
    ),
    "inference against nn.Linear": lambda ours, theirs, x, _: (inference(ours, x), inference(theirs, x)),
}
AT_BATCH_1: dict[str, Pair] = {
    "inference against nn.Linear": PAIRS["inference against nn.Linear"],
    "inference of to_dense() against nn.Linear": lambda ours, theirs, x, _: (
        inference(ours.to_dense(), x),
        inference(theirs, x),
    ),
}


def dense_row(name: str, normalize: bool, batch: int, rounds: int, device: torch.device) -> dict[str, float]:
    """Compare the spatial network with one of nn.Linear of the same sizes."""
    images, labels = random_images(batch, SIZES[0], SIZES[-1], device)
    ours = sg.SpatialMLP(SIZES, normalize=normalize, device=device)
    theirs = sg.DenseMLP(SIZES, normalize=normalize, device=device)
    pairs = PAIRS if batch > 1 else AT_BATCH_1
    return compare(*pairs[name](ours, theirs, images, labels), rounds, device)


def prepare(threads: int) -> None:
    """Set the number of threads and the seed of a process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)


def median_of(runs: Sequence[dict[str, float]]) -> dict[str, float | list[float]]:
    """Return the medians of several processes, and the ratio of each."""
    row: dict[str, float | list[float]] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return row | {"ratios": [run["ours_over_theirs"] for run in runs]}


def all_rows(
    rounds: int, threads: int, processes: int, device: torch.device
) -> dict[str, dict[str, float | list[float]]]:
    """Measure each row in processes of its own: memory that others left behind would help one side or the other."""
    with multiprocessing.get_context("spawn").Pool(1, prepare, (threads,), maxtasksperchild=1) as pool:

        def measured(measure: Callable[..., Any], *arguments: Any) -> list[Any]:  # noqa: ANN401
            return [pool.apply(measure, arguments) for _ in range(processes)]

        rows = {}
        for normalize, words in ((True, "normalised"), (False, "plain")):
            for name in PAIRS:
                rows[f"{name}, {words}"] = median_of(measured(dense_row, name, normalize, BATCH, rounds, device))
            for name in AT_BATCH_1:  # a fifth of a millisecond each
                found = measured(dense_row, name, normalize, 1, 50 * rounds, device)
                rows[f"{name}, {words}, batch 1"] = median_of(found)
        found = measured(sparse_rows, rounds, 0.05, device)
        return rows | {name: median_of([rows_of_one[name] for rows_of_one in found]) for name in found[0]}


def main() -> None:
    """Measure, print a table, and write it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processes", type=int, default=3, help="measure each row in so many, and take medians")
    add_device(parser)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    rows = all_rows(args.rounds, args.threads, args.processes, args.device)
    print(f"{'-'.join(map(str, SIZES))}, batch {BATCH} or as said, {args.threads} threads, medians of alternating runs")
    for name, row in rows.items():
        print(f"{name:<85} {row['ours_ms']:8.2f} ms {row['theirs_ms']:8.2f} ms  ratio {row['ours_over_theirs']:.3f}")
    if args.json is not None:
        command = (
            f"python benchmarks/step_time.py --rounds {args.rounds} --threads {args.threads} "
            f"--processes {args.processes}"
        )
        about = record(command, args.device) | {"rows": rows}
        atomic.write_text(args.json, json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
