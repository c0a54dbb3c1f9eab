"""Neural networks whose neurons have learnable positions and whose weights follow from lengths, as PyG graphs."""

from spatialgraph import functional, laws, neurons, wiring
from spatialgraph.connectome.adjacency import to_adjacency
from spatialgraph.connectome.analysis import analyse
from spatialgraph.connectome.files import load, save
from spatialgraph.connectome.formats import export, read
from spatialgraph.connectome.frames import from_frames, to_frames
from spatialgraph.connectome.igraph import from_igraph, to_igraph
from spatialgraph.connectome.networkx import from_networkx, to_networkx
from spatialgraph.connectome.receptive_fields import receptive_fields
from spatialgraph.conversion.linear import Conversion, from_linear
from spatialgraph.costs.network import summary
from spatialgraph.costs.spikes import spike_cost
from spatialgraph.deploy.nir import from_nir, to_nir
from spatialgraph.distributed import synchronize_
from spatialgraph.graph.penalties import collapse_cost, communicability_cost, repulsion_cost, wiring_cost
from spatialgraph.graph.recording import Recording
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.layers.conv import SpatialConv
from spatialgraph.layers.linear import SpatialLinear
from spatialgraph.layers.simple_conv import SpatialSimpleConv
from spatialgraph.models.baselines import DenseMLP, DenseSNN
from spatialgraph.models.gnn import SpatialGNN
from spatialgraph.models.learning_rates import parameter_groups
from spatialgraph.models.mlp import SpatialMLP
from spatialgraph.models.rnn import SpatialRNN
from spatialgraph.models.snn import SpatialSNN
from spatialgraph.plotting.explorer.exploring import explore
from spatialgraph.pruning.isolated import drop_isolated, isolated
from spatialgraph.pruning.linear import PruneLinearWhileTraining, prune_linear_
from spatialgraph.pruning.regrowth import regrow_
from spatialgraph.pruning.removal import prune, prune_
from spatialgraph.pruning.while_training import PruneWhileTraining

__version__ = "0.1.0"

__all__ = [
    "Conversion",
    "DenseMLP",
    "DenseSNN",
    "PruneLinearWhileTraining",
    "PruneWhileTraining",
    "Recording",
    "SpatialSimpleConv",
    "SpatialConv",
    "SpatialGNN",
    "SpatialGraph",
    "SpatialLinear",
    "SpatialMLP",
    "SpatialRNN",
    "SpatialSNN",
    "analyse",
    "collapse_cost",
    "communicability_cost",
    "drop_isolated",
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
    "read",
    "receptive_fields",
    "regrow_",
    "repulsion_cost",
    "save",
    "spike_cost",
    "summary",
    "synchronize_",
    "to_adjacency",
    "to_frames",
    "to_igraph",
    "to_networkx",
    "to_nir",
    "wiring",
    "wiring_cost",
]
