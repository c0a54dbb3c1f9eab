"""Codes in files: the parameters of a quantised network in as many bits as they have."""

import copy

import numpy as np
import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.graph.quantization import coded, codes_of, is_quantised, set_codes_
from spatialgraph.graph.scales import Quantization
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["HEIGHTS", "current_quantization", "packed_codes", "unpacked_codes"]

_ANCHORS = "positions.anchor_pos"
# The last coordinates of anchored neurons where layers are spaced along that axis.
HEIGHTS = "positions.anchor_heights"


def current_quantization(graph: SpatialGraph) -> Quantization | None:
    """Return the scales of a network whose parameters are codes; None for others, also where they have moved since."""
    quantization = graph.quantization
    return quantization if quantization is not None and is_quantised(graph, quantization) else None


def packed_codes(graph: SpatialGraph, quantization: Quantization) -> dict[str, Tensor]:
    """Return the codes of a network's parameters as bytes, by the names of the parameters.

    Example:
        >>> from spatialgraph.graph.quantization import fit_quantization
        >>> graph = SpatialGraph.layered([4, 2])
        >>> packed_codes(graph, fit_quantization(graph, 4))["raw_polarity"].shape
        torch.Size([2])
    """
    found = {name: _pack(codes, quantization) for name, codes in codes_of(graph, quantization).items() if codes.numel()}
    if _ANCHORS in found and graph.spacing != "free":
        found[HEIGHTS] = graph.positions.anchor_pos[:, -1].detach().cpu()
    return found


def unpacked_codes(graph: SpatialGraph, quantization: Quantization, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters that codes in a file stand for, by their names.

    Args:
        graph: a network of the same structure.
        quantization: the scales.
        found: the tensors of the file.

    Raises:
        ValueError: if codes are missing, of another number, or out of range.
    """
    restored = copy.deepcopy(graph)
    codes = {name: _unpack(name, found, values, quantization) for name, values in coded(restored).items()}
    set_codes_(restored, quantization, codes)
    state = {name: values for name, values in restored.state_dict().items() if name in codes}
    if HEIGHTS in found:
        state[_ANCHORS][:, -1] = checks.shape(HEIGHTS, found[HEIGHTS], (len(state[_ANCHORS]),))
    return state


def _pack(codes: Tensor, quantization: Quantization) -> Tensor:
    """Return codes as int8, or, of less than 8 bits, one after the other in bytes."""
    if quantization.bits == 8:
        return codes
    shifted = (codes.flatten().numpy() + quantization.largest).astype(np.uint8)
    bits = np.unpackbits(shifted[:, None], axis=1)[:, 8 - quantization.bits :]
    return torch.from_numpy(np.packbits(bits))


def _unpack(name: str, found: dict[str, Tensor], like: Tensor, quantization: Quantization) -> Tensor:
    """Return codes of the shape of a parameter."""
    if not like.numel():
        return torch.zeros(like.shape, dtype=torch.int8)
    if name not in found:
        raise ValueError(f"{name} must be among the tensors, got {sorted(found)}")
    if quantization.bits == 8:
        if found[name].dtype != torch.int8:
            raise ValueError(f"{name} must be int8, got {found[name].dtype}")
        codes = checks.shape(name, found[name], tuple(like.shape)).to(torch.int16)
    else:
        size = -(-like.numel() * quantization.bits // 8)
        data = checks.shape(name, found[name], (size,)).to(torch.uint8).numpy()
        bits = np.unpackbits(data)[: like.numel() * quantization.bits].reshape(-1, quantization.bits)
        shifted = np.packbits(np.pad(bits, ((0, 0), (8 - quantization.bits, 0))), axis=1)[:, 0]
        codes = torch.from_numpy(shifted.astype(np.int16)).reshape(like.shape) - quantization.largest
    if codes.abs().max() > quantization.largest:
        raise ValueError(f"{name} must have codes up to {quantization.largest}, got {int(codes.abs().max())}")
    return codes.to(torch.int8)
