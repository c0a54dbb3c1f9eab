"""The devices that tests may run on, chosen by the environment variable SPATIALGRAPH_DEVICE."""

import os

import torch

from spatialgraph.kernels import handover


def prepare(name):
    """Make a device ready for the whole session, and return it.

    ``cpu``, ``cuda`` and ``mps`` are those of PyTorch; ``nonumba`` is the CPU as if Numba were not installed; ``sim``
    is the simulated accelerator, whose Triton kernels run through their interpreter.
    """
    if name not in ("cpu", "nonumba", "sim", "cuda", "mps"):
        raise ValueError(f"SPATIALGRAPH_DEVICE must be cpu, nonumba, sim, cuda or mps, got {name!r}")
    if name == "nonumba":
        handover._numba_works = lambda: False
        return torch.device("cpu")
    if name == "sim":
        os.environ["TRITON_INTERPRET"] = "1"
        import simulated_device
        import triton_interpreter

        simulated_device.install()
        triton_interpreter.mend()
    return torch.device(name)
