"""Recording of positions during training."""

from typing import Any

import lightning
from torch import nn

from spatialgraph import checks
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.recording import Recording
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["RecordPositions"]


class RecordPositions(lightning.Callback):
    """Record the positions and polarities of a network when its training starts and after every ``every`` epochs.

    A resumed training continues the recording of its checkpoint. Epochs count from 1; 0 is the start.

    Args:
        every: number of epochs between two times.
        network: the network to record, which is trained; None where the trained model has one only.

    Attributes:
        recording: a :class:`~spatialgraph.Recording`; each training starts a new one.

    Raises:
        TypeError: if ``every`` is not an int, or ``network`` neither a graph nor a model that has one.
        ValueError: if ``every`` is not above 0; when the training starts, if the trained model has no or several
            spatial networks and ``network`` is None; in training, if the number of neurons changes.

    Example:
        >>> import tempfile
        >>> import torch
        >>> import spatialgraph as sg
        >>> from spatialgraph.training import Recipe, fit
        >>> images = torch.randn(40, 6), torch.arange(40) % 3
        >>> record = RecordPositions(every=2)
        >>> options = {"callbacks": [record], "progress": False}
        >>> rows = fit(sg.SpatialMLP([6, 4, 3]), images, Recipe(5, batch_size=10), tempfile.mkdtemp(), **options)
        >>> record.recording.epochs
        [0, 2, 4]
    """

    def __init__(self, every: int = 1, network: nn.Module | None = None) -> None:
        self.every = checks.integer("every", every, minimum=1)
        self._network = None if network is None else graph_of(network)
        self.recording = Recording()

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Forget an earlier training; the recording of a resumed one is loaded afterwards."""
        self.recording = Recording()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Record the network before the first step."""
        graph = self._graph(pl_module)
        if trainer.current_epoch == 0 and not len(self.recording):
            self.recording.add(graph, 0)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Record the network after every ``every`` epochs."""
        epoch = trainer.current_epoch + 1
        if epoch % self.every == 0:
            self.recording.add(self._graph(pl_module), epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the recording for a checkpoint."""
        return self.recording.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the recording of a checkpoint."""
        self.recording = Recording.from_state_dict(state_dict)

    def _graph(self, module: nn.Module) -> SpatialGraph:
        if self._network is not None:
            return self._network
        found = [part for part in module.modules() if isinstance(part, SpatialGraph)]
        if len(found) != 1:
            raise ValueError(f"network must be given where the model has not one spatial network, got {len(found)}")
        return found[0]
