"""Neural networks whose neurons have learnable positions and whose weights follow from lengths, as PyG graphs."""

import importlib
from typing import TYPE_CHECKING, Any

from spatialgraph import functional, laws, neurons, wiring
from spatialgraph.connectome.activity.activity import activations
from spatialgraph.connectome.activity.conductance import Relevance, relevance
from spatialgraph.connectome.analysis.analysis import analyse
from spatialgraph.connectome.formats.adjacency import to_adjacency
from spatialgraph.connectome.formats.files import load, save
from spatialgraph.connectome.formats.formats import export, read
from spatialgraph.connectome.formats.frames import from_frames, to_frames
from spatialgraph.connectome.formats.igraph import from_igraph, to_igraph
from spatialgraph.connectome.formats.networkx import from_networkx, to_networkx
from spatialgraph.connectome.receptive_fields import receptive_fields
from spatialgraph.conversion.embedding import Embedding, embed
from spatialgraph.conversion.linear import Conversion, from_linear
from spatialgraph.costs.network import summary
from spatialgraph.costs.spikes import spike_cost
from spatialgraph.deploy.c.header import to_c
from spatialgraph.deploy.nir import from_nir, to_nir
from spatialgraph.deploy.onnx import to_onnx
from spatialgraph.deploy.quantize import quantize
from spatialgraph.deploy.quantize_while_training import QuantizeWhileTraining
from spatialgraph.distributed import synchronize_
from spatialgraph.graph.penalties import collapse_cost, communicability_cost, repulsion_cost, wiring_cost
from spatialgraph.graph.recording import Recording
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.layers.linear import SpatialLinear
from spatialgraph.models.baselines import DenseMLP, DenseSNN
from spatialgraph.models.learning_rates import parameter_groups
from spatialgraph.models.mlp import SpatialMLP
from spatialgraph.models.rnn import SpatialRNN
from spatialgraph.models.snn import SpatialSNN
from spatialgraph.plotting.explorer.exploring import explore
from spatialgraph.pruning.isolated import drop_dead_ends, drop_isolated, isolated
from spatialgraph.pruning.linear import PruneLinearWhileTraining, prune_linear_
from spatialgraph.pruning.regrowth import regrow_
from spatialgraph.pruning.removal import prune, prune_
from spatialgraph.pruning.while_training import PruneWhileTraining

if TYPE_CHECKING:
    from spatialgraph.layers.conv import SpatialConv
    from spatialgraph.layers.simple_conv import SpatialSimpleConv
    from spatialgraph.models.gnn import SpatialGNN

__version__ = "0.1.0"

__all__ = [
    "Conversion",
    "DenseMLP",
    "DenseSNN",
    "Embedding",
    "PruneLinearWhileTraining",
    "PruneWhileTraining",
    "QuantizeWhileTraining",
    "Recording",
    "Relevance",
    "SpatialSimpleConv",
    "SpatialConv",
    "SpatialGNN",
    "SpatialGraph",
    "SpatialLinear",
    "SpatialMLP",
    "SpatialRNN",
    "SpatialSNN",
    "activations",
    "analyse",
    "collapse_cost",
    "communicability_cost",
    "drop_dead_ends",
    "drop_isolated",
    "embed",
    "explore",
    "export",
    "from_frames",
    "from_igraph",
    "from_linear",
    "from_networkx",
    "from_nir",
    "functional",
    "isolated",
    "laws",
    "load",
    "neurons",
    "parameter_groups",
    "prune",
    "prune_",
    "prune_linear_",
    "quantize",
    "read",
    "receptive_fields",
    "regrow_",
    "relevance",
    "repulsion_cost",
    "save",
    "spike_cost",
    "summary",
    "synchronize_",
    "to_adjacency",
    "to_c",
    "to_frames",
    "to_igraph",
    "to_networkx",
    "to_nir",
    "to_onnx",
    "wiring",
    "wiring_cost",
]

# What is built on PyG is imported when it is first used: importing PyG takes as long as importing PyTorch.
_ON_FIRST_USE = {
    "SpatialConv": "spatialgraph.layers.conv",
    "SpatialGNN": "spatialgraph.models.gnn",
    "SpatialSimpleConv": "spatialgraph.layers.simple_conv",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as of a module
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_ON_FIRST_USE[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_FIRST_USE})
