"""Where the tests of Triton kernels run, the laws they run with, and how far results may be from exact ones."""

from conftest import DEVICE

from spatialgraph.laws import LAWS

PLACE = "cuda" if DEVICE.type == "cuda" else "cpu"  # the interpreter takes tensors of the CPU
MOST_ERROR = 1e-6


def error(found, exact):
    """The relative error of a tensor."""
    difference = found.detach().cpu().double() - exact.detach()
    return float(difference.norm() / exact.detach().norm().clamp(min=1e-30))


def law_of(name):
    """A law with a parameter, if it can have one."""
    kind = LAWS[name]
    return kind(learnable=True) if "learnable" in kind().settings() else kind()
