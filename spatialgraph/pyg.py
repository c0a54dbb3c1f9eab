"""Imports from PyTorch Geometric, without the deprecation warnings that its import emits."""

import warnings

with warnings.catch_warnings():
    # It uses torch.jit.script, which new releases of PyTorch deprecate.
    warnings.filterwarnings("ignore", message="`torch.jit.script", category=FutureWarning)
    warnings.filterwarnings("ignore", message="`torch.jit.script", category=DeprecationWarning)
    # It emits one if torch-cluster, an optional extra, is installed.
    warnings.filterwarnings("ignore", message=".*torch-cluster.*", category=DeprecationWarning)
    from torch_geometric.data import Data
    from torch_geometric.nn import MessagePassing, global_add_pool, global_max_pool, global_mean_pool
    from torch_geometric.nn.aggr import Aggregation, MultiAggregation, SumAggregation
    from torch_geometric.typing import Adj, OptPairTensor, OptTensor, PairTensor, Size
    from torch_geometric.utils import is_sparse, to_edge_index

__all__ = [
    "Adj",
    "Aggregation",
    "Data",
    "MessagePassing",
    "MultiAggregation",
    "OptPairTensor",
    "OptTensor",
    "PairTensor",
    "Size",
    "SumAggregation",
    "global_add_pool",
    "global_max_pool",
    "global_mean_pool",
    "is_sparse",
    "to_edge_index",
]
