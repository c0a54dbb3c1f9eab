"""PyTorch Geometric, imported without the warnings that its import causes and that no user can act on."""

import warnings

with warnings.catch_warnings():
    # It decorates functions with torch.jit.script, which new releases of PyTorch deprecate.
    warnings.filterwarnings("ignore", message="`torch.jit.script", category=FutureWarning)
    warnings.filterwarnings("ignore", message="`torch.jit.script", category=DeprecationWarning)
    # It says so where torch-cluster, an optional extra, is installed.
    warnings.filterwarnings("ignore", message=".*torch-cluster.*", category=DeprecationWarning)
    from torch_geometric.data import Data
    from torch_geometric.nn import MessagePassing
    from torch_geometric.typing import Adj, OptPairTensor, OptTensor, PairTensor, Size
    from torch_geometric.utils import is_sparse, to_edge_index

__all__ = [
    "Adj",
    "Data",
    "MessagePassing",
    "OptPairTensor",
    "OptTensor",
    "PairTensor",
    "Size",
    "is_sparse",
    "to_edge_index",
]
