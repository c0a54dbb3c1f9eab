"""Checks of arguments; each error names the argument, the condition and the value received."""

import math
import numbers
import os
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from spatialgraph.tracing import is_autocast, is_observed

INDICES = (torch.int32, torch.int64)


def is_integer(value: Any) -> TypeGuard[int]:  # noqa: ANN401 - any value is checked
    """Tell whether a value is an integer of Python or NumPy; a bool is not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_real(value: Any) -> TypeGuard[float]:  # noqa: ANN401
    """Tell whether a value is a real number of Python or NumPy; a bool is not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def integer(name: str, value: Any, minimum: int | None = None) -> int:  # noqa: ANN401
    """Return an int of at least ``minimum``, or any int if that is None."""
    if not is_integer(value):
        raise TypeError(f"{name} must be an int, got {_described(value)}")
    if minimum is not None and value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")
    return int(value)


def real(name: str, value: Any) -> float:  # noqa: ANN401
    """Return a float, which may be infinite or NaN."""
    if not is_real(value):
        raise TypeError(f"{name} must be a number, got {_described(value)}")
    try:
        return float(value)
    except OverflowError:  # an int or a fraction may be larger than any float
        return math.inf if value > 0 else -math.inf


def _described(value: Any) -> str:  # noqa: ANN401
    return f"{reprlib.repr(value)} ({type(value).__name__})"


def number(name: str, value: Any) -> float:  # noqa: ANN401
    """Return a finite float."""
    result = real(name, value)
    if not math.isfinite(result):
        raise ValueError(f"{name} must be finite, got {value}")
    return result


def flag(name: str, value: Any) -> bool:  # noqa: ANN401
    """Return a bool of Python or NumPy as one of Python."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def between(name: str, value: Any, low: float, high: float) -> float:  # noqa: ANN401
    """Return a float between two bounds, both included."""
    if not low <= number(name, value) <= high:
        raise ValueError(f"{name} must be between {low:g} and {high:g}, got {value}")
    return float(value)


def positive(name: str, value: Any) -> float:  # noqa: ANN401
    """Return a finite float above 0."""
    if number(name, value) <= 0:
        raise ValueError(f"{name} must be above 0, got {value}")
    return float(value)


def choice(name: str, value: Any, allowed: Sequence[str]) -> str:  # noqa: ANN401
    """Return a value that is one of the allowed names."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return str(value)


def sizes(value: Any) -> list[int]:  # noqa: ANN401
    """Return layer sizes as a list of at least two positive ints."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise TypeError(f"sizes must be a sequence of ints, got {type(value).__name__}")
    if len(value) < 2:
        raise ValueError(f"sizes must name at least an input and an output layer, got {list(value)}")
    return [integer(f"sizes[{place}]", size, minimum=1) for place, size in enumerate(value)]


def path(name: str, value: Any) -> Path:  # noqa: ANN401
    """Return a string or a path as a path."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be a string or a path, got {type(value).__name__}")
    return Path(value)


