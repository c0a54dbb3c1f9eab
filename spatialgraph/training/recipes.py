"""Recipes: hyperparameters of training."""

import dataclasses
import math
import numbers
import operator

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
            value = getattr(self, name)
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise TypeError(f"{name} must be an int, got {type(value).__name__}")
            if value < 1:
                raise ValueError(f"{name} must be above 0, got {value}")
            object.__setattr__(self, name, operator.index(value))  # accepts NumPy's integers
        object.__setattr__(self, "learning_rate", _rate("learning_rate", self.learning_rate))
        object.__setattr__(
            self, "rates", {word: _rate(f"rates[{word!r}]", rate) for word, rate in dict(self.rates).items()}
        )
        if self.schedule not in ("constant", "one_cycle"):
            raise ValueError(f"schedule must be 'constant' or 'one_cycle', got {self.schedule!r}")


def _rate(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value}")
    if math.isinf(value):
        raise ValueError(f"{name} must be finite, got {value}")
    return float(value)


RECIPES: dict[str, Recipe] = {
    "fast": Recipe(),
    "fast_spiking": Recipe(learning_rate=0.03, batch_size=100),
    # Erb et al., 2025, section 3.
    "paper": Recipe(epochs=300, learning_rate=0.005, schedule="constant"),
    "paper_spiking": Recipe(epochs=200, learning_rate=0.005, schedule="constant"),
}
