"""Training of any ``nn.Module`` with Lightning: recipes, checkpoints, reports and data sets."""

try:
    import lightning as _  # noqa: F401 - asked for here, so that the error can say what to install
except ModuleNotFoundError as error:
    if error.name != "lightning":  # installed, but one of its dependencies is not
        raise
    raise ImportError('training needs Lightning; install it with: pip install "spatialgraph[train]"') from error

from spatialgraph.datasets import Mnist, load_mnist, validation_split, yin_yang
from spatialgraph.training.augmentation import Augment, RandomAffine
from spatialgraph.training.callbacks import EverySteps, GradualPruning, Pruner
from spatialgraph.training.distillation import Distillation, distil
from spatialgraph.training.evaluation import accuracy
from spatialgraph.training.folder import claim
from spatialgraph.training.recipes import RECIPES, Recipe
from spatialgraph.training.recording import RecordPositions
from spatialgraph.training.report import Result, environment, markdown, table, write_results
from spatialgraph.training.rewiring import Rewire
from spatialgraph.training.samples import Images
from spatialgraph.training.task import Loss
from spatialgraph.training.trainer import fit, is_distributed, is_main_process

__all__ = [
    "RECIPES",
    "Augment",
    "Distillation",
    "EverySteps",
    "GradualPruning",
    "Images",
    "Loss",
    "Mnist",
    "Pruner",
    "Recipe",
    "RandomAffine",
    "RecordPositions",
    "Result",
    "Rewire",
    "accuracy",
    "claim",
    "distil",
    "environment",
    "fit",
    "is_distributed",
    "is_main_process",
    "load_mnist",
    "markdown",
    "table",
    "validation_split",
    "write_results",
    "yin_yang",
]
