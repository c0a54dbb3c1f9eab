"""From the sums that hidden neurons receive to bytes that they send, in whole numbers of 32 bits.

All of it is defined to the bit, and the exported C code computes the same.
"""

import abc
import dataclasses
import math

import numpy as np

__all__ = [
    "BIAS_BITS",
    "BYTE",
    "CLIP_BITS",
    "DEVIATION_BITS",
    "LEAK_BITS",
    "POINT",
    "SCALE_BITS",
    "Leaking",
    "Rectified",
    "Response",
]

BYTE = 255
# Bits after the point of what neurons receive, once it is normalised or scaled.
POINT = 10
# Deviations from the mean have at most so many bits when they are squared and divided.
DEVIATION_BITS = 20
# Further bits after the point of the factor on biases.
BIAS_BITS = 8
SCALE_BITS = 16
LEAK_BITS = 15
# What neurons receive, and what adds up in their potentials, stays within so many bits.
CLIP_BITS = 29


def shifted(values: np.ndarray, shift: int) -> np.ndarray:
    """Return values without so many of their last bits, rounded.

    Example:
        >>> shifted(np.array([-3, 1, 2, 3]), 1).tolist()
        [-1, 1, 1, 2]
    """
    return (values + ((1 << shift) >> 1)) >> shift


@dataclasses.dataclass(frozen=True)
class Response(abc.ABC):
    r"""What hidden neurons do with the sums :math:`z` that they receive.

    With normalisation, :math:`c` are the deviations from the mean, shifted to 20 bits, and
    :math:`y = 2^{10} c / \sqrt{\overline{c^2} + \epsilon}`, where :math:`\epsilon` is shifted as squares are; without,
    :math:`y = z`. A neuron receives :math:`\lfloor m\,y / 2^s \rceil + \lfloor k\,b / 2^8 \rceil` with the code
    :math:`b` of its bias, at most :math:`q` in size.

    Args:
        normalize: whether sums are normalised.
        multiplier: :math:`m`.
        shift: :math:`s`.
        bias: :math:`k`.
        unit: activation for one step of a byte.
        epsilon: :math:`\epsilon`.
    """

    normalize: bool
    multiplier: int
    shift: int
    bias: int
    unit: float
    epsilon: int = 0

    @property
    def most(self) -> int:
        """What a neuron receives at most, :math:`q`."""
        return 1 << CLIP_BITS

    def __call__(self, sums: np.ndarray, biases: np.ndarray) -> np.ndarray:
        """Return the bytes that neurons send, int64, shape ``(batch, n)``.

        Args:
            sums: what they receive, int64, shape ``(batch, n)``.
            biases: codes of their biases, shape ``(n,)``.
        """
        inner = _normalised(sums, self.epsilon) if self.normalize else sums
        received = shifted(inner * self.multiplier, self.shift)
        received = received + shifted(biases.astype(np.int64) * self.bias, BIAS_BITS)
        return self.bytes(np.clip(received, -self.most, self.most))

    @abc.abstractmethod
    def bytes(self, received: np.ndarray) -> np.ndarray:
        """Return what neurons send that receive so much, with 10 bits after the point."""


@dataclasses.dataclass(frozen=True)
class Rectified(Response):
    r"""Rectified neurons: :math:`a = \min(255, \lfloor n \max(0, x) / 2^{16} \rfloor)`.

    Args:
        scale: :math:`n`.
    """

    scale: int = 1

    def bytes(self, received: np.ndarray) -> np.ndarray:
        """Return activations as bytes."""
        activations: np.ndarray = np.minimum((np.maximum(received, 0) * self.scale) >> SCALE_BITS, BYTE)
        return activations


@dataclasses.dataclass(frozen=True)
class Leaking(Response):
    r"""Leaky integrate-and-fire neurons with a constant current, whose spikes count by their time.

    :math:`v_t = \lfloor \beta v_{t-1} / 2^{15} \rceil + I - \theta s_{t-1}`, :math:`s_t = [v_t > \theta]`, and
    :math:`a = \lfloor \sum_t a_t s_t / 2^8 \rfloor`.

    Args:
        leak: :math:`\beta`.
        threshold: :math:`\theta`.
        reset: ``"subtract"`` as above, ``"zero"`` or ``"none"``.
        shares: :math:`a_t`, which add up to less than :math:`2^{16}`.
    """

    leak: int = 0
    threshold: int = 1
    reset: str = "subtract"
    shares: tuple[int, ...] = ()

    @property
    def most(self) -> int:
        """What a neuron receives at most, so that its potential fits 32 bits."""
        steps = len(self.shares)
        kept = self.leak / 2**LEAK_BITS
        grown = steps if kept >= 1.0 else min(steps, 1.0 / (1.0 - kept))
        return int(2**CLIP_BITS / max(1.0, grown))

    def bytes(self, received: np.ndarray) -> np.ndarray:
        """Return weighted numbers of spikes as bytes."""
        potential, total = np.zeros_like(received), np.zeros_like(received)
        for share in self.shares:
            fired = potential > self.threshold
            if self.reset == "zero":
                potential = np.where(fired, 0, potential)
            potential = shifted(potential * self.leak, LEAK_BITS) + received
            if self.reset == "subtract":
                potential = potential - fired * self.threshold
            total += share * (potential > self.threshold)
        return total >> 8


def _normalised(sums: np.ndarray, epsilon: int) -> np.ndarray:
    """Return sums without their mean, over their spread, with 10 bits after the point."""
    count = sums.shape[1]
    deviations = sums - np.floor_divide(sums.sum(1, keepdims=True), count)
    largest = np.abs(deviations).max(1)
    lost = np.array([max(0, int(size).bit_length() - DEVIATION_BITS) for size in largest], dtype=np.int64)
    deviations = deviations >> lost[:, None]
    squares = (deviations**2).sum(1) // count + (epsilon >> np.minimum(2 * lost, 62))
    spread = np.array([max(1, math.isqrt(int(square))) for square in squares], dtype=np.int64)[:, None]
    # Rounded towards 0, as in C.
    found: np.ndarray = np.sign(deviations) * ((np.abs(deviations) << POINT) // spread)
    return found
