"""Call every public operator and kernel with random malformed arguments; exceptions are expected, a crash is a finding.

Half of the calls have one or two malformed arguments: inconsistent sizes, indices out of range, missing axes, another
dtype, or no numbers. The others are valid, some of them not contiguous, and are compared with plain operations. Calls
run in separate processes, so that a crash is reported and the other calls continue.

    python scripts/fuzz_bounds.py --calls 10000
    NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=runs/checked python scripts/fuzz_bounds.py --calls 10000

Compiled code with bounds checks needs its own cache folder, because Numba does not distinguish the two. With
``--without-numba`` the tensor operations used without Numba are called.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from fuzz_operations import OPERATIONS, Arguments, Draw, Operation
from torch import Tensor

from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.kernels import compressed as sparse_kernels
from spatialgraph.kernels import delays as delay_kernels
from spatialgraph.kernels import dense as kernels
from spatialgraph.kernels import leaky as leaky_kernels
from spatialgraph.kernels import normalization as normalisation_kernels
from spatialgraph.kernels import stencils as stencil_kernels

Mutation = Callable[[Any, Draw], Any]


def spread(value: Tensor, draw: Draw) -> Tensor:
    """Return the same numbers, not contiguous in memory."""
    return value if value.dim() == 0 else value.repeat_interleave(2, -1)[..., ::2]


def turned(value: Tensor, draw: Draw) -> Tensor:
    """Return the same numbers in another order of memory."""
    return value if value.dim() < 2 else value.transpose(0, -1).contiguous().transpose(0, -1)


def longer(value: Tensor, draw: Draw) -> Tensor:
    """Append to one axis."""
    axis = draw.rng.randrange(max(value.dim(), 1))
    return torch.cat([value, value.new_zeros([1 if k == axis else size for k, size in enumerate(value.shape)])], axis)


def shorter(value: Tensor, draw: Draw) -> Tensor:
    """Cut one axis."""
    axis = draw.rng.randrange(max(value.dim(), 1))
    return value.narrow(axis, 0, draw.rng.randint(0, max(value.shape[axis] - 1, 0)))


def pointing_away(value: Tensor, draw: Draw) -> Tensor:
    """Set an integer far out of the range of an index, or another number to NaN or infinity."""
    value = value.clone(memory_format=torch.contiguous_format)
    far: list[float] = [-1, 10, 10**9, 2**31 - 1, -(2**31)]
    if value.dtype == torch.int64:
        far += [2**31, 2**62, -(2**63)]
    if value.is_floating_point():
        far = [float("nan"), float("inf"), -1.0, 1e30]
    if value.numel():
        value.view(-1)[draw.rng.randrange(value.numel())] = draw.rng.choice(far)
    return value


def of_another_dtype(value: Tensor, draw: Draw) -> Tensor:
    """Convert the numbers."""
    kinds = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64, torch.bool]
    return value.to(draw.rng.choice([kind for kind in kinds if kind != value.dtype]))


def no_tensor(value: Tensor, draw: Draw) -> Any:  # noqa: ANN401
    """Return something else."""
    return draw.rng.choice([None, 0.5, [1.0], "abc", torch.zeros((), dtype=value.dtype)])


HARMLESS: list[Mutation] = [spread, turned]


def transposed(value: Tensor, draw: Draw) -> Tensor:
    """Exchange two axes, or add one."""
    return value.transpose(0, 1) if value.dim() >= 2 else value[None]


def flat(value: Tensor, draw: Draw) -> Tensor:
    """Drop all axes but one."""
    return value.reshape(-1)


def without_memory(value: Tensor, draw: Draw) -> Tensor:
    """Return a tensor that has no numbers."""
    return value.to("meta")


HARMFUL: list[Mutation] = [
    longer,
    shorter,
    pointing_away,
    of_another_dtype,
    no_tensor,
    transposed,
    flat,
    without_memory,
]
CLEAR = ("right", "accepted", "TypeError", "ValueError", "finding")
MEANING = {
    "right": "valid arguments; values and gradients equal those of plain operations in float64",
    "accepted": "an argument was changed to another one that is allowed, or to NaN",
    "other_errors": "errors of PyTorch itself or of the memory allocator",
    "findings": "a crash, a wrong number, a valid call refused, or an index out of bounds in compiled code",
}
NUMBERS: list[Any] = [-1, 10**6, 2**40, -(2**40), 1.5, True, None, "abc"]


def spoil(name: str, value: Any, draw: Draw) -> tuple[Any, str]:  # noqa: ANN401
    """Return a malformed value, and a description of the change."""
    if isinstance(value, CompressedEdges):  # modified after it was checked
        field = draw.rng.choice(["target_pointer", "sources", "source_pointer", "by_source", "targets_by_source"])
        numbers = getattr(value, field)
        numbers.copy_(pointing_away(numbers, draw))
        return value, f"{name}.{field} written to"
    if isinstance(value, tuple):
        place = draw.rng.randrange(len(value))
        changed, what = spoil(name, value[place], draw)
        return (*value[:place], changed, *value[place + 1 :]), what
    if isinstance(value, Tensor) and value.layout == torch.strided:
        mutation = draw.rng.choice(HARMFUL)
        return mutation(value, draw), f"{name} {mutation.__name__}"
    if isinstance(value, Tensor):
        pointer, column = pointing_away(value.crow_indices(), draw), pointing_away(value.col_indices(), draw)
        shape = draw.rng.choice([tuple(value.shape), (value.shape[0], value.shape[1] + 3)])
        parts = pointer, column, value.values(), shape
        return torch.sparse_csr_tensor(*parts, check_invariants=False), f"{name} with other indices"
    # A million steps would be valid, and take minutes without kernels.
    wrong = draw.rng.choice([number for number in NUMBERS if name != "num_steps" or number not in (10**6, 2**40)])
    return wrong, f"{name} another number"


def results(call: Callable[..., Any], arguments: Arguments) -> list[Tensor]:
    """Call, and return the first result with the gradients of its sum of squares by all arguments that have some."""
    first = call(**arguments)
    first = first[0] if isinstance(first, tuple | list) else first
    if not isinstance(first, Tensor):
        return []
    leaves = [value for value in arguments.values() if isinstance(value, Tensor) and value.requires_grad]
    if not first.requires_grad or not leaves:
        return [first]
    grads = torch.autograd.grad(first.square().sum(), leaves, allow_unused=True)
    return [first, *(torch.zeros_like(a) if g is None else g for a, g in zip(leaves, grads, strict=True))]


def compare(operation: Operation, arguments: Arguments, got: list[Tensor]) -> str:
    """Compare results with plain operations in float64; return what differs."""
    if operation.expect is None:
        return ""
    with torch.no_grad():
        exact = {
            name: value.double().requires_grad_(value.requires_grad)
            if isinstance(value, Tensor) and value.is_floating_point() and value.layout == torch.strided
            else value
            for name, value in arguments.items()
        }
        if isinstance(exact.get("pos"), tuple):
            exact["pos"] = tuple(value.double() for value in exact["pos"])
    for number, (value, right) in enumerate(zip(got, results(operation.expect, exact), strict=False)):
        tolerance = 1e-8 if value.dtype == torch.float64 else 1e-3
        if value.shape != right.shape:
            return f"result {number} has shape {tuple(value.shape)}, not {tuple(right.shape)}"
        if not torch.allclose(value.double(), right, rtol=tolerance, atol=tolerance):
            return f"result {number} is off by {float((value - right).abs().max()):g}"
    return ""


def one_call(seed: int, number: int) -> tuple[str, str]:
    """Make a call, and return its outcome and description."""
    draw = Draw(f"{seed}-{number}")
    name = draw.rng.choice(list(OPERATIONS))
    operation = OPERATIONS[name]
    arguments = operation.draw(draw)
    is_spoiled, done = draw.rng.random() < 0.5, []
    if name in ("sparse", "all_to_all", "edge_weight", "pairwise_weight", "delayed", "normalised"):
        for value in arguments.values():
            if isinstance(value, Tensor) and value.is_floating_point():
                value.requires_grad_()
    for argument in draw.rng.sample(list(arguments), min(draw.rng.randint(1, 2), len(arguments))):
        value = arguments[argument]
        if is_spoiled:
            with torch.no_grad():
                arguments[argument], what = spoil(argument, value, draw)
            done.append(what)
        elif isinstance(value, Tensor) and value.layout == torch.strided and argument != "edges":
            with torch.no_grad():
                changed = draw.rng.choice(HARMLESS)(value, draw)
            arguments[argument] = changed.requires_grad_(value.requires_grad) if changed is not value else value
    about = f"{name}: {', '.join(done) or 'valid'}"
    try:
        got = results(operation.call, arguments)
    except Exception as error:
        out_of_bounds = isinstance(error, IndexError) and str(error) == "index is out of bounds"
        if not is_spoiled or out_of_bounds:
            return f"finding: {type(error).__name__}: {error}", about
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", about
    if is_spoiled:
        return "accepted", about
    wrong = compare(operation, arguments, got)
    return (f"finding: {wrong}", about) if wrong else ("right", about)


def work(arguments: argparse.Namespace) -> None:
    """Make calls in this process, and log each of them before and after."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    if arguments.threads > 1:  # use several threads even for small work
        for module in (kernels, sparse_kernels, delay_kernels, leaky_kernels, normalisation_kernels, stencil_kernels):
            vars(module)["_WORTH_A_THREAD"] = 1
    if arguments.without_numba:
        vars(kernels)["_numba_works"] = lambda: False
    with open(arguments.worker, "a", buffering=1, encoding="utf-8") as log:
        for number in range(arguments.first, arguments.calls):
            print(json.dumps({"call": number}), file=log)
            outcome, about = one_call(arguments.seed, number)
            print(json.dumps({"call": number, "outcome": outcome, "about": about}), file=log)


