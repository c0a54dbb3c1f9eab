"""Rewiring: during training, the wirings of a network select its edges again."""

from typing import Any

import lightning
import torch

from spatialgraph.graph.changes import rewirable, shared_synapses
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.training.callbacks import AtSteps

__all__ = ["Rewire"]


class Rewire(AtSteps):
    """Select the edges of a sparse network again, as its neurons move, after every ``every`` optimiser steps.

    All spatial networks of the trained model are rewired by :meth:`SpatialGraph.rewire_
    <spatialgraph.SpatialGraph.rewire_>`, recurrent synapses included. Networks of listed edges, and layers that are
    all-to-all, stay as they are. The far synapses of a small world are drawn with the same random numbers each time, so
    that they change only where lengths have.

    Synapses that stay keep their free weights and delays, and the state that the optimiser has of these; free weights
    of new ones are drawn with other random numbers each time. A resumed training ends at the same bits as an
    uninterrupted one. With several processes, the network of the first is copied to all.

    The history of :func:`fit` gets the columns ``synapses_added`` and ``synapses_removed``, the sums over each epoch.

    Args:
        every: number of optimiser steps between two selections.
        until: share of the training after which edges stay; with 1 they are not selected after the last step.

    Attributes:
        changes: for each selection a dictionary of ``step``, ``added``, ``removed`` and ``synapses``, their number
            afterwards; summed over networks.

    Raises:
        TypeError: if ``every`` is not an int or ``until`` not a number.
        ValueError: if ``every`` is not above 0 or ``until`` not between 0 and 1; when the training starts, if no wiring
            depends on positions, or one is a :class:`~spatialgraph.wiring.Random`, which would draw all edges anew; in
            training, if no path from an input would lead to an output any more.

    Warns:
        UserWarning: if the training is too short for a single selection.

    Example:
        >>> import tempfile
        >>> import spatialgraph as sg
        >>> from spatialgraph.training import Recipe, fit
        >>> model = sg.SpatialMLP([6, 12, 3], wiring=sg.wiring.KNN(k=3))
        >>> images = torch.randn(40, 6), torch.arange(40) % 3
        >>> rewire = Rewire(every=3)
        >>> rows = fit(model, images, Recipe(2, batch_size=10), tempfile.mkdtemp(), callbacks=[rewire], progress=False)
        >>> [change["step"] for change in rewire.changes], rewire.changes[0]["synapses"]
        ([3, 6], 45)
    """

    def __init__(self, every: int, until: float = 1.0) -> None:
        super().__init__(every, until)
        self.changes: list[dict[str, int]] = []
        self._before_epoch = 0
        self._graphs: list[SpatialGraph] = []

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Forget the changes of an earlier training; those of a resumed one are loaded afterwards."""
        self.changes = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Find the networks."""
        super().on_train_start(trainer, pl_module)
        self._graphs = rewirable(pl_module)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Remember which changes belong to earlier epochs."""
        self._before_epoch = len(self.changes)

    def act(self, step: int) -> None:
        """Select the edges again, and count what changed."""
        change = {"step": step, "added": 0, "removed": 0, "synapses": 0}
        first_weights = torch.Generator().manual_seed(step)  # others at each selection, the same when resumed
        for graph in self._graphs:
            before = graph.connectivity.topology
            graph.rewire_(generator=torch.Generator().manual_seed(0), weights_generator=first_weights)
            after = graph.connectivity.topology
            shared = shared_synapses(before, after)
            change["added"] += after.synapses - shared
            change["removed"] += before.synapses - shared
            change["synapses"] += after.synapses
        self.changes.append(change)

    def epoch_metrics(self) -> dict[str, float]:
        """Return how many synapses the epoch added and removed, for its row of the history."""
        recent = self.changes[self._before_epoch :]
        return {f"synapses_{what}": sum(change[what] for change in recent) for what in ("added", "removed")}

    def state_dict(self) -> dict[str, Any]:
        """Return the changes for a checkpoint."""
        return {"changes": self.changes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the changes of a checkpoint."""
        self.changes = list(state_dict["changes"])
