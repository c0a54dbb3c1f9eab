"""Published networks that docs/race.md compares with; accuracies on MNIST in percent."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Published:
    """A published fully connected network.

    Args:
        name: its name.
        parameters: how many numbers it keeps.
        accuracy: on the test images, in percent.
        conditions: what it knows of images, and how it was trained.
        source: where it is described.
    """

    name: str
    parameters: int
    accuracy: float
    conditions: str
    source: str


PUBLISHED = (
    Published(
        "BitNetMCU, 4 bits",
        25_216,
        99.02,
        "any order, augmented; images of 16 x 16 pixels",
        "[BitNetMCU](https://github.com/cpldcpu/BitNetMCU)",
    ),
    Published(
        "BitNetMCU, 2 bits",
        4_512,
        94.22,
        "any order, augmented; images of 16 x 16 pixels",
        "[BitNetMCU](https://github.com/cpldcpu/BitNetMCU)",
    ),
    Published(
        "tensor train of t3f's tutorial",
        7_985,
        96.45,
        "knows rows and columns, not augmented; 2 epochs (another version of the tutorial prints 95.00)",
        "[t3f](https://github.com/Bihaqo/t3f/blob/develop/docs/tutorials/tensor_nets.ipynb)",
    ),
)


@dataclasses.dataclass(frozen=True)
class PublishedDevice:
    """A published network on a microcontroller.

    Args:
        name: its name, and where it is described.
        kilobytes: of constants, 1,000 bytes each.
        accuracy: on the test images, in percent.
        million_cycles: of one image.
    """

    name: str
    kilobytes: float
    accuracy: float
    million_cycles: float


DEVICES = (
    PublishedDevice("[BitNetMCU](https://github.com/cpldcpu/BitNetMCU), 4 bits", 12.6, 99.02, 0.53),
    PublishedDevice("[BitNetMCU](https://github.com/cpldcpu/BitNetMCU), 2 bits", 1.1, 94.22, 0.10),
    PublishedDevice("[BakeNN](https://github.com/scienthoon/bakeNN), convolutional", 4.5, 97.02, 3.2),
)
