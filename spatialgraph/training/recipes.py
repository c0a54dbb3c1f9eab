"""Recipes: hyperparameters of training."""

import dataclasses

from spatialgraph import checks

__all__ = ["RECIPES", "Recipe"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Hyperparameters of training with Adam.

    Args:
        epochs: number of passes over the training images.
        learning_rate: the constant learning rate, or the peak of the one-cycle schedule.
        schedule: ``"constant"`` or ``"one_cycle"`` (increasing for a tenth of the steps, then a cosine down to 0; Smith
            and Topin, 2017, https://arxiv.org/abs/1708.07120).
        batch_size: images in a step, over all processes.
        rates: learning rates of parameters whose name contains a word, instead of ``learning_rate``, such as
            ``{"positions": 0.005}``.

    Raises:
        TypeError: if ``epochs`` or ``batch_size`` is not an int, or a learning rate is not a number.
        ValueError: if a number is not positive and finite, or ``schedule`` is unknown.

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
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), minimum=1))
        object.__setattr__(self, "learning_rate", checks.positive("learning_rate", self.learning_rate))
        rates = {word: checks.positive(f"rates[{word!r}]", rate) for word, rate in dict(self.rates).items()}
        object.__setattr__(self, "rates", rates)
        checks.choice("schedule", self.schedule, ("constant", "one_cycle"))


RECIPES: dict[str, Recipe] = {
    "fast": Recipe(),
    "fast_spiking": Recipe(learning_rate=0.03, batch_size=100),
    # Erb et al., 2025, section 3.
    "paper": Recipe(epochs=300, learning_rate=0.005, schedule="constant"),
    "paper_spiking": Recipe(epochs=200, learning_rate=0.005, schedule="constant"),
}
