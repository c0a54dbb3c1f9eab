"""Data sets as tensors in memory."""

from spatialgraph.datasets.mnist import Mnist, load_mnist, validation_split
from spatialgraph.datasets.yin_yang_points import yin_yang

__all__ = ["Mnist", "load_mnist", "validation_split", "yin_yang"]
