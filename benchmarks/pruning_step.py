"""Compare training steps of pruned networks with dense ones; run by hand on an idle machine.

    python benchmarks/pruning_step.py

Each row alternates between five steps of two candidates in one process with two threads, and compares medians. Memory
is the peak of one step above the memory before it: by PyTorch's allocator, and on Linux of the whole process, including
buffers of other libraries.
"""

import argparse
import ctypes
import gc
import json
import statistics
from pathlib import Path

import torch
from step_time import BATCH, SIZES, compare, training_step
from torch.profiler import ProfilerActivity, profile

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.training import environment

AMOUNTS = (0.8, 0.95)
IN_A_ROW = 5
KINDS: dict[bool | str, str] = {False: "plain", True: "normalised", "live": "normalised over live neurons"}


def pruned(amount: float, normalize: bool | str) -> sg.SpatialMLP:
    """Return a network without the longest synapses."""
    model = sg.SpatialMLP(SIZES, normalize=normalize)
    sg.prune_(model.graph, amount)
    return model


def peak_bytes(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> int:
    """Return the peak of allocated bytes during a step, above those before it."""
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


def resident_bytes(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float | None:
    """Return by how much the resident memory of the process grows in a step, the median of seven; None off Linux."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return None

    def read(field: str) -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith(field))
        return 1024 * int(line.split()[1])

    step = training_step(model, images, labels)
    step()
    grown = []
    for _ in range(7):
        model.zero_grad(set_to_none=True)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        before = read("VmRSS")
        reset.write_text("5")  # resets the peak
        step()
        grown.append(read("VmHWM") - before)
    return statistics.median(grown)


def main() -> None:
    """Measure, print a table, and write it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    images, labels = torch.rand(BATCH, SIZES[0]), torch.randint(0, SIZES[-1], (BATCH,))
    rows, memory, resident = {}, {}, {}
    for normalize, words in KINDS.items():
        linear = training_step(sg.DenseMLP(SIZES, normalize=bool(normalize)), images, labels)
        spatial = sg.SpatialMLP(SIZES, normalize=normalize)
        memory[f"all-to-all, {words}"] = peak_bytes(spatial, images, labels)
        resident[f"all-to-all, {words}"] = resident_bytes(spatial, images, labels)
        for amount in AMOUNTS:
            ours = pruned(amount, normalize)
            name = f"{amount:.0%} removed, {words}"
            rows[f"{name}, against nn.Linear"] = compare(
                training_step(ours, images, labels), linear, args.rounds, IN_A_ROW
            )
            memory[name] = peak_bytes(ours, images, labels)
            resident[name] = resident_bytes(ours, images, labels)
        masked = sg.SpatialMLP(SIZES, normalize=normalize)
        sg.PruneWhileTraining(0.8).attach(masked.graph)
        steps = training_step(masked, images, labels), training_step(spatial, images, labels)
        rows[f"80% left out in training, {words}, against all-to-all"] = compare(*steps, args.rounds, IN_A_ROW)
    print(f"{'-'.join(map(str, SIZES))}, batch {BATCH}, {args.threads} threads, medians of alternating runs")
    for name, row in rows.items():
        print(f"{name:<62} {row['ours_ms']:8.2f} ms {row['theirs_ms']:8.2f} ms  ratio {row['ours_over_theirs']:.3f}")
    for name, size in memory.items():
        whole = resident[name]
        print(f"{name:<62} {size / 1e6:8.1f} MB" + ("" if whole is None else f", resident {whole / 1e6:8.1f} MB"))
    if args.json is not None:
        command = f"python benchmarks/pruning_step.py --rounds {args.rounds} --threads {args.threads}"
        about = {"command": command, "environment": environment(), "rows": rows}
        about |= {"peak_bytes": memory, "resident_bytes": resident}
        atomic.write_text(args.json, json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
