"""Layers that are planes: neurons that differ in all axes but the last one."""

from torch import Tensor

from spatialgraph.devices import in_double

__all__ = ["gap_of", "is_planar"]


def is_planar(pos: Tensor) -> bool:
    """Tell whether points differ in all axes but the last one."""
    depth = pos.detach()[:, -1]
    return bool((depth == depth[0]).all())


def gap_of(source_pos: Tensor, target_pos: Tensor) -> float:
    """Return how far the targets' plane is above that of the sources, in length units."""
    return float(in_double(target_pos.detach()[0, -1]) - in_double(source_pos.detach()[0, -1]))
