"""Export to ONNX, with weights stored or computed from positions inside the graph."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialgraph import atomic, checks
from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.graph.transmission import PrecomputedTransmission
from spatialgraph.models.mlp import SpatialMLP
from spatialgraph.models.snn import SpatialSNN

if TYPE_CHECKING:
    import onnx

    from spatialgraph.functional.engine import Prepared

__all__ = ["to_onnx"]

WEIGHTS = ("computed", "stored")
# Constants of fewer numbers are left as they are.
_LARGE = 64


def to_onnx(model: nn.Module, path: str | os.PathLike[str], example: Tensor, *, weights: str = "computed") -> None:
    """Write a model as an ONNX file for any number of samples.

    With computed weights the file holds positions, polarities and biases, and the graph computes weights from them in
    each run: such a file grows with the neurons. With stored ones it holds a matrix for each projection.

    Args:
        model: a model of this library, or one that has layers of it; it is exported as in ``eval()``.
        path: the file.
        example: inputs, shape ``(batch, features)`` with at least two samples; the file takes any number of them.
        weights: ``"computed"`` or ``"stored"``.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if ``weights`` is neither, or there are less than two samples.
        ImportError: if onnx or onnxscript is not installed.
        OSError: if the file cannot be written; one that exists is then unchanged.

    Example:
        >>> import tempfile
        >>> import spatialgraph as sg
        >>> to_onnx(sg.SpatialMLP([4, 3]), tempfile.mkdtemp() + "/network.onnx", torch.rand(2, 4))
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, got {type(model).__name__}")
    target = checks.path("path", path)
    checks.choice("weights", weights, WEIGHTS)
    if checks.tensor("example", example).dim() < 2 or len(example) < 2:
        raise ValueError(f"example must have at least two samples, got shape {tuple(example.shape)}")
    with _stored_weights(model) if weights == "stored" else contextlib.nullcontext():
        proto = _exported(model, example).model_proto
    _shrink(proto.graph)
    atomic.write_bytes(target, proto.SerializeToString())


def _exported(model: nn.Module, example: Tensor) -> Any:  # noqa: ANN401 - torch.onnx.ONNXProgram
    import_onnx()
    modes = [(module, module.training) for module in model.modules()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shapes = ({0: torch.export.Dim("batch")},)
            return torch.onnx.export(model.eval(), (example,), dynamo=True, verbose=False, dynamic_shapes=shapes)
    finally:
        for module, mode in modes:
            module.training = mode


def import_onnx() -> Any:  # noqa: ANN401 - a module
    """Import onnx.

    Raises:
        ImportError: if it, or onnxscript, is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - the exporter of PyTorch needs it
    except ImportError as error:
        raise ImportError(f"{error.name} is needed here; install it by: pip install onnx onnxscript") from error
    return onnx


# Stored weights ----


class _StoredMatrix:
    """The weights of a projection as a constant matrix."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def send(self, x: Tensor, bias: Tensor | None = None, rectify: bool = False) -> Tensor:
        """Multiply activations by the weights, add the bias and rectify, if wanted."""
        y = F.linear(x, self.weight, bias)
        return F.relu(y) if rectify else y


class _StoredWeights:
    """Hands a model constant matrices in each pass."""

    def __init__(self, graph: SpatialGraph) -> None:
        graph.connectivity.verify()
        served = graph.transmission().precomputed()
        matrices = [cast("Prepared", _StoredMatrix(matrix.dense())) for matrix in served.matrices]
        live = [served.live(number) for number in range(len(matrices))]
        self._transmission = PrecomputedTransmission(served.projections, matrices, served.biases, live)

    def transmission(self, *_: object, **__: object) -> PrecomputedTransmission:
        """Return what carries activations through the projections."""
        return self._transmission


@contextlib.contextmanager
def _stored_weights(model: nn.Module) -> Iterator[None]:
    """Let a model compute with constant matrices."""
    if not isinstance(model, SpatialMLP | SpatialSNN) or (isinstance(model, SpatialSNN) and model.has_delays):
        raise ValueError(
            "weights must be 'computed' but for a SpatialMLP or a SpatialSNN without delays, got 'stored' for "
            f"{type(model).__name__}"
        )
    own = model._served
    with torch.no_grad():
        model.__dict__["_served"] = _StoredWeights(model.graph)
    try:
        yield
    finally:
        model.__dict__["_served"] = own


# Smaller files ----


def _shrink(graph: "onnx.GraphProto") -> None:
    """Replace large constants of equal numbers, and of consecutive ones, by nodes that make them; drop notes."""
    onnx = import_onnx()
    del graph.value_info[:], graph.metadata_props[:]
    for node in graph.node:  # the exporter notes which line of Python each comes from
        del node.metadata_props[:]
        node.doc_string = ""
    for constant in list(graph.initializer):
        values = onnx.numpy_helper.to_array(constant)
        if values.size <= _LARGE or constant.name in {output.name for output in graph.output}:
            continue
        nodes = _filled(constant, values) if (values == values.flat[0]).all() else _counted(constant, values)
        for node in reversed(nodes):
            graph.node.insert(0, node)
        if nodes:
            graph.initializer.remove(constant)


def _filled(constant: "onnx.TensorProto", values: np.ndarray) -> list["onnx.NodeProto"]:
    """Return the nodes that make a constant of equal numbers."""
    onnx = import_onnx()
    helper, shape = onnx.helper, f"{constant.name}_shape"
    value = onnx.numpy_helper.from_array(values.reshape(-1)[:1])
    size = onnx.numpy_helper.from_array(np.array(values.shape, dtype=np.int64))
    return [
        helper.make_node("Constant", [], [shape], value=size),
        helper.make_node("ConstantOfShape", [shape], [constant.name], value=value),
    ]


def _counted(constant: "onnx.TensorProto", values: np.ndarray) -> list["onnx.NodeProto"]:
    """Return the nodes that make a constant of consecutive whole numbers; none for another."""
    if values.ndim != 1 or values.dtype != np.int64 or not (np.diff(values) == 1).all():
        return []
    onnx = import_onnx()
    ends = {"start": values[0], "limit": values[-1] + 1, "delta": np.int64(1)}
    names = [f"{constant.name}_{name}" for name in ends]
    nodes = [
        onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(np.array(end)))
        for name, end in zip(names, ends.values(), strict=True)
    ]
    return [*nodes, onnx.helper.make_node("Range", names, [constant.name])]
