"""Free synapses: the learnable numbers that a synapse may have of its own, a weight and a delay."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from spatialgraph.devices import draw

__all__ = ["FreeSynapses", "carry_over_"]


class FreeSynapses(nn.Module):
    """Learnable numbers that belong to single edges, in the order of ``edge_index``.

    Args:
        edge_index: the edges, shape ``(2, E)``.
        lengths: their lengths, shape ``(E,)``, in length units.
        has_weight: whether edges have a free weight.
        is_factor: whether this weight multiplies that of the law, and starts at 1.
        velocity: length units that a spike travels in a time step, where edges have a free delay; None for none.
        generator: source of random numbers.

    Example:
        >>> edges, lengths = torch.tensor([[0, 1], [2, 2]]), torch.tensor([1.0, 2.0])
        >>> FreeSynapses(edges, lengths, has_weight=False, is_factor=False, velocity=2.0).delay.tolist()
        [0.5, 1.0]
    """

    parameter_kinds: ClassVar[dict[str, str]] = {"weight": "free_weights", "delay": "free_delays"}

    weight: nn.Parameter | None
    delay: nn.Parameter | None

    def __init__(
        self,
        edge_index: Tensor,
        lengths: Tensor,
        has_weight: bool,
        is_factor: bool,
        velocity: float | None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.is_factor = is_factor
        self.register_parameter("weight", nn.Parameter(torch.empty_like(lengths)) if has_weight else None)
        self.register_parameter("delay", None if velocity is None else nn.Parameter(torch.empty_like(lengths)))
        self.reset(edge_index, lengths, velocity, generator)

    @torch.no_grad()
    def reset(
        self, edge_index: Tensor, lengths: Tensor, velocity: float | None, generator: torch.Generator | None = None
    ) -> None:
        r"""Give every edge its first values; the parameters stay the same objects.

        Free weights are drawn from :math:`U(-1/\sqrt{n_j}, 1/\sqrt{n_j})`, where :math:`n_j` is the number of edges
        into the target, as in ``nn.Linear``; factors start at 1. Free delays start as those of the lengths.
        """
        if self.weight is not None:
            _write(self.weight, self._first_weights(edge_index, lengths, generator))
        if self.delay is not None and velocity is not None:
            _write(self.delay, lengths / velocity)

    @torch.no_grad()
    def follow(
        self,
        before: Tensor,
        after: Tensor,
        lengths: Tensor,
        velocity: float | None,
        generator: torch.Generator | None,
    ) -> None:
        """Keep the values of edges that stay when edges change, and give new edges their first values."""
        kept = {name: values.detach().clone() for name, values in self.named_parameters()}
        self.reset(after, lengths, velocity, generator)
        for name, values in kept.items():
            self.restore(name, values, before, after)

    @torch.no_grad()
    def restore(self, name: str, values: Tensor, theirs: Tensor, own: Tensor) -> None:
        """Adopt ``"weight"`` or ``"delay"`` of those edges that are in another list, of values in its order."""
        carry_over_(getattr(self, name), values, theirs, own)

    def make_room(self, synapses: int) -> None:
        """Let the parameters have as many elements as there are synapses; they stay the same objects."""
        for parameter in self.parameters():
            if len(parameter) != synapses:
                parameter.grad = None
                parameter.data = parameter.new_empty(synapses)

    def _first_weights(self, edge_index: Tensor, like: Tensor, generator: torch.Generator | None) -> Tensor:
        if self.is_factor:
            return torch.ones_like(like)
        fan_in = torch.bincount(edge_index[1])[edge_index[1]].to(like)
        drawn = draw(torch.rand, like.shape, generator=generator, device=like.device, dtype=like.dtype)
        return (2 * drawn - 1) / fan_in.sqrt()


def carry_over_(own_values: Tensor, values: Tensor, theirs: Tensor, own: Tensor) -> None:
    """Write the values of another list's edges to the same edges of this list, in place; others stay as they are.

    Args:
        own_values: written to, shape ``(E,)``.
        values: values of the other edges, shape ``(F,)``.
        theirs: the other edges, shape ``(2, F)``.
        own: the edges of this list, shape ``(2, E)``.

    Example:
        >>> own_values = torch.zeros(2)
        >>> carry_over_(own_values, torch.tensor([5.0]), torch.tensor([[1], [2]]), torch.tensor([[0, 1], [2, 2]]))
        >>> own_values
        tensor([0., 5.])
    """
    if theirs.numel() == 0 or own.numel() == 0:
        return
    count = int(max(theirs.max(), own.max())) + 1
    keys, order = torch.sort(theirs[0] * count + theirs[1])
    wanted = own[0] * count + own[1]
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    found = keys[place] == wanted
    own_values[found] = values.to(own_values)[order[place[found]]]


def _write(parameter: nn.Parameter, values: Tensor) -> None:
    """Write into a parameter, which stays the same object, so that an optimiser goes on with it."""
    if parameter.shape == values.shape:
        parameter.copy_(values)
    else:
        parameter.grad, parameter.data = None, values.to(parameter)
