"""Compare ONNX files that compute weights from positions with those that store them; needs onnx and onnxruntime.

    python benchmarks/onnx_files.py --json onnx_files.json

For each network: the size of both files, and the largest difference of the outputs from those of the model, as a share
of the largest output, on random images other than those that the files were made with.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from torch import Tensor

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.training import environment

WAYS = ("computed", "stored")


def networks() -> dict[str, sg.SpatialMLP | sg.SpatialSNN]:
    """Return the networks."""
    return {
        "784-2048-10, d=3": sg.SpatialMLP([784, 2048, 10]),
        "784-200-143-10, d=9, cosine": sg.SpatialMLP([784, 200, 143, 10], 9, law="cosine"),
        "spiking 784-2048-10, d=3": sg.SpatialSNN([784, 2048, 10]),
    }


def compare(model: sg.SpatialMLP | sg.SpatialSNN, example: Tensor, images: Tensor) -> dict[str, float]:
    """Return sizes of files in bytes, and differences of outputs."""
    import onnxruntime

    model.eval()
    with torch.no_grad():
        exact = model(images)
    found: dict[str, float] = {"parameters": sum(p.numel() for p in model.parameters())}
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            sg.to_onnx(model, path, example, weights=way)
            session = onnxruntime.InferenceSession(path)
            found[f"{way}_bytes"] = path.stat().st_size
        outputs = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])
        found[f"{way}_difference"] = float((outputs - exact).abs().max() / exact.abs().max())
    found["ratio"] = round(found["stored_bytes"] / found["computed_bytes"], 1)
    return found


def main() -> None:
    """Compare, print a table, and write it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    example, images = torch.rand(2, 784), torch.rand(100, 784)
    rows = {name: compare(model, example, images) for name, model in networks().items()}
    print("| network | computed (kB) | stored (kB) | ratio | differences |\n|---|---|---|---|---|")
    for name, row in rows.items():
        sizes = " | ".join(f"{row[f'{way}_bytes'] / 1000:,.1f}" for way in WAYS)
        differences = ", ".join(f"{row[f'{way}_difference']:.0e}" for way in WAYS)
        print(f"| {name} | {sizes} | {row['ratio']} | {differences} |")
    if args.json is not None:
        command = f"python benchmarks/onnx_files.py --seed {args.seed}"
        about = {"command": command, "environment": environment(), "networks": rows}
        atomic.write_text(args.json, json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
