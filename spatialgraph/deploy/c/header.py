"""Export to C: a quantised network as one header for devices without floats."""

import hashlib
import json
import os
import re
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spatialgraph import atomic, checks
from spatialgraph.deploy.c.building import integer_network, quantization_of
from spatialgraph.deploy.c.constants import Array, Names, arrays_of
from spatialgraph.deploy.c.floats import Floats
from spatialgraph.deploy.c.integers import Integers
from spatialgraph.deploy.c.responses import BYTE
from spatialgraph.deploy.c.source import Arithmetic, functions_of
from spatialgraph.models.mlp import SpatialMLP
from spatialgraph.models.snn import SpatialSNN

__all__ = ["to_c"]

ARITHMETICS = ("integer", "float")
# How many samples a header holds as test vectors.
_VECTORS = 10


def to_c(
    model: SpatialMLP | SpatialSNN,
    path: str | os.PathLike[str],
    *,
    name: str = "network",
    arithmetic: str = "integer",
    input_unit: float = 1 / BYTE,
    samples: Tensor | None = None,
    labels: Tensor | None = None,
) -> dict[str, Any]:
    """Write a quantised perceptron or spiking network as one C99 header, with a manifest in JSON beside it.

    The header needs ``stdint.h`` alone. It holds positions, polarities and biases as they are quantised, and the law as
    a table; weights are computed where they are needed, so that constants grow with the neurons and not with the
    synapses. It computes with whole numbers of 32 bits (64 in sums over a layer), allocates nothing, and returns the
    same numbers as :func:`~spatialgraph.deploy.c.building.integer_network`. Its function
    ``network_classify(input, output, buffer)`` takes ``NETWORK_INPUTS`` bytes, and room for ``NETWORK_OUTPUTS`` and
    ``NETWORK_BUFFER_WORDS`` numbers of type ``int32_t``. With floats these are of type ``float``, and outputs are those
    of the model, but for rounding and the table of the law.

    Args:
        model: a perceptron with ReLU, or a spiking network with constant currents, potential read-out and at most one
            hidden layer, that :func:`spatialgraph.quantize` returned. Layers receive from the one before alone,
            all-to-all, by a seeded :class:`~spatialgraph.wiring.Random` or by a list.
        path: the header; the manifest has the suffix ``.json`` in place of its own.
        name: begins the names of functions, and in capitals those of constants.
        arithmetic: ``"integer"``, or ``"float"`` for devices with floats of single precision.
        input_unit: what one step of an input byte stands for; a pixel from 0 to 1 is its byte divided by 255.
        samples: inputs, shape ``(batch, inputs)``, by which the range of activations is chosen. The header then also
            holds the first ten as test vectors. A perceptron without normalisation needs them.
        labels: classes of the samples, shape ``(batch,)``, for the accuracy in the manifest.

    Returns:
        What the manifest holds. It has the bytes of constants and buffers, the sizes of layers, the number of
        multiply-adds, and with labels the accuracy.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if the network is not quantised, or has what C code does not support; the message says what.
        OSError: if a file cannot be written. Each is written whole or not at all; the manifest has the checksum of its
            header.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import spatialgraph as sg
        >>> header = Path(tempfile.mkdtemp()) / "network.h"
        >>> to_c(sg.quantize(sg.SpatialMLP([16, 8, 3])), header)["inputs"]
        16
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"name must be a name in C that begins with a letter, got {name!r}")
    target = checks.path("path", path)
    if target.suffix == ".json":
        raise ValueError(f"path must not have the suffix of the manifest, .json, got {str(target)!r}")
    checks.choice("arithmetic", arithmetic, ARITHMETICS)
    if labels is not None and samples is None:
        raise ValueError("samples must be given with labels, got None")
    input_unit = checks.positive("input_unit", input_unit)
    network = integer_network(model, input_unit, samples, is_coarse=arithmetic == "float")
    own: Arithmetic = Integers(network, Names(name))
    if arithmetic == "float":
        own = Floats(network, Names(name), model, quantization_of(model.graph), input_unit)
    inputs = None if samples is None else _bytes(samples, input_unit)
    outputs = None if inputs is None else _expected(own, model, inputs, input_unit)
    manifest = _manifest(own, input_unit)
    if outputs is not None and labels is not None:
        checks.shape("labels", labels, (len(outputs),))
        manifest["accuracy"] = float((outputs.argmax(1) == labels.cpu().numpy()).mean())
    text = _header(own, manifest, inputs, outputs)
    manifest["header"] = f"sha256 {hashlib.sha256(text.encode()).hexdigest()}"
    atomic.write_text(target, text)
    atomic.write_text(target.with_suffix(".json"), json.dumps(manifest, indent=1) + "\n")
    return manifest


def _manifest(arithmetic: Arithmetic, input_unit: float) -> dict[str, Any]:
    stages, (_, words) = arithmetic.network.stages, arithmetic.layout()
    outputs = stages[-1].target.count
    return {
        "name": arithmetic.names.prefix,
        "arithmetic": "integer" if isinstance(arithmetic, Integers) else "float",
        "bits": arithmetic.network.bits,
        "layers": [stages[0].source.count, *(stage.target.count for stage in stages)],
        "inputs": stages[0].source.count,
        "outputs": outputs,
        "input_unit": input_unit,
        "output_unit": arithmetic.network.output_unit if isinstance(arithmetic, Integers) else 1.0,
        "constant_bytes": sum(array.bytes for array in _arrays(arithmetic)),
        "buffer_bytes": 4 * words,
        "input_bytes": stages[0].source.count,
        "output_bytes": 4 * outputs,
        "multiply_adds": sum(int(stage.synapses.exists().sum()) for stage in stages),
    }


def _bytes(samples: Tensor, input_unit: float) -> np.ndarray:
    """Return inputs as bytes."""
    steps = (samples.detach().cpu().double() / input_unit).round()
    if not bool(((steps >= 0) & (steps <= BYTE)).all()):
        raise ValueError(f"samples must be between 0 and {BYTE * input_unit:g}, got others")
    return steps.to(torch.uint8).numpy()


@torch.no_grad()
def _expected(arithmetic: Arithmetic, model: nn.Module, inputs: np.ndarray, input_unit: float) -> np.ndarray:
    """Return the outputs that the C code must have: those of the network of whole numbers, or of the model."""
    if isinstance(arithmetic, Integers):
        return arithmetic.network(inputs)
    parameter = next(model.parameters())
    values = torch.from_numpy(inputs).to(parameter) * input_unit
    outputs: np.ndarray = model(values).float().cpu().numpy()
    return outputs


def _arrays(arithmetic: Arithmetic) -> list[Array]:
    return arrays_of(arithmetic.network, arithmetic.names, arithmetic.law())


def _header(
    arithmetic: Arithmetic, manifest: dict[str, Any], inputs: np.ndarray | None, outputs: np.ndarray | None
) -> str:
    names = arithmetic.names
    sizes = {
        "inputs": manifest["inputs"],
        "outputs": manifest["outputs"],
        "buffer_words": manifest["buffer_bytes"] // 4,
    }
    guard = names.constant("h")
    lines = [
        f"/* A network of neurons with positions, {'-'.join(map(str, manifest['layers']))}, {manifest['arithmetic']}s.",
        f"   Constants: {manifest['constant_bytes']} bytes. Buffer: {manifest['buffer_bytes']} bytes.",
        f"   Multiply-adds: {manifest['multiply_adds']}. Written by spatialgraph. */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        "#include <stdint.h>",
        "",
        *(f"#define {names.constant(key)} {value}u" for key, value in sizes.items()),
        "",
        "/* Negative numbers must keep their sign where they are shifted. */",
        f"typedef char {names.function('shifts_keep_signs')}[((-1) >> 1) == -1 ? 1 : -1];",
        "",
        *(array.source() for array in _arrays(arithmetic)),
        "",
        functions_of(arithmetic),
    ]
    if inputs is not None and outputs is not None:
        lines += [_vectors(arithmetic, inputs[:_VECTORS], outputs[:_VECTORS])]
    return "\n".join(lines) + f"\n#endif /* {guard} */\n"


def _vectors(arithmetic: Arithmetic, inputs: np.ndarray, outputs: np.ndarray) -> str:
    """Return inputs and the outputs that they must have, for a test."""
    names = arithmetic.names
    tables = {"test_inputs": ("uint8_t", inputs), "test_outputs": (arithmetic.number, outputs)}
    lines = [f"#ifdef {names.constant('test')}", f"#define {names.constant('tests')} {len(inputs)}u"]
    for key, (kind, values) in tables.items():
        suffix = "f" if kind == "float" else ""
        rows = ",\n".join(f"    {{{', '.join(f'{value}{suffix}' for value in row)}}}" for row in values.tolist())
        lines.append(f"static const {kind} {names.constant(key)}[{len(values)}][{values.shape[1]}] = {{\n{rows}\n}};")
    return "\n".join([*lines, "#endif"])
