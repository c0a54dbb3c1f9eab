"""Images of 28 x 28 pixels as graphs: their superpixels, or clouds of their non-zero pixels, for ``point_cloud.py``."""

import functools
import hashlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.transforms import ToSLIC

from spatialgraph import atomic

SIDE = 28
SEGMENTS, COMPACTNESS = 75, 0.25  # as in Dwivedi et al., "Benchmarking Graph Neural Networks"
FAR = 1000.0  # where the nodes are that pad a graph
PITCH = 4.0  # pixels in a length unit: the distance of neighbouring points of a grid of 7 x 7


def has_superpixels() -> bool:
    """Tell whether scikit-image is installed, which computes superpixels."""
    try:
        import skimage  # noqa: F401
    except ImportError:
        return False
    return True


def superpixels(images: Tensor) -> list[Tensor]:
    """Return a tensor for each image: mean intensity and position of its superpixels, shape ``(nodes, 3)``."""
    segment = ToSLIC(n_segments=SEGMENTS, compactness=COMPACTNESS)
    graphs = (segment(image) for image in images.view(-1, 1, SIDE, SIDE))
    return [torch.cat([graph.x, graph.pos], 1).half() for graph in graphs]


def pixels(images: Tensor) -> list[Tensor]:
    """Return a tensor for each image: intensity and position of its non-zero pixels, shape ``(nodes, 3)``."""
    image, place = images.nonzero(as_tuple=True)
    pos = torch.stack([place % SIDE, place.div(SIDE, rounding_mode="floor")], 1)
    nodes = torch.cat([images[image, place, None], pos], 1).half()
    return list(nodes.split(torch.bincount(image, minlength=len(images)).tolist()))


def padded(graphs: Sequence[Tensor]) -> Tensor:
    """Return graphs as one tensor ``(graphs, nodes, 3)``; nodes that pad have no intensity and are far away."""
    last = torch.tensor([0.0, FAR, FAR], dtype=torch.half)
    result = last.repeat(len(graphs), max(map(len, graphs)), 1)
    for row, graph in zip(result, graphs, strict=True):
        row[: len(graph)] = graph
    return result


def segmented(images: Tensor, workers: int) -> list[Tensor]:
    """Return the superpixels of all images, computed by several processes."""
    if workers < 2:
        return superpixels(images)
    with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        parts = pool.map(superpixels, images.split(500))
        return [graph for part in parts for graph in part]


def cached(images: Tensor, folder: Path, workers: int) -> Tensor:
    """Return the superpixels of images, padded, from a file if there is one of the same images."""
    digest = hashlib.sha256(images.mul(255).byte().numpy().tobytes()).hexdigest()[:12]
    path = folder / f"superpixels-{SEGMENTS}-{COMPACTNESS}-{digest}.pt"
    if not path.exists():
        print(f"Computing the superpixels of {len(images)} images", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write(path, functools.partial(torch.save, packed(segmented(images, workers))))
    return unpacked(torch.load(path, weights_only=True))


def packed(graphs: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return graphs as few bytes."""
    nodes, counts = torch.cat(list(graphs)), [len(graph) for graph in graphs]
    intensity = nodes[:, 0].float().mul(255).round().byte()
    return {"count": torch.tensor(counts, dtype=torch.int16), "intensity": intensity, "pos": nodes[:, 1:].clone()}


def unpacked(stored: dict[str, Tensor]) -> Tensor:
    """Return packed graphs as one tensor, padded."""
    nodes = torch.cat([stored["intensity"][:, None].float().div(255).half(), stored["pos"]], 1)
    return padded(nodes.split(stored["count"].tolist()))


def grid(side: int) -> Tensor:
    """Return a grid of points in the plane of an image, in length units, shape ``(side ** 2, 2)``."""
    axis = ((torch.arange(side) + 0.5) * SIDE / side - 0.5) / PITCH
    return torch.cartesian_prod(axis, axis)


def nearest(points: Tensor, pos: Tensor, k: int) -> Tensor:
    """Return the numbers of the k positions nearest to each point, shape ``(graphs, points, k)``."""
    lengths = torch.cdist(points, pos, compute_mode="donot_use_mm_for_euclid_dist")
    lengths += 1e-6 * torch.arange(pos.shape[1], device=pos.device)  # of equally near ones, the first
    return lengths.topk(min(k, pos.shape[1]), largest=False).indices


def edges_of(near: Tensor, nodes: int) -> Tensor:
    """Return the edges from neighbours to points, in graphs of as many nodes, as ``edge_index``."""
    graphs, points, k = near.shape
    first = nodes * torch.arange(graphs, device=near.device)
    targets = torch.arange(graphs * points, device=near.device).repeat_interleave(k)
    return torch.stack([(near + first[:, None, None]).flatten(), targets])
