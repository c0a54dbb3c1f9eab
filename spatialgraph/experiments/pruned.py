"""Pruning in experiments: a trained network without its smallest weights, and networks that train without them."""

import copy
import dataclasses
from collections.abc import Iterable

from torch import nn

from spatialgraph import training
from spatialgraph.experiments.candidate import Candidate
from spatialgraph.graph.network import graph_or_none
from spatialgraph.pruning.linear import PruneLinearWhileTraining, prune_linear_
from spatialgraph.pruning.removal import prune_
from spatialgraph.pruning.while_training import PruneWhileTraining

__all__ = ["accuracies_after_pruning", "pruned_in_training"]


def accuracies_after_pruning(model: nn.Module, judged: training.Images, percents: Iterable[int]) -> dict[str, float]:
    """Return the accuracies of a trained network, spatial or dense, without the smallest weights of each layer.

    Args:
        model: the network, which does not change.
        judged: images and labels.
        percents: shares of the synapses that are removed, in percent.

    Returns:
        The accuracy, from 0 to 1, by the percentage as text.
    """
    accuracies = {}
    for percent in percents:
        pruned = copy.deepcopy(model)
        graph = graph_or_none(pruned)
        if graph is None:
            prune_linear_(pruned, percent / 100)
        else:
            prune_(graph, percent / 100, by="weight")
        accuracies[str(percent)] = training.accuracy(pruned, judged)
    return accuracies


def pruned_in_training(candidate: Candidate, percent: int) -> Candidate:
    """Return a network, spatial or dense, that is trained with the smallest weights masked in every pass.

    Args:
        candidate: the network.
        percent: share of the synapses of each layer that are masked, in percent.

    Returns:
        The network under another name, without further metrics. The masked weights are gone after the training.

    Example:
        >>> pruned_in_training(Candidate("net", lambda: nn.Linear(4, 2)), 80).name
        'net, 80 % in training'
    """
    masked = _Masked(candidate, percent / 100)
    return dataclasses.replace(
        candidate,
        name=f"{candidate.name}, {percent} % in training",
        build=masked.build,
        finish=masked.finish,
        examine=Candidate.examine,
    )


class _Masked:
    """Builds a network with masks, and removes the masked weights for good."""

    def __init__(self, candidate: Candidate, amount: float) -> None:
        self._candidate, self._amount = candidate, amount
        self._pruner: PruneWhileTraining | PruneLinearWhileTraining | None = None

    def build(self) -> nn.Module:
        model = self._candidate.build()
        graph = graph_or_none(model)
        if graph is None:
            self._pruner = PruneLinearWhileTraining(self._amount).attach(model)
        else:
            self._pruner = PruneWhileTraining(self._amount).attach(graph)
        return model

    def finish(self) -> None:
        if self._pruner is not None:
            self._pruner.remove()