def supervise(options: Sequence[str], calls: int) -> list[dict[str, Any]]:
    """Make the calls in other processes; if one crashes, start another for the remaining calls."""
    done: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "calls"
        first = 0
        while first < calls:
            command = [sys.executable, __file__, *options, "--worker", str(log), "--first", str(first)]
            ended = subprocess.run(command, capture_output=True, text=True)
            lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
            log.unlink(missing_ok=True)
            done += [line for line in lines if "outcome" in line]
            if ended.returncode == 0:
                break
            if not lines:
                raise RuntimeError(f"the calls could not start: {ended.stderr}")
            first = lines[-1]["call"]
            outcome = f"finding: the process ended with {ended.returncode}: {ended.stderr[-2000:]}"
            done.append({"call": first, "outcome": outcome, "about": ""})
            first += 1
    return done


def summary(done: list[dict[str, Any]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Count the outcomes of the calls."""
    findings = [line for line in done if line["outcome"].startswith("finding")]
    outcomes = collections.Counter(line["outcome"].split(":")[0] for line in done)
    others = [line for line in done if line["outcome"].split(":")[0] not in CLEAR]
    accepted = collections.Counter(line["about"] for line in done if line["outcome"] == "accepted")
    return {
        "calls": len(done),
        "seed": arguments.seed,
        "threads": arguments.threads,
        "bounds_checked": os.environ.get("NUMBA_BOUNDSCHECK", "0") == "1",
        "numba": not arguments.without_numba,
        "outcomes": dict(outcomes.most_common()),
        "accepted": dict(accepted.most_common()),
        "other_errors": [f"{line['about']}: {line['outcome']}" for line in others],
        "findings": findings,
    }


def compact(outcome: dict[str, Any]) -> dict[str, Any]:
    """Return an outcome for the report: the number of accepted calls, and each distinct error by operator."""
    errors = [error.split(": ", 2) for error in outcome["other_errors"]]
    once = sorted({f"{name}: {message}"[:200] for name, _, message in errors})
    return outcome | {"accepted": sum(outcome["accepted"].values()), "other_errors": once}


def main(argv: Sequence[str] | None = None) -> int:
    """Make the calls and print their outcome; the exit code is 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads that share each kernel's work")
    parser.add_argument("--without-numba", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON file that the outcome is added to")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.worker:
        work(arguments)
        return 0
    options = ["--calls", str(arguments.calls), "--seed", str(arguments.seed), "--threads", str(arguments.threads)]
    options += ["--without-numba"] if arguments.without_numba else []
    outcome = summary(supervise(options, arguments.calls), arguments)
    print(json.dumps(outcome, indent=1))
    if arguments.out:
        from spatialgraph.training import environment

        record: dict[str, Any] = {"meaning": MEANING, "runs": []}
        if arguments.out.exists():
            record = json.loads(arguments.out.read_text())
        checked = "NUMBA_BOUNDSCHECK=1 " if outcome["bounds_checked"] else ""
        command = f"{checked}python scripts/fuzz_bounds.py {' '.join(options)}"
        record["environment"] = environment()
        record["runs"].append({"command": command, **compact(outcome)})
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")
    return 1 if outcome["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
