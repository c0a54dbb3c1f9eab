"""Distillation: training of a student by the outputs of a teacher."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph import checks
from spatialgraph.training.as_found import device_of, evaluating
from spatialgraph.training.recipes import Recipe
from spatialgraph.training.samples import Images, check_model_type, checked, checksum, count_outputs
from spatialgraph.training.trainer import fit

__all__ = ["Distillation", "distil"]


@dataclasses.dataclass(frozen=True)
class Distillation:
    r"""The loss of a student that learns from a teacher and from classes; see :func:`distil`.

    Args:
        teacher: the teacher, which answers in ``eval()``; it is moved to the device of the samples.
        temperature: temperature :math:`T`.
        teacher_share: share :math:`\alpha` of the teacher.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if the temperature is not above 0, or the share not between 0 and 1.

    Example:
        >>> logits = torch.tensor([[1.0, 0.0]])
        >>> float(Distillation(nn.Identity(), teacher_share=1.0)(logits, logits, torch.tensor([1])))
        0.0
    """

    teacher: nn.Module
    temperature: float = 2.0
    teacher_share: float = 0.9

    def __post_init__(self) -> None:
        """Check the fields."""
        check_model_type("teacher", self.teacher)
        object.__setattr__(self, "temperature", checks.positive("temperature", self.temperature))
        object.__setattr__(self, "teacher_share", checks.between("teacher_share", self.teacher_share, 0.0, 1.0))

    def __call__(self, samples: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a batch.

        Args:
            samples: the samples.
            logits: the student's answers, shape ``(batch, classes)``.
            labels: the classes, shape ``(batch,)``.

        Raises:
            ValueError: if the teacher has another number of outputs.
        """
        with torch.no_grad(), evaluating(self.teacher):
            taught = self.teacher.to(samples.device)(samples).detach().to(logits.dtype)  # it may be a parameter
        if taught.shape != logits.shape:
            raise ValueError(f"teacher must answer with shape {tuple(logits.shape)}, got {tuple(taught.shape)}")
        student, teacher = (F.log_softmax(each / self.temperature, dim=1) for each in (logits, taught))
        divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        share = self.teacher_share
        return share * self.temperature**2 * divergence + (1.0 - share) * F.cross_entropy(logits, labels)

    def settings(self) -> dict[str, Any]:
        """Return what a training must have in common with the one that it resumes."""
        values = [*self.teacher.parameters(), *self.teacher.buffers()]
        return {
            "temperature": self.temperature,
            "teacher_share": self.teacher_share,
            "teacher": f"sha256 {checksum(values)}",
        }


def distil(
    student: nn.Module,
    teacher: nn.Module,
    train: Images,
    recipe: Recipe,
    folder: str | Path,
    *,
    temperature: float = 2.0,
    teacher_share: float = 0.9,
    **options: Any,  # noqa: ANN401 - passed on to fit
) -> list[dict[str, float]]:
    r"""Train a model in place to answer as a teacher does, and return its history.

    The loss is that of `Distilling the Knowledge in a Neural Network <https://arxiv.org/abs/1503.02531>`_ (Hinton et
    al., 2015), of the logits :math:`z` of the student and :math:`v` of the teacher:

    .. math:: \alpha\, T^2\, \mathrm{KL}\big(\mathrm{softmax}(v / T)\,\|\,\mathrm{softmax}(z / T)\big)
        + (1 - \alpha)\, H(y, \mathrm{softmax}(z))

    with the cross-entropy :math:`H` of the classes :math:`y`. Otherwise it is :func:`fit`, with its checkpoints, resume
    and early stop. The teacher answers in ``eval()`` and without gradients; it is not changed, and its device and modes
    are restored.

    Args:
        student: the model that is trained, from ``(batch, features)`` to ``(batch, classes)``.
        teacher: any module that takes the same samples and has as many outputs.
        train: as in :func:`fit`.
        recipe: as in :func:`fit`.
        folder: as in :func:`fit`.
        temperature: temperature :math:`T`, above 0. A higher one weighs the classes that the teacher holds unlikely
            more.
        teacher_share: share :math:`\alpha` of the teacher in the loss, from 0 to 1. With 1 the classes are not used.
        **options: ``seed``, ``validation``, ``patience``, ``penalty``, ``augment``, ``callbacks``, ``device``,
            ``precision``, ``cuda_graph``, ``strategy``, ``resume``, ``progress`` as in :func:`fit`. To resume, teacher,
            temperature and share must be the same.

    Returns:
        The rows of :func:`fit`: ``train_loss`` is the loss above, ``validation_loss`` the cross-entropy.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if teacher and student share parameters or differ in the number of outputs, the teacher does not
            take the samples, an argument is out of range, or as in :func:`fit`.

    Example:
        >>> import tempfile
        >>> images = torch.randn(20, 3), torch.arange(20) % 2
        >>> student, teacher = nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> rows = distil(student, teacher, images, Recipe(epochs=2), Path(tempfile.mkdtemp()), progress=False)
        >>> [row["epoch"] for row in rows]
        [1, 2]
    """
    loss = Distillation(teacher, temperature, teacher_share)
    check_model_type("student", student)
    if not {id(each) for each in teacher.parameters()}.isdisjoint(id(each) for each in student.parameters()):
        raise ValueError("teacher must share no parameters with the student, which training would change")
    samples, _ = checked("train", train, student)
    own, taught = (count_outputs("train[0]", samples[:1], model) for model in (student, teacher))
    if own != taught:
        raise ValueError(f"teacher must have as many outputs as the student ({own}), got {taught}")
    with _answering(teacher):
        return fit(student, train, recipe, folder, loss=loss, **options)


@contextlib.contextmanager
def _answering(teacher: nn.Module) -> Iterator[None]:
    """Put a teacher into ``eval()``; restore its modes and its device."""
    device = device_of(teacher)
    try:
        with evaluating(teacher):
            yield
    finally:
        if device_of(teacher) != device:
            teacher.to(device)
