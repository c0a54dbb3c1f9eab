"""Compile the Triton kernels for two GPUs that need not be here, and record their registers and spilled bytes.

    python benchmarks/kernel_registers.py --json docs/results/kernel_registers.json

It needs Triton with the tools of CUDA, as PyTorch's packages for CUDA bring them.
"""

import argparse
import json
import sys
from pathlib import Path

from spatialgraph import atomic
from spatialgraph.laws import LAWS
from spatialgraph.training import environment

PROCESSORS = (80, 90)


def main() -> None:
    """Compile all kernels, print the largest numbers, and write a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the results")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    import compiled_kernels  # type: ignore[import-not-found]
    import triton

    rows = {}
    for processor in PROCESSORS:
        kernels = [("", compiled_kernels.of_other(processor))]
        kernels += [(f"{law}: ", compiled_kernels.of_law(law, processor)) for law in LAWS]
        rows[processor] = {prefix + name: found for prefix, group in kernels for name, found in group}
        spilled = {name: found["stack"] for name, found in rows[processor].items() if found["stack"]}
        most = max(found["registers"] for found in rows[processor].values())
        print(f"compute capability {processor / 10}: {len(rows[processor])} kernels, at most {most} registers")
        print(f"  bytes that do not fit into registers: {spilled or 0}", flush=True)
    if options.json:
        about = {"command": "python benchmarks/kernel_registers.py", "environment": environment()}
        record = {**about, "triton": triton.__version__, "kernels": rows}
        atomic.write_text(options.json, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
