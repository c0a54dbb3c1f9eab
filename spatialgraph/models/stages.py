"""Stages: what networks compute projection by projection, perceptrons and spiking ones alike."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "DenseStage",
    "Normalize",
    "Respond",
    "Send",
    "Stage",
    "check_count",
    "check_normalized",
    "is_chain",
    "output_order",
    "run_stages",
]


class Stage(Protocol):
    """What a network needs to know of a stage; the projections of a graph are such stages.

    Activations are kept in blocks: block 0 is the input, block ``g + 1`` the targets of stage ``g``, hidden neurons
    before outputs.
    """

    @property
    def blocks(self) -> tuple[int, ...]:
        """Numbers of the blocks that it receives from."""

    @property
    def hidden(self) -> int:
        """Number of hidden neurons among its targets."""

    @property
    def n_targets(self) -> int:
        """Number of its targets."""


@dataclasses.dataclass(frozen=True)
class DenseStage:
    """A stage of a dense network."""

    blocks: tuple[int, ...]
    hidden: int
    n_targets: int

    @classmethod
    def of(cls, widths: Sequence[int]) -> "tuple[DenseStage, ...]":
        """Return the stages of layers of these sizes, inputs first.

        Example:
            >>> DenseStage.of([3, 2])
            (DenseStage(blocks=(0,), hidden=0, n_targets=2),)
        """
        last = len(widths) - 1
        return tuple(cls((number - 1,), n if number < last else 0, n) for number, n in enumerate(widths[1:], start=1))


Send = Callable[[int, Tensor, Tensor | None, bool], Tensor]
"""From a stage's number, what its sources send, its bias and whether to rectify to the inputs of its targets."""

Normalize = Callable[[int, Tensor, Tensor], Tensor]
"""From a stage's number, the inputs of its hidden neurons and their biases to what ``respond`` takes."""

Respond = Callable[[int, Tensor | None, Tensor | None], Tensor]
"""From a stage's number, the inputs of its hidden neurons and of its outputs, None for no neuron, to its block."""


def run_stages(
    x: Tensor,
    stages: Sequence[Stage],
    biases: Sequence[Tensor],
    send: Send,
    respond: Respond,
    normalize: Normalize | None = None,
    rectify: bool = False,
) -> list[Tensor]:
    """Compute stage by stage: send, normalise, add the bias, respond. Outputs are not normalised.

    Args:
        x: what the inputs send, shape ``(..., inputs)``.
        stages: the stages in the order of computation.
        biases: the biases of each stage's targets, shape ``(m,)``.
        send: carries activations through a stage.
        respond: turns the inputs of a stage's targets into what these send.
        normalize: normalises the inputs of hidden neurons, adds their biases and, in a rectified network, rectifies;
            it may leave all this to ``respond``. None for no normalisation.
        rectify: whether negative inputs of hidden neurons become 0 before ``respond``.

    Returns:
        The blocks.
    """
    blocks = [x]
    for number, (stage, bias) in enumerate(zip(stages, biases, strict=True)):
        first, *others = stage.blocks
        sent = _side_by_side([blocks[block] for block in stage.blocks]) if others else blocks[first]
        blocks.append(respond(number, *_inputs(number, stage, sent, bias, send, normalize, rectify)))
    return blocks


def _inputs(
    number: int,
    stage: Stage,
    sent: Tensor,
    bias: Tensor,
    send: Send,
    normalize: Normalize | None,
    rectify: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Return the inputs of a stage's hidden neurons and of its outputs."""
    hidden = stage.hidden
    if hidden == 0:
        return None, send(number, sent, bias, False)
    if hidden == 1 and normalize is not None:  # neurons may have been removed since the network was made
        check_normalized([stage])
    if hidden == stage.n_targets:  # a slice of everything would cost its backward pass a copy
        if normalize is None:
            return send(number, sent, bias, rectify), None
        return normalize(number, send(number, sent, None, False), bias), None
    if normalize is None:
        total = send(number, sent, bias, False)
        inner = total[..., :hidden]
        return F.relu(inner) if rectify else inner, total[..., hidden:]
    total = send(number, sent, None, False)
    return normalize(number, total[..., :hidden], bias[:hidden]), total[..., hidden:] + bias[hidden:]


def _side_by_side(blocks: list[Tensor]) -> Tensor:
    """Join blocks; one that is constant over time is drawn out if another is not."""
    lead = torch.broadcast_shapes(*(block.shape[:-1] for block in blocks))
    return torch.cat([block.expand(*lead, block.shape[-1]) for block in blocks], dim=-1)


def check_normalized(stages: Sequence[Stage]) -> None:
    """Raise ``ValueError`` for a stage with a single hidden neuron, whose normalised input is always 0.

    Example:
        >>> check_normalized(DenseStage.of([4, 1, 2]))
        Traceback (most recent call last):
        ValueError: normalize must be False where a stage has a single hidden neuron, got True
    """
    if any(stage.hidden == 1 for stage in stages):
        raise ValueError("normalize must be False where a stage has a single hidden neuron, got True")


def check_count(what: str, made: int, now: int) -> None:
    """Raise ``ValueError`` if neurons have been added or removed since a model was made.

    Args:
        what: which neurons.
        made: how many there were when the model was made.
        now: how many there are.

    Example:
        >>> check_count("neurons in a layer", 6, 5)
        Traceback (most recent call last):
        ValueError: graph must have 6 neurons in a layer, as when the model was made, got 5: make a new model of it
    """
    if made != now:
        raise ValueError(
            f"graph must have {made} {what}, as when the model was made, got {now}: make a new model of it"
        )


def is_chain(stages: Sequence[Stage]) -> bool:
    """Tell whether all outputs, and they alone, are computed by the last stage."""
    return stages[-1].hidden == 0 and all([stage.hidden == stage.n_targets for stage in stages[:-1]])


def output_order(targets: Sequence[tuple[int, Tensor]]) -> Tensor | None:
    """Return how outputs, taken stage by stage, are to be ordered by their numbers; None if they are.

    Args:
        targets: for each stage the number of hidden neurons, and the numbers of all targets.

    Example:
        >>> output_order([(0, torch.tensor([5])), (1, torch.tensor([3, 4]))])
        tensor([1, 0])
    """
    if all([hidden == numbers.numel() for hidden, numbers in targets[:-1]]):
        return None
    return torch.argsort(torch.cat([numbers[hidden:] for hidden, numbers in targets]))
