"""Compare training steps of pruned networks with dense ones; run by hand on an idle machine.

    python benchmarks/pruning_step.py

Each row runs two candidates in turns of five steps, as a training runs them, in one process with two threads, and
compares medians. Memory is the most that
PyTorch's allocator held in one step beyond what it held before.
"""

import argparse
import json
from pathlib import Path

import torch
from step_time import BATCH, SIZES, compare, training_step
from torch.profiler import ProfilerActivity, profile

import spatialgraph as sg
from spatialgraph.training import environment

AMOUNTS = (0.8, 0.95)
IN_A_ROW = 5


def pruned(amount: float, normalize: bool) -> sg.SpatialMLP:
    """Return a network without the longest synapses."""
    model = sg.SpatialMLP(SIZES, normalize=normalize)
    sg.prune_(model.graph, amount)
    return model


def peak_bytes(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> int:
    """Return the most bytes that were allocated at once during a step, beyond those from before."""
    step = training_step(model, images, labels)
    step()  # gradients and caches exist from here on
    model.zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step()
    held = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def main() -> None:
    """Measure, print a table, and write it as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    images, labels = torch.rand(BATCH, SIZES[0]), torch.randint(0, SIZES[-1], (BATCH,))
    rows, memory = {}, {}
    for normalize in (False, True):
        words = "normalised" if normalize else "plain"
        linear = training_step(sg.DenseMLP(SIZES, normalize=normalize), images, labels)
        spatial = sg.SpatialMLP(SIZES, normalize=normalize)
        memory[f"all-to-all, {words}"] = peak_bytes(spatial, images, labels)
        for amount in AMOUNTS:
            ours = pruned(amount, normalize)
            name = f"{amount:.0%} removed, {words}"
            rows[f"{name}, against nn.Linear"] = compare(
                training_step(ours, images, labels), linear, args.rounds, IN_A_ROW
            )
            memory[name] = peak_bytes(ours, images, labels)
        silent = sg.SpatialMLP(SIZES, normalize=normalize)
        sg.PruneWhileTraining(0.8).attach(silent.graph)
        steps = training_step(silent, images, labels), training_step(spatial, images, labels)
        rows[f"80% left out in training, {words}, against all-to-all"] = compare(*steps, args.rounds, IN_A_ROW)
    print(f"{'-'.join(map(str, SIZES))}, batch {BATCH}, {args.threads} threads, medians of alternating runs")
    for name, row in rows.items():
        print(f"{name:<62} {row['ours_ms']:8.2f} ms {row['theirs_ms']:8.2f} ms  ratio {row['ours_over_theirs']:.3f}")
    for name, size in memory.items():
        print(f"{name:<62} {size / 1e6:8.1f} MB")
    if args.json is not None:
        command = f"python benchmarks/pruning_step.py --rounds {args.rounds} --threads {args.threads}"
        about = {"command": command, "environment": environment(), "rows": rows, "peak_bytes": memory}
        args.json.write_text(json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
