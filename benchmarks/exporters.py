"""Compare exported and compiled networks with eager PyTorch; needs onnx, onnxscript and onnxruntime.

    python benchmarks/exporters.py

For each network and each export: the largest difference of the outputs, on inputs other than those used for tracing.
"""

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.training import environment

SIZES = [64, 48, 10]
BATCH = 32


def networks() -> dict[str, nn.Module]:
    """Return a network of each engine."""
    few, many = sg.wiring.KNN(k=8), sg.wiring.Random(0.5)
    return {
        "dense": sg.SpatialMLP(SIZES),
        "sparse": sg.SpatialMLP(SIZES, wiring=few),
        "masked": sg.SpatialMLP(SIZES, wiring=many),
        "spiking": sg.SpatialSNN(SIZES, num_steps=5),
        "delayed": sg.SpatialSNN(SIZES, num_steps=5, velocity=0.7, gain=2.0, coding="latency"),
        "delayed, sparse": sg.SpatialSNN(SIZES, num_steps=5, velocity=0.7, gain=2.0, coding="latency", wiring=few),
    }


def by_export(model: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
    """Export with ``torch.export``."""
    return torch.export.export(model, (example,)).module()


def by_compiler(model: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
    """Compile as one graph."""
    torch.compiler.reset()
    compiled: Callable[[Tensor], Tensor] = torch.compile(model, fullgraph=True)
    return compiled


def by_onnx(model: nn.Module, example: Tensor, dynamo: bool) -> Callable[[Tensor], Tensor]:
    """Write ONNX by one of the two exporters, and run it with onnxruntime."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        torch.onnx.export(model, (example,), path, dynamo=dynamo, verbose=False)
        session = onnxruntime.InferenceSession(path)
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


WAYS: dict[str, Callable[[nn.Module, Tensor], Callable[[Tensor], Tensor]]] = {
    "torch.export": by_export,
    "torch.compile(fullgraph=True)": by_compiler,
    "ONNX, dynamo=True": lambda model, example: by_onnx(model, example, dynamo=True),
    "ONNX, dynamo=False": lambda model, example: by_onnx(model, example, dynamo=False),
}


def main() -> None:
    """Compare, print a table, and write it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    example, x = torch.rand(2, BATCH, SIZES[0])
    rows: dict[str, dict[str, float]] = {}
    for name, model in networks().items():
        model.eval()
        with torch.no_grad():
            right = model(x)
            rows[name] = {}
            for way, leave in WAYS.items():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the exporters' own
                    found = leave(model, example)(x)
                rows[name][way] = float((found - right).abs().max())
                print(f"{name:<16} {way:<30} largest difference {rows[name][way]:.2e}", flush=True)
    if args.json is not None:
        about = {"command": f"python benchmarks/exporters.py --seed {args.seed}", "environment": environment()}
        atomic.write_text(args.json, json.dumps(about | {"largest_difference": rows}, indent=1))


if __name__ == "__main__":
    main()
