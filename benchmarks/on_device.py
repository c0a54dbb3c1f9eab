"""The option ``--device`` of benchmarks, and what a record says about where it was measured."""

import argparse
import platform
from typing import Any

import torch

DEVICES = ("cpu", "cuda", "mps")


def device_named(name: str) -> torch.device:
    """Return a device that can be used here.

    Raises:
        argparse.ArgumentTypeError: if there is no device of the name, here or anywhere.
    """
    if name not in DEVICES:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(DEVICES)}, got {name!r}")
    if name != "cpu" and not getattr(torch, name).is_available():
        raise argparse.ArgumentTypeError(f"must be a device that PyTorch finds here, got {name!r}")
    return torch.device(name)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark the option ``--device``."""
    parser.add_argument(
        "--device", type=device_named, default="cpu", metavar="{cpu,cuda,mps}", help="where to measure (cpu)"
    )


def uses_tf32() -> bool:
    """Tell whether a GPU may round the numbers of single-precision products to TF32."""
    return torch.get_float32_matmul_precision() != "highest"


def about(device: torch.device) -> dict[str, Any]:
    """Return what is to be known about a device."""
    if device.type != "cuda":
        return {"type": device.type, "name": platform.processor() or platform.machine()}
    major, minor = torch.cuda.get_device_capability()
    return {
        "type": device.type,
        "name": torch.cuda.get_device_name(),
        "capability": f"{major}.{minor}",
        "cuda": torch.version.cuda or torch.version.hip,
        "tf32": uses_tf32(),
    }


def record(command: str, device: torch.device) -> dict[str, Any]:
    """Return the command, the versions and the device, for the record of a result."""
    from spatialgraph.training import environment  # here: some benchmarks measure another version of the package

    if device.type != "cpu":
        command += f" --device {device.type}"
    return {"command": command, "environment": environment(), "device": about(device)}
