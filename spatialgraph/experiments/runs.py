"""A run: the training of one model with one seed."""

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spatialgraph import checks, training
from spatialgraph.experiments import records
from spatialgraph.experiments.candidate import Candidate
from spatialgraph.training.precision import PRECISIONS

__all__ = ["Run", "check_folders", "folder_name", "runs_of"]


@dataclasses.dataclass(frozen=True)
class Run:
    """The training of one model with one seed.

    Args:
        candidate: the model.
        recipe: the schedule.
        seed: seed of the initial values, of the order of the images and of all other random numbers.
        validate: whether the model is evaluated on held-out training images, not on the test images.
        patience: with ``validate``, stop after so many epochs without a better accuracy; None never stops early.
        penalty: factors of penalties of spatial networks that are added to the loss, as for
            :func:`~spatialgraph.training.fit`.
        settings: what else decides how the training comes out, as JSON values. A run is continued with the same
            settings only.
        augment: distorts the images that the model is trained on, as for :func:`~spatialgraph.training.fit`; None for
            the images themselves.
        loss: returns the loss, such as a :class:`~spatialgraph.training.Distillation`; called by the process that
            trains. None for the cross-entropy. ``settings`` should say what it is.
        precision: that of the training, as for :func:`~spatialgraph.training.fit`.

    Raises:
        TypeError: if an argument is of the wrong type, or a setting no JSON value.
        ValueError: if ``precision`` is unknown, ``seed`` or ``patience`` is negative, ``patience`` is given without
            ``validate``, or a setting has a name that is taken.

    Example:
        >>> from torch import nn
        >>> run = Run(Candidate("linear", lambda: nn.Linear(784, 10)), training.Recipe(epochs=5), seed=1)
        >>> run.name, run.folder("runs").as_posix()
        ('linear, seed 1', 'runs/linear/seed-1')
    """

    candidate: Candidate
    recipe: training.Recipe = dataclasses.field(default_factory=training.Recipe)
    seed: int = 0
    validate: bool = False
    patience: int | None = None
    penalty: Mapping[str, float] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    augment: training.Augment | None = None
    loss: Callable[[], training.Loss] | None = None
    precision: str = PRECISIONS[0]

    def __post_init__(self) -> None:
        """Check the fields, and bring numbers and settings to plain types."""
        if not isinstance(self.candidate, Candidate):
            raise TypeError(f"candidate must be a Candidate, got {type(self.candidate).__name__}")
        if not isinstance(self.recipe, training.Recipe):
            raise TypeError(f"recipe must be a Recipe, got {type(self.recipe).__name__}")
        object.__setattr__(self, "seed", checks.integer("seed", self.seed, minimum=0))
        object.__setattr__(self, "validate", checks.flag("validate", self.validate))
        if self.patience is not None:
            object.__setattr__(self, "patience", checks.integer("patience", self.patience, minimum=0))
            if not self.validate:
                raise ValueError(f"patience needs validate=True, got patience={self.patience} without")
        penalty = {name: checks.number(f"penalty[{name!r}]", factor) for name, factor in dict(self.penalty).items()}
        object.__setattr__(self, "penalty", penalty)
        checks.choice("precision", self.precision, PRECISIONS)
        own = {"validate", "patience", "penalty", "augment", "precision", "data"}
        taken = {*dataclasses.asdict(self.recipe), *own, *records.RESERVED}
        for name in sorted(taken & set(self.settings)):
            raise ValueError(f"settings must have other names than those of a run, got {name!r}")
        try:
            object.__setattr__(self, "settings", json.loads(json.dumps(dict(self.settings))))
        except (TypeError, ValueError) as error:
            raise TypeError(f"settings must hold JSON values, got {dict(self.settings)!r} ({error})") from None

    @property
    def name(self) -> str:
        """The name of the model, and the seed."""
        return f"{self.candidate.name}, seed {self.seed}"

    def folder(self, base: str | Path) -> Path:
        """Return the folder of this run below that of the experiment."""
        return Path(base) / folder_name(self.candidate.name) / f"seed-{self.seed}"

    def all_settings(self, data: training.Mnist) -> dict[str, Any]:
        """Return everything besides model and seed that decides how the training comes out."""
        return self._settings() | {"data": data.source}

    def is_in(self, base: str | Path) -> bool:
        """Tell whether the folder of this run holds a training with its settings, of whichever data."""
        found = records.settings_of(self.folder(base))
        return {name: value for name, value in found.items() if name != "data"} == self._settings()

    def _settings(self) -> dict[str, Any]:
        own: dict[str, Any] = {"validate": self.validate, "patience": self.patience, "penalty": dict(self.penalty)}
        if self.augment is not None:
            own["augment"] = json.loads(json.dumps(_described(self.augment)))
        if self.precision != PRECISIONS[0]:
            own["precision"] = self.precision
        return dataclasses.asdict(self.recipe) | own | dict(self.settings)


def _described(augment: training.Augment) -> Any:  # noqa: ANN401 - JSON
    settings = getattr(augment, "settings", None)
    return repr(augment) if settings is None else {"name": type(augment).__name__} | settings()


def runs_of(
    candidates: Iterable[Candidate],
    recipe: training.Recipe,
    seeds: Iterable[int] = (0,),
    **options: Any,  # noqa: ANN401 - those of Run
) -> list[Run]:
    """Return a run of each model with each seed.

    Args:
        candidates: the models.
        recipe: the schedule of all of them.
        seeds: the seeds.
        **options: ``validate``, ``patience``, ``penalty``, ``settings``, ``augment``, ``loss`` and ``precision`` as
            in :class:`Run`.

    Example:
        >>> from torch import nn
        >>> models = [Candidate(name, lambda: nn.Linear(784, 10)) for name in "ab"]
        >>> [run.name for run in runs_of(models, training.Recipe(), seeds=range(2))]
        ['a, seed 0', 'a, seed 1', 'b, seed 0', 'b, seed 1']
    """
    seeds = list(seeds)
    return [Run(candidate, recipe, seed, **options) for candidate in candidates for seed in seeds]


def folder_name(name: str) -> str:
    """Return a name of letters, digits, dots, dashes and underscores.

    Example:
        >>> folder_name("spatial 784-100-10, d=2, knn:32, 10 % in training")
        'spatial_784-100-10_d2_knn_32_10_in_training'
    """
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name.replace("=", "")).strip("_.")


def check_folders(runs: Sequence[Run]) -> None:
    """Check that no two runs have the same folder.

    Raises:
        ValueError: if two have.

    Example:
        >>> from torch import nn
        >>> check_folders(runs_of([Candidate("a b", nn.Identity), Candidate("a, b", nn.Identity)], training.Recipe()))
        Traceback (most recent call last):
            ...
        ValueError: runs must have different folders, got 'a b, seed 0' and 'a, b, seed 0' for a_b/seed-0
    """
    names: dict[str, str] = {}
    for run in runs:
        place = run.folder("").as_posix()
        key = place.casefold()  # some disks do not tell upper case from lower
        if key in names:
            raise ValueError(f"runs must have different folders, got {names[key]!r} and {run.name!r} for {place}")
        names[key] = run.name
