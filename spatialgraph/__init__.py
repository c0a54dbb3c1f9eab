"""Neural networks whose neurons have learnable positions and whose weights follow from lengths, as PyG graphs."""

from spatialgraph import functional, laws, neurons, wiring
from spatialgraph.connectome import from_networkx, to_networkx
from spatialgraph.conv import SpatialConv
from spatialgraph.distributed import synchronize_
from spatialgraph.files import load, save
from spatialgraph.graph import SpatialGraph
from spatialgraph.linear import SpatialLinear
from spatialgraph.linear_pruning import PruneLinearWhileTraining, prune_linear_
from spatialgraph.models import DenseMLP, SpatialMLP
from spatialgraph.neuromorphic import from_nir, to_nir
from spatialgraph.pruning import drop_isolated, isolated, prune, prune_
from spatialgraph.pruning_while_training import PruneWhileTraining
from spatialgraph.regrowth import regrow_
from spatialgraph.spiking import DenseSNN, SpatialSNN
from spatialgraph.spiking_cost import spike_cost
from spatialgraph.summary import summary

__version__ = "0.1.0"

__all__ = [
    "DenseMLP",
    "DenseSNN",
    "PruneLinearWhileTraining",
    "PruneWhileTraining",
    "SpatialConv",
    "SpatialGraph",
    "SpatialLinear",
    "SpatialMLP",
    "SpatialSNN",
    "drop_isolated",
    "from_networkx",
    "from_nir",
    "functional",
    "isolated",
    "laws",
    "load",
    "neurons",
    "prune",
    "prune_",
    "prune_linear_",
    "save",
    "regrow_",
    "spike_cost",
    "summary",
    "synchronize_",
    "to_networkx",
    "to_nir",
    "wiring",
]
