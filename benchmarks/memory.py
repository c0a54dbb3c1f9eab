"""How much memory a process has held, or a step takes, by what the system or the device counts."""

import resource
from pathlib import Path

import torch
from timing import Step

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def growth(step: Step) -> int | None:
    """Return by how many bytes the resident memory of this process grows in a step; None off Linux."""
    if not RESET.exists():
        return None
    before = held("VmRSS")
    RESET.write_text("5")  # forgets the largest size so far
    step()
    return held("VmHWM") - before


def held(field: str) -> int:
    """Return a size of this process in bytes, as Linux reports it."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return 1024 * int(line.split()[1])


def peak_megabytes(device: torch.device | str = "cpu") -> float:
    """Return the largest memory that this process has held so far, with CUDA that of tensors on the device."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    if STATUS.exists():  # what getrusage returns on Linux includes the process that started this one
        return held("VmHWM") / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def step_bytes(step: Step, device: torch.device | str) -> int | None:
    """Return by how much a step raises the allocated memory of a GPU at its peak; None where none is counted."""
    if torch.device(device).type != "cuda":
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def free_bytes(device: torch.device | str) -> int:
    """Return the memory that a device has left for tensors; 0 for the CPU, whose memory others use too."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.mem_get_info()[0]
    if kind == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return 0
