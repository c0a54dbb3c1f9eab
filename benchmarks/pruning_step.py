"""Compare training steps of pruned networks with dense ones; run by hand on an idle machine.

    python benchmarks/pruning_step.py

Each row alternates between five steps of two candidates in one process with two threads, and compares medians. Memory
is the peak of one step above the memory before it: by PyTorch's allocator, and with the CPU on Linux of the whole
process, including buffers of other libraries.
"""

import argparse
import ctypes
import gc
import json
import statistics
from pathlib import Path

import torch
from memory import growth, step_bytes
from on_device import add_device, record
from step_time import BATCH, SIZES
from steps import random_images, training_step
from timing import compare
from torch.profiler import ProfilerActivity, profile

import spatialgraph as sg
from spatialgraph import atomic

AMOUNTS = (0.8, 0.95)
IN_A_ROW = 5
KINDS: dict[bool | str, str] = {False: "plain", True: "normalised", "live": "normalised over live neurons"}


def pruned(amount: float, normalize: bool | str) -> sg.SpatialMLP:
    """Return a network without the longest synapses."""
    model = sg.SpatialMLP(SIZES, normalize=normalize)
    sg.prune_(model.graph, amount)
    return model


def peak_bytes(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> int | None:
    """Return the peak of allocated bytes during a step, above those before it; None where none is counted."""
    step = training_step(model, images, labels)
    step()  # gradients and caches exist from here on
    model.zero_grad(set_to_none=True)
    if images.device.type != "cpu":
        return step_bytes(step, images.device)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    now = peak = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return peak


def resident_bytes(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float | None:
    """Return by how much the resident memory of the process grows in a step, the median of seven.

    None where the system does not say, or the step runs elsewhere.
    """
    if images.device.type != "cpu":
        return None
    step = training_step(model, images, labels)
    step()
    grown = []
    for _ in range(7):
        model.zero_grad(set_to_none=True)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        grown.append(growth(step))
    counted = [each for each in grown if each is not None]
    return statistics.median(counted) if counted else None


def main() -> None:
    """Measure, print a table, and write it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    add_device(parser)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = args.device
    images, labels = random_images(BATCH, SIZES[0], SIZES[-1], device)
    rows, memory, resident = {}, {}, {}
    for normalize, words in KINDS.items():
        linear = training_step(sg.DenseMLP(SIZES, normalize=bool(normalize), device=device), images, labels)
        spatial = sg.SpatialMLP(SIZES, normalize=normalize, device=device)
        memory[f"all-to-all, {words}"] = peak_bytes(spatial, images, labels)
        resident[f"all-to-all, {words}"] = resident_bytes(spatial, images, labels)
        for amount in AMOUNTS:
            ours = pruned(amount, normalize).to(device)
            name = f"{amount:.0%} removed, {words}"
            rows[f"{name}, against nn.Linear"] = compare(
                training_step(ours, images, labels), linear, args.rounds, device, IN_A_ROW
            )
            memory[name] = peak_bytes(ours, images, labels)
            resident[name] = resident_bytes(ours, images, labels)
        masked = sg.SpatialMLP(SIZES, normalize=normalize, device=device)
        sg.PruneWhileTraining(0.8).attach(masked.graph)
        steps = training_step(masked, images, labels), training_step(spatial, images, labels)
        rows[f"80% left out in training, {words}, against all-to-all"] = compare(*steps, args.rounds, device, IN_A_ROW)
    print(f"{'-'.join(map(str, SIZES))}, batch {BATCH}, {args.threads} threads, medians of alternating runs")
    for name, row in rows.items():
        print(f"{name:<62} {row['ours_ms']:8.2f} ms {row['theirs_ms']:8.2f} ms  ratio {row['ours_over_theirs']:.3f}")
    for name, size in memory.items():
        sizes = {"allocated": size, "resident": resident[name]}
        counted = [f"{word} {each / 1e6:8.1f} MB" for word, each in sizes.items() if each is not None]
        print(f"{name:<62} {', '.join(counted)}")
    if args.json is not None:
        command = f"python benchmarks/pruning_step.py --rounds {args.rounds} --threads {args.threads}"
        about = record(command, args.device) | {"rows": rows}
        about |= {"peak_bytes": memory, "resident_bytes": resident}
        atomic.write_text(args.json, json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
