"""Compare a training step of a spiking network with nn.Linear and snnTorch's neurons; run by hand on an idle machine.

    python benchmarks/spiking_step.py

The networks have the same sizes, neurons, normalisation and read-out, a constant current and 25 time steps. They run
alternately in one process with two threads, and their medians are compared.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from on_device import add_device, record
from step_time import BATCH, SIZES
from steps import random_images, training_step
from timing import compare
from torch import Tensor, nn

import spatialgraph as sg
from spatialgraph import atomic

STEPS = 25


class SnnTorchNetwork(nn.Module):
    """The same network in snnTorch: a loop over time, with the constant current computed before it."""

    def __init__(self, sizes: Sequence[int], drive: float) -> None:
        import snntorch

        super().__init__()
        self.drive = drive
        surrogate = snntorch.surrogate.fast_sigmoid()
        self.first = nn.Linear(sizes[0], sizes[1])
        self.hidden = snntorch.Leaky(beta=0.95, spike_grad=surrogate)
        self.second = nn.Linear(sizes[1], sizes[2])
        self.output = snntorch.Leaky(beta=0.95, spike_grad=surrogate, reset_mechanism="none")

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean potentials of the outputs."""
        current = F.linear(x, self.first.weight)
        current = self.drive * F.layer_norm(current, current.shape[-1:]) + self.first.bias
        hidden, output = torch.zeros_like(current), x.new_zeros(len(x), self.second.out_features)
        potentials = []
        for _ in range(STEPS):
            spikes, hidden = self.hidden(current, hidden)
            _, output = self.output(self.second(spikes), output)
            potentials.append(output)
        return torch.stack(potentials).mean(0)


def main() -> None:
    """Measure, print a table, and write it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    add_device(parser)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    images, labels = random_images(BATCH, SIZES[0], SIZES[-1], args.device)
    ours = sg.SpatialSNN(SIZES, num_steps=STEPS, device=args.device)
    theirs = {
        "nn.Linear and snntorch.Leaky, step by step": SnnTorchNetwork(SIZES, ours.drive),
        "nn.Linear and the fused neurons (DenseSNN)": sg.DenseSNN(SIZES, num_steps=STEPS, normalize=True),
    }
    step = training_step(ours, images, labels)
    rows = {
        name: compare(step, training_step(model.to(args.device), images, labels), args.rounds, args.device)
        for name, model in theirs.items()
    }
    print(f"training step of SpatialSNN, {'-'.join(map(str, SIZES))}, batch {BATCH}, {STEPS} time steps, against")
    for name, row in rows.items():
        print(f"{name:<45} {row['ours_ms']:8.2f} ms {row['theirs_ms']:8.2f} ms  ratio {row['ours_over_theirs']:.3f}")
    if args.json is not None:
        command = f"python benchmarks/spiking_step.py --rounds {args.rounds} --threads {args.threads}"
        about = record(command, args.device) | {"rows": rows}
        atomic.write_text(args.json, json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
