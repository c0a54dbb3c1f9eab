"""Measure projections of many neurons: sums on a grid, streamed and dense products; run by hand on an idle machine.

    python benchmarks/scale.py --json docs/results/scale.json
    python benchmarks/scale.py --neurons 10000 --pairs 5000        # a quick look

Layers are planes a gap of 1 apart, with normally distributed neurons and the inverse distance. Sums on a grid have a
tolerance of 1e-3; they are compared with sums over all pairs in double precision at 1,000 targets, and their gradients
at 200 sources and targets. Another geometry is that of a trained network: its inputs and hidden neurons many times,
each moved by normal numbers of standard deviation 0.05, with a gap of 0.05 between the layers. The streamed and the
dense product run in turns on a batch of 64. Where `fmm3dpy <https://fmm3d.readthedocs.io>`_ is installed, the fast
multipole method computes the same sums, and where `pykeops <https://www.kernel-operations.io>`_ is, sums over all pairs
on the fly; both forwards only. Each measurement is a process of its own, whose peak memory is that above an empty one.
"""

import argparse
import functools
import importlib.util
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from memory import held
from timing import Step, in_turn, timed
from torch import Tensor

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.functional import all_to_all, streamed
from spatialgraph.functional.mesh import Planner, summed
from spatialgraph.functional.mesh_plan import Plan
from spatialgraph.laws import InverseDistance
from spatialgraph.training import environment

TOLERANCE = 1e-3
TRAINED = Path(__file__).parent.parent / "docs" / "networks" / "mnist.safetensors"
LAW = InverseDistance()


