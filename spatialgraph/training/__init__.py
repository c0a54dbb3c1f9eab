"""What the examples share: data in memory, recipes, training with checkpoints. Takes any ``nn.Module``."""

from spatialgraph.training.fit import Images, accuracy, fit
from spatialgraph.training.mnist import Mnist, load_mnist, validation_split
from spatialgraph.training.recipes import RECIPES, Recipe

__all__ = ["RECIPES", "Images", "Mnist", "Recipe", "accuracy", "fit", "load_mnist", "validation_split"]
