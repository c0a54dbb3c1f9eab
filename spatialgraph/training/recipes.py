"""Recipes: how long and how fast to train."""

import dataclasses

__all__ = ["RECIPES", "Recipe"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A schedule of training with Adam.

    Args:
        epochs: number of passes over the training images.
        learning_rate: the constant learning rate, or the peak of the one-cycle schedule.
        schedule: ``"constant"`` or ``"one_cycle"`` (a tenth of the steps upwards, then a cosine down to 0; Smith and
            Topin, 2017, https://arxiv.org/abs/1708.07120).
        batch_size: images in a step, over all processes.
        rates: learning rates of those parameters whose name contains a word, in place of ``learning_rate``, such as
            ``{"positions": 0.005}``.

    Raises:
        TypeError: if a count is not an int.
        ValueError: if a number is not positive or the schedule is unknown.

    Example:
        >>> RECIPES["paper"]
        Recipe(epochs=300, learning_rate=0.005, schedule='constant', batch_size=600, rates={})
    """

    epochs: int = 20
    learning_rate: float = 0.05
    schedule: str = "one_cycle"
    batch_size: int = 600
    rates: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("epochs", "batch_size"):
            if not isinstance(getattr(self, name), int):
                raise TypeError(f"{name} must be an int, got {type(getattr(self, name)).__name__}")
        for name in ("epochs", "learning_rate", "batch_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for word, rate in self.rates.items():
            if not rate > 0:
                raise ValueError(f"rates must be above 0, got {rate} for {word!r}")
        if self.schedule not in ("constant", "one_cycle"):
            raise ValueError(f"schedule must be 'constant' or 'one_cycle', got {self.schedule!r}")


RECIPES: dict[str, Recipe] = {
    "fast": Recipe(),
    "fast_spiking": Recipe(learning_rate=0.03, batch_size=100),
    # Erb et al., 2025, section 3.
    "paper": Recipe(epochs=300, learning_rate=0.005, schedule="constant"),
    "paper_spiking": Recipe(epochs=200, learning_rate=0.005, schedule="constant"),
}
