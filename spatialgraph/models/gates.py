"""Gates: what the reset and update gates of a recurrent layer have of their own."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from spatialgraph.devices import draw
from spatialgraph.functional.polarity import polarity_of
from spatialgraph.models.stages import check_count

__all__ = ["GATES", "Gates"]

GATES = ("reset", "update")

# The update gates of neurons start half closed, so that a neuron keeps most of its state for a few steps.
_UPDATE_BIAS = 1.0


class Gates(nn.Module):
    """The gates of a layer: further targets at the positions of its neurons, with polarities and biases of their own.

    Args:
        n_sources: number of neurons of earlier layers that send to the layer.
        n_neurons: number of neurons of the layer n.
        like: tensor whose dtype and device the parameters have.
        generator: random number generator for the polarities; None for PyTorch's default.

    Example:
        >>> sum(p.numel() for p in Gates(28, 100, torch.zeros(1)).parameters())
        456
    """

    parameter_kinds: ClassVar[dict[str, str]] = {
        "raw_input_polarity": "polarities",
        "raw_recurrent_polarity": "polarities",
        "raw_bias": "biases",
    }

    def __init__(self, n_sources: int, n_neurons: int, like: Tensor, generator: torch.Generator | None = None) -> None:
        super().__init__()
        count = len(GATES)
        self.raw_input_polarity = nn.Parameter(like.new_empty(count, n_sources))
        self.raw_recurrent_polarity = nn.Parameter(like.new_empty(count, n_neurons))
        self.raw_bias = nn.Parameter(like.new_empty(count, n_neurons))
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw polarities from N(0, 1); biases are 0 for reset gates and 1 for update gates."""
        for raw in (self.raw_input_polarity, self.raw_recurrent_polarity):
            raw.copy_(draw(torch.randn, raw.shape, generator=generator, dtype=raw.dtype))
        self.raw_bias[0].zero_()
        self.raw_bias[1].fill_(_UPDATE_BIAS)

    def polarities(self, polarity_mode: str) -> tuple[Tensor, Tensor]:
        """Return the polarities of the earlier neurons ``(2, n_sources)`` and of the layer's neurons ``(2, n)``."""
        raw = self.raw_input_polarity, self.raw_recurrent_polarity
        return polarity_of(raw[0], polarity_mode), polarity_of(raw[1], polarity_mode)

    def check(self, n_sources: int, n_neurons: int) -> None:
        """Raise ``ValueError`` if neurons have been added or removed since the gates were made."""
        check_count("neurons in a gated layer", self.raw_recurrent_polarity.shape[1], n_neurons)
        check_count("neurons that send to a gated layer", self.raw_input_polarity.shape[1], n_sources)

    def extra_repr(self) -> str:
        """Return the settings shown by ``repr``."""
        return f"n_sources={self.raw_input_polarity.shape[1]}, n_neurons={self.raw_recurrent_polarity.shape[1]}"