def tensor(name: str, value: Any) -> Tensor:  # noqa: ANN401
    """Return a value that is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
    return value


def shape(name: str, value: Any, expected: tuple[int, ...]) -> Tensor:  # noqa: ANN401
    """Return a tensor of the expected shape."""
    if tensor(name, value).shape != expected:
        raise ValueError(f"{name} must have shape {tuple(expected)}, got {tuple(value.shape)}")
    return value  # type: ignore[no-any-return]


def finite(name: str, value: Any) -> Tensor:  # noqa: ANN401
    """Return a tensor without infinities and NaN."""
    # The sum is not finite if one term is not, which takes one pass and no mask. It may also overflow; then the mask
    # decides.
    if not bool(torch.isfinite(tensor(name, value).sum())) and not bool(torch.isfinite(value).all()):
        place = tuple(torch.nonzero(~torch.isfinite(value))[0].tolist())
        raise ValueError(f"{name} must be finite, got {value[place].item()} at {place}")
    return value  # type: ignore[no-any-return]


def positions(
    name: str,
    value: Any,  # noqa: ANN401
    rows: int | None = None,
    columns: Sequence[int] | None = None,
) -> Tensor:
    """Return finite floating-point positions of shape ``(N, d)``."""
    pos = tensor(name, value)
    if pos.dim() != 2 or pos.shape[0] == 0 or pos.shape[1] == 0:
        raise ValueError(f"{name} must have shape (neurons, dimensions), neither of them 0, got {tuple(pos.shape)}")
    if rows is not None and columns is not None and (pos.shape[0] != rows or pos.shape[1] not in columns):
        allowed = " or ".join(f"({rows}, {c})" for c in columns)
        raise ValueError(f"{name} must have shape {allowed}, got {tuple(pos.shape)}")
    if not pos.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {pos.dtype}")
    if pos.device.type == "meta":
        raise ValueError(f"{name} must have values, got a tensor on the device meta")
    bad = ~torch.isfinite(pos).all(1)
    if bad.any():
        raise ValueError(f"{name} must be finite, got {pos[bad][0].tolist()} for neuron {int(bad.nonzero()[0])}")
    return pos


def layers(value: Any, count: int) -> Tensor:  # noqa: ANN401
    """Return layer numbers of shape ``(N,)``, every layer of which has a neuron."""
    layer = shape("layer", value, (count,))
    if layer.dtype != torch.int64:
        raise TypeError(f"layer must be int64, got {layer.dtype}")
    if int(layer.min()) < 0:
        raise ValueError(f"layer must be at least 0, got {int(layer.min())}")
    empty = torch.nonzero(torch.bincount(layer) == 0)[:, 0].tolist()
    if empty:
        raise ValueError(f"layer must leave no layer empty, got no neuron in layer {empty[0]}")
    if int(layer.max()) < 1:
        raise ValueError("layer must name at least an input and an output layer, got layer 0 only")
    return layer


def edge_index(value: Any, count: int) -> Tensor:  # noqa: ANN401
    """Return distinct edges of shape ``(2, E)`` between existing neurons."""
    return edges("edge_index", value, count, count)


def edges(name: str, value: Any, sources: int, targets: int) -> Tensor:  # noqa: ANN401
    """Return distinct edges of shape ``(2, E)`` from existing sources to existing targets."""
    index = tensor(name, value)
    if index.dim() != 2 or index.shape[0] != 2:
        raise ValueError(f"{name} must have shape (2, edges), got {tuple(index.shape)}")
    if index.dtype != torch.int64:
        raise TypeError(f"{name} must be int64, got {index.dtype}")
    for ends, count in zip(index, (sources, targets), strict=True):
        within(name, ends, count)
    keys = index[1] * sources + index[0]
    if bool((keys.diff() > 0).all()):  # sorted by target, then source, as most lists are
        return index
    keys, repeats = torch.unique(keys, return_counts=True)
    if (repeats > 1).any():
        key = int(keys[repeats > 1][0])
        raise ValueError(f"{name} must not list an edge twice, got ({key % sources}, {key // sources}) again")
    return index


def no_loops(edges: Tensor) -> None:
    """Check that no edge leads from a neuron to itself, where its length is always 0."""
    loops = torch.nonzero(edges[0] == edges[1])
    if len(loops):
        neuron = int(edges[0, loops[0, 0]])
        raise ValueError(f"edge_index must not lead from a neuron to itself, got ({neuron}, {neuron})")


def layer_order(edges: Tensor, layer: Tensor, is_recurrent: bool = False) -> None:
    """Check that every edge leads to a later layer, or in a recurrent network within a hidden layer."""
    from_layer, to_layer = layer[edges]
    bad = from_layer >= to_layer
    if is_recurrent:
        no_loops(edges)
        bad &= (from_layer != to_layer) | (to_layer == 0) | (to_layer == layer.max())
    if bad.any():
        source, target = edges[:, bad][:, 0].tolist()
        rule = "to later layers or within a hidden layer" if is_recurrent else "to later layers"
        raise ValueError(
            f"edge_index must lead {rule}, got ({source}, {target}) from layer {int(layer[source])} "
            f"to layer {int(layer[target])}"
        )


def layer_number(name: str, value: Any, layer: Tensor) -> int:  # noqa: ANN401
    """Return the number of an existing layer."""
    last = int(layer.max())
    if not is_integer(value):
        raise TypeError(f"{name} must be a layer's number or a tensor, got {type(value).__name__}")
    if last < 0:
        raise ValueError(f"{name} must not name layer {value}: the network has no layers")
    if not 0 <= value <= last:
        raise ValueError(f"{name} must name a layer between 0 and {last}, got {value}")
    return int(value)


def mask(name: str, value: Tensor, count: int) -> Tensor:
    """Return a boolean mask of all neurons."""
    if value.dtype != torch.bool:
        raise TypeError(f"{name} must be a boolean mask, got {value.dtype}")
    return shape(name, value, (count,))


def neuron_index(name: str, value: Tensor, count: int) -> Tensor:
    """Return neuron numbers, or a mask of all neurons."""
    if value.dtype == torch.bool:
        return mask(name, value, count)
    if value.dtype != torch.int64 or value.dim() != 1:
        got = f"{value.dtype} of shape {tuple(value.shape)}"
        raise TypeError(f"{name} must be a mask or neuron numbers (int64, one axis), got {got}")
    within(name, value, count)
    return value


def features(name: str, value: Any, count: int, parameter: Tensor) -> Tensor:  # noqa: ANN401
    """Return activations whose last axis has one entry for each input neuron."""
    x = tensor(name, value)
    if x.dim() == 0 or x.shape[-1] != count:
        raise ValueError(f"{name} must have shape (..., {count}), got {tuple(x.shape)}")
    if x.device != parameter.device:
        raise ValueError(f"{name} must be on the device of the parameters ({parameter.device}), got {x.device}")
    like_parameters(name, x, parameter)
    return x


def like_parameters(name: str, x: Tensor, parameter: Tensor) -> None:
    """Check that a tensor has the dtype of the parameters, or with autocast a floating-point one below float64."""
    if x.dtype == parameter.dtype:
        return
    # Autocast leaves float64 as it is, which operations then refuse beside other dtypes.
    if x.dtype == torch.float64 or not (x.is_floating_point() and is_autocast(x.device.type)):
        raise TypeError(f"{name} must have the dtype of the parameters ({parameter.dtype}), got {x.dtype}")


def axes(name: str, value: Any, count: int) -> Tensor:  # noqa: ANN401
    """Return a floating-point tensor with ``count`` axes."""
    # Kernels are called about ten times per step, so valid arguments return without another call.
    if isinstance(value, Tensor) and value.dim() == count and value.is_floating_point():
        return value
    if tensor(name, value).dim() != count:
        raise ValueError(f"{name} must have {count} axes, got shape {tuple(value.shape)}")
    raise TypeError(f"{name} must be floating point, got {value.dtype}")


def for_kernel(name: str, value: Any, count: int) -> Tensor:  # noqa: ANN401
    """Return a dense float32 or float64 tensor on the CPU with ``count`` axes."""
    if axes(name, value, count).dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be float32 or float64, got {value.dtype}")
    if value.device.type != "cpu" or value.layout != torch.strided:
        raise ValueError(f"{name} must be a dense tensor on the CPU, got {value.layout} on {value.device}")
    return value  # type: ignore[no-any-return]


def operand(name: str, value: Any, expected: tuple[int, ...], like: Tensor) -> Tensor:  # noqa: ANN401
    """Return a tensor of the expected shape, with the dtype, device and layout of another."""
    if (
        isinstance(value, Tensor)
        and value.shape == expected
        and value.dtype == like.dtype
        and value.device == like.device
        and value.layout == like.layout
    ):
        return value
    if shape(name, value, expected).dtype != like.dtype:
        raise TypeError(f"{name} must have dtype {like.dtype} like the others, got {value.dtype}")
    raise ValueError(
        f"{name} must be {like.layout} on {like.device} like the others, got {value.layout} on {value.device}"
    )


def geometry(source_pos: Any, target_pos: Any, scale: Any) -> None:  # noqa: ANN401
    """Check positions of sources ``(n, d)`` and targets ``(m, d)`` and factors of the sources ``(n,)``."""
    ends(source_pos, target_pos)
    operand("scale", scale, (source_pos.shape[0],), source_pos)


def ends(source_pos: Any, target_pos: Any) -> None:  # noqa: ANN401
    """Check positions of sources ``(n, d)`` and targets ``(m, d)``."""
    dimensions = axes("source_pos", source_pos, 2).shape[1]
    operand("target_pos", target_pos, (axes("target_pos", target_pos, 2).shape[0], dimensions), source_pos)


def last_axis(name: str, value: Any, count: int) -> Tensor:  # noqa: ANN401
    """Return a tensor whose last axis has ``count`` entries."""
    if tensor(name, value).dim() == 0 or value.shape[-1] != count:
        raise ValueError(f"{name} must have shape (..., {count}), got {tuple(value.shape)}")
    return value  # type: ignore[no-any-return]


def same_device(name: str, value: Tensor, like: Tensor) -> None:
    """Check that a tensor is on the device of another."""
    if value.device != like.device:
        raise ValueError(f"{name} must be on {like.device} like the others, got {value.device}")


def indices(name: str, value: Any, size: int | None = None) -> Tensor:  # noqa: ANN401
    """Return a one-dimensional tensor of int32 or int64, of the given size if any."""
    if (
        isinstance(value, Tensor)
        and value.dim() == 1
        and size in (None, value.shape[0])
        and value.dtype in INDICES
        and value.layout == torch.strided
    ):
        return value
    if tensor(name, value).dim() != 1 or (size is not None and value.shape[0] != size):
        expected = "one axis" if size is None else f"shape ({size},)"
        raise ValueError(f"{name} must have {expected}, got shape {tuple(value.shape)}")
    raise TypeError(f"{name} must be a dense tensor of int32 or int64, got {value.layout} of {value.dtype}")


def has_values(value: Tensor) -> bool:
    """Tell whether the values of a tensor can be read: nothing is tracing, and it is not on the meta device."""
    return value.device.type != "meta" and not is_observed(value)


def within(name: str, value: Tensor, count: int) -> None:
    """Check that all indices lie between 0 and ``count - 1``."""
    if value.numel() == 0:
        return
    low, high = (int(bound) for bound in torch.aminmax(value))
    if low < 0 or high >= count:
        raise ValueError(f"{name} must lie between 0 and {count - 1}, got {low if low < 0 else high}")


def delays(name: str, value: Tensor) -> None:
    """Check that delays in time steps are at least 0 and finite."""
    if value.numel() and has_values(value):
        low, high = (float(bound) for bound in torch.aminmax(value.detach()))
        if not 0.0 <= low <= high < math.inf:  # false for NaN too
            raise ValueError(f"{name} must be at least 0 and finite, got {low if not low >= 0.0 else high}")


def pointer(name: str, value: Tensor, entries: int) -> None:
    """Check that a pointer starts at 0, ends at the number of entries and never decreases."""
    if value.numel() == 0 or int(value[0]) != 0 or int(value[-1]) != entries:
        got = "nothing" if value.numel() == 0 else f"{int(value[0])} to {int(value[-1])}"
        raise ValueError(f"{name} must lead from 0 to the number of edges ({entries}), got {got}")
    falls = torch.nonzero(value[1:] < value[:-1])[:, 0]
    if falls.numel():
        row = int(falls[0])
        raise ValueError(f"{name} must not decrease, got {int(value[row])} before {int(value[row + 1])}")