def planes(neurons: int, is_trained: bool = False) -> tuple[Tensor, Tensor]:
    """Return the positions of sources and targets in two planes, normally distributed or those of a trained network."""
    generator = torch.Generator().manual_seed(0)
    ends, gap = [torch.randn(neurons, 3, generator=generator) for _ in range(2)], 1.0
    if is_trained:
        graph, gap = sg.load(TRAINED).graph, 0.05
        ends = [
            graph.pos[graph.layer == number].detach().repeat(-(-neurons // count), 1)[:neurons] + 0.05 * noise
            for number, (count, noise) in enumerate(zip((784, 2048), ends, strict=True))
        ]
    for pos, height in zip(ends, (0.0, gap), strict=True):
        pos[:, -1] = height
    return ends[0], ends[1]


def peak() -> float:
    """Return the peak memory of this process in gigabytes."""
    return 1e-6 * held("VmHWM") / 1024


def seconds(step: Step, rounds: int) -> float:
    """Return the median time of a step, after one more."""
    return statistics.median(in_turn({"step": step}, rounds, warm_up=1)["step"])


def mesh(neurons: int, batch: int, rounds: int, is_trained: bool = False) -> dict[str, float]:
    """Measure sums on a grid."""
    source, target = (pos.requires_grad_() for pos in planes(neurons, is_trained))
    scale = torch.ones(neurons)
    x = torch.randn(batch, neurons, generator=torch.Generator().manual_seed(1)).requires_grad_()
    planner, before = Planner(), peak()
    plan, chosen = timed(lambda: planner.plan(source, target, LAW, TOLERANCE))

    def product() -> Tensor:
        return summed(x, source, target, scale, LAW, None, planner.plan(source, target, LAW, TOLERANCE))

    def forward() -> None:
        with torch.no_grad():
            product()

    def both() -> None:
        product().sum().backward()

    found = {"forward_s": seconds(forward, rounds), "forward_and_backward_s": seconds(both, rounds)}
    found |= {"choice_s": chosen, "peak_gb": peak() - before, "grid_points": plan.points}
    return found | errors(plan, neurons, is_trained)


def errors(plan: Plan, neurons: int, is_trained: bool) -> dict[str, float]:
    """Return the errors of sums and gradients, relative, where charges and gradients have random signs."""
    source, target = planes(neurons, is_trained)
    generator = torch.Generator().manual_seed(2)
    x, grad = ((torch.randint(2, (1, neurons), generator=generator) * 2 - 1).float() for _ in range(2))
    charge, sources, targets = (values.clone().requires_grad_() for values in (x, source, target))
    y = summed(charge, sources, targets, torch.ones(neurons), LAW, None, plan)
    grads = torch.autograd.grad(y, (charge, sources, targets), grad)
    found = {}
    some = torch.randperm(neurons, generator=generator)
    exact = [streamed(x.double(), source.double(), target[some[:1000]].double(), torch.ones(neurons).double(), LAW)]
    exact += list(_exact_gradients(x, source, target, grad, some[:200]))
    own = [y.detach()[:, some[:1000]], grads[0][:, some[:200]], *(each[some[:200], :2] for each in grads[1:])]
    for name, one, other in zip(("sums", "inputs", "sources", "targets"), own, exact, strict=True):
        found[f"error_of_{name}"] = float((one.double() - other).norm() / other.norm())
    return found


def _exact_gradients(x: Tensor, source: Tensor, target: Tensor, grad: Tensor, some: Tensor) -> Sequence[Tensor]:
    """Return the exact gradients of some inputs, sources and targets in their planes, in double precision."""
    x, source, target, grad = (values.double() for values in (x, source, target, grad))
    leaves = [values.clone().requires_grad_() for values in (x[:, some], source[some], target[some])]
    by_sources = streamed(leaves[0], leaves[1], target, torch.ones(len(some)).double(), LAW)
    by_targets = streamed(x, source, leaves[2], torch.ones(len(source)).double(), LAW)
    of_inputs, of_sources = torch.autograd.grad(by_sources, leaves[:2], grad)
    (of_targets,) = torch.autograd.grad(by_targets, leaves[2], grad[:, some])
    return of_inputs, of_sources[:, :2], of_targets[:, :2]


def pairs(product: Callable[..., Tensor], neurons: int, batch: int, rounds: int) -> dict[str, float]:
    """Measure a product with the weights of all pairs."""
    source, target = (pos.requires_grad_() for pos in planes(neurons))
    scale, x = torch.ones(neurons), torch.randn(batch, neurons).requires_grad_()

    def both(count: int = neurons) -> None:
        few = slice(None, count)
        product(x[:, few], source[few], target[few], scale[few], LAW).sum().backward()

    def forward() -> None:
        with torch.no_grad():
            product(x, source, target, scale, LAW)

    both(1000)  # compiles kernels, which takes memory
    before = peak()
    found = {"forward_s": seconds(forward, rounds), "forward_and_backward_s": seconds(both, rounds)}
    return found | {"peak_gb": peak() - before}


def _signs(neurons: int) -> Tensor:
    return torch.randint(2, (neurons,), generator=torch.Generator().manual_seed(2)) * 2.0 - 1.0


def _against_exact(y: Tensor, x: Tensor, source: Tensor, target: Tensor) -> float:
    """Return the relative error of sums at 1,000 targets."""
    some = torch.randperm(len(target), generator=torch.Generator().manual_seed(3))[:1000]
    exact = streamed(x[None].double(), source.double(), target[some].double(), torch.ones(len(x)).double(), LAW)[0]
    return float((y[some].double() - exact).norm() / exact.norm())


def multipole(neurons: int, batch: int, rounds: int, precision: float = TOLERANCE) -> dict[str, float]:
    """Measure the fast multipole method on one sample."""
    import fmm3dpy

    source, target = planes(neurons)
    x = _signs(neurons)
    given = {"sources": source.double().t().numpy(), "targets": target.double().t().numpy()}
    before = peak()

    def forward() -> Tensor:
        found = fmm3dpy.lfmm3d(eps=precision, charges=x.double().numpy(), pgt=1, **given)
        return 4.0 * math.pi * torch.from_numpy(found.pottarg)  # it divides by that

    found = {"forward_s": seconds(forward, rounds), "peak_gb": peak() - before}
    return found | {"error_of_sums": _against_exact(forward(), x, source, target)}


def on_the_fly(neurons: int, batch: int, rounds: int) -> dict[str, float]:
    """Measure sums over all pairs by KeOps on one sample."""
    from pykeops.torch import LazyTensor

    source, target = planes(neurons)
    x = _signs(neurons)
    before = peak()

    def forward() -> Tensor:
        square = ((LazyTensor(target[:, None]) - LazyTensor(source[None])) ** 2).sum(-1) + LAW.softening**2
        found: Tensor = (square.rsqrt() * LazyTensor(x[None, :, None])).sum(1)
        return found[:, 0]

    found = {"forward_s": seconds(forward, rounds), "peak_gb": peak() - before}
    return found | {"error_of_sums": _against_exact(forward(), x, source, target)}


KINDS: dict[str, Callable[[int, int, int], dict[str, float]]] = {
    "mesh": mesh,
    "mesh, trained positions": functools.partial(mesh, is_trained=True),
    "fmm3dpy": multipole,
    "fmm3dpy, precision 0.01": functools.partial(multipole, precision=0.01),
    "pykeops": on_the_fly,
    "streamed": functools.partial(pairs, streamed),
    "dense": functools.partial(pairs, all_to_all),
}


def cases(sizes: Sequence[int], pairs_of: int, rounds: int) -> list[tuple[str, int, int, int]]:
    """List what is measured, for sizes in ascending order: kind, neurons, batch and rounds."""
    found = [("mesh", neurons, 1, rounds) for neurons in sizes]
    middle = sizes[len(sizes) // 2]
    found += [("mesh", middle, 1, rounds), ("mesh", middle, 16, rounds), ("mesh, trained positions", middle, 1, rounds)]
    if importlib.util.find_spec("fmm3dpy") is not None:
        found += [(kind, neurons, 1, 2) for kind in KINDS if kind.startswith("fmm3dpy") for neurons in sizes]
    if importlib.util.find_spec("pykeops") is not None:
        found += [("pykeops", neurons, 1, 2) for neurons in sizes if neurons <= 10**5]  # beyond, a sum takes minutes
    found += [("dense", min(sizes), 1, rounds), ("streamed", min(sizes), 1, rounds), ("streamed", middle, 1, 1)]
    return found + [(kind, pairs_of, 64, rounds) for kind in ("dense", "streamed", "dense", "streamed")]


def measured(kind: str, neurons: int, batch: int, rounds: int, threads: int) -> dict[str, Any]:
    """Return what a process of its own measures."""
    given = [str(each) for each in (neurons, batch, rounds, threads)]
    done = subprocess.run([sys.executable, __file__, "--one", kind, *given], capture_output=True, text=True, check=True)
    row: dict[str, Any] = {"kind": kind, "neurons": neurons, "batch": batch} | json.loads(
        done.stdout.splitlines()[-1]  # after what KeOps prints
    )
    print(
        ", ".join(
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
        )
    )
    return row


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="on a grid")
    parser.add_argument("--pairs", type=int, default=20_000, help="neurons of the streamed and the dense product")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one is not None:
        kind, *numbers = args.one
        neurons, batch, rounds, threads = map(int, numbers)
        torch.set_num_threads(threads)
        print(json.dumps(KINDS[kind](neurons, batch, rounds)))
        return
    rows = [measured(*case, args.threads) for case in cases(args.neurons, args.pairs, args.rounds)]
    if args.json is not None:
        about = {"command": "python benchmarks/scale.py", "environment": environment(), "rows": rows}
        atomic.write_text(args.json, json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
