"""Edge lists: pure functions from positions, or numbers of neurons, to the synapses that exist.

An edge list is an int64 tensor (2, E) of source indices over target indices, sorted by target, then source,
without duplicates. The indices count within the source and within the target neurons.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spatialgraph import checks
from spatialgraph.wiring.arguments import check_density, check_radius, check_seed, check_small_world
from spatialgraph.wiring.clouds import check_degree, kind_of_sources, prepare
from spatialgraph.wiring.draws import distinct_numbers, far_sources
from spatialgraph.wiring.hashing import seeded_edges
from spatialgraph.wiring.neighbors import BACKENDS, Backend, nearest, within

__all__ = ["all_to_all", "knn", "radius", "random", "small_world", "without_own"]


def knn(source_pos: Tensor, target_pos: Tensor | None, k: int, backend: Backend = "auto") -> Tensor:
    r"""Connect each target neuron to its :math:`k` nearest source neurons.

    .. math::
        E = \{(s, t) : s \text{ is among the } k \text{ sources with the smallest } \|p_s - p_t\|\}

    Ties are resolved in favour of the lower index. Lengths are compared in float64.

    Args:
        source_pos: source positions :math:`(N, d)`, in length units.
        target_pos: target positions :math:`(M, d)`, in length units, or None if sources and targets are the
            same neurons; a neuron is then not its own neighbour.
        k: in-degree of every target, from 1 to the number of sources, or of other neurons if ``target_pos`` is None.
        backend: ``"scipy"`` (k-d tree on all processor cores, for positions on an accelerator too),
            ``"torch_cluster"``, ``"brute"`` (all distances, in tables of bounded size), or ``"auto"``: torch_cluster on
            CUDA where it is installed; else scipy. The edges do not depend on it.

    Returns:
        Edges :math:`(2, M k)`.

    Raises:
        TypeError: if the positions are not floating-point tensors or k is not an int.
        ValueError: if the positions have different dimensions or devices or are not finite, k is below 1 or above the
            number of sources, or the backend is unknown.
        ImportError: if torch_cluster is asked for by name and not installed.

    Example:
        >>> import torch
        >>> pos = torch.tensor([[0.0], [1.0], [3.0]])
        >>> knn(pos, None, k=1)
        tensor([[1, 0, 1],
                [0, 1, 2]])
    """
    checks.choice("backend", backend, BACKENDS)
    clouds = prepare(source_pos, target_pos)
    check_degree("k", k, clouds)
    return _edges(nearest(clouds, int(k), backend)).to(source_pos.device)


def radius(
    source_pos: Tensor,
    target_pos: Tensor | None,
    r: float,
    max_sources: int | None = None,
    backend: Backend = "auto",
) -> Tensor:
    r"""Connect each target neuron to all source neurons within the distance :math:`r`.

    .. math::
        E = \{(s, t) : \|p_s - p_t\| \le r\}

    The boundary is included. Lengths are compared in float64; note that the float32 number 0.1 exceeds 0.1 there.

    Args:
        source_pos: source positions :math:`(N, d)`, in length units.
        target_pos: target positions :math:`(M, d)`, in length units, or None if sources and targets are the
            same neurons; a neuron is then not its own neighbour.
        r: largest length of an edge, in length units.
        max_sources: largest in-degree; only the nearest sources are connected, ties resolved in favour of the lower
            index. None for no limit.
        backend: as in :func:`knn`.

    Returns:
        Edges :math:`(2, E)`.

    Raises:
        TypeError: if the positions are not floating-point tensors, r is not a number, or max_sources is not
            an int.
        ValueError: if the positions have different dimensions or devices or are not finite, r is not finite and
            positive, max_sources is below 1, or the backend unknown.
        ImportError: if torch_cluster is asked for by name and not installed.

    Example:
        >>> import torch
        >>> pos = torch.tensor([[0.0], [1.0], [3.0]])
        >>> radius(pos, None, r=2.0)
        tensor([[1, 0, 2, 1],
                [0, 1, 1, 2]])
        >>> radius(pos, None, r=2.0, max_sources=1)
        tensor([[1, 0, 1],
                [0, 1, 2]])
    """
    checks.choice("backend", backend, BACKENDS)
    check_radius(r, max_sources)
    clouds = prepare(source_pos, target_pos)
    sources, targets = within(clouds, float(r), None if max_sources is None else int(max_sources), backend)
    number = (targets * len(clouds.source) + sources).sort().values
    return _from_numbers(number, len(clouds.source)).to(source_pos.device)


def random(
    n_sources: int,
    n_targets: int,
    density: float,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    seed: int | None = None,
) -> Tensor:
    r"""Draw :math:`\mathrm{round}(\rho N M)` distinct edges uniformly at random, or the edges of a seed.

    With a seed, an edge exists where :func:`a hash <spatialgraph.wiring.hashing.hash_pairs>` of the seed, its source
    and its target is below :math:`\rho\, 2^{32}`. These are the same edges on every device, for every version of
    PyTorch, and in exported C code; their number is about :math:`\rho N M`.

    Args:
        n_sources: number of source neurons :math:`N`.
        n_targets: number of target neurons :math:`M`.
        density: share :math:`\rho` of all possible edges that exist, above 0 and at most 1.
        generator: random number generator; None for PyTorch's default.
        device: device of the edges; None for the CPU. Edges are drawn on the generator's device.
        seed: from 0 to :math:`2^{32} - 1`; no random numbers are drawn. None to draw.

    Returns:
        Edges :math:`(2, E)`.

    Raises:
        TypeError: if a number of neurons or the seed is not an int or the density not a number.
        ValueError: if a number of neurons is below 1, the density is outside (0, 1], or the seed out of range.

    Example:
        >>> import torch
        >>> edges = random(784, 2048, density=0.01, generator=torch.Generator().manual_seed(0))
        >>> edges.shape
        torch.Size([2, 16056])
    """
    checks.integer("n_sources", n_sources, minimum=1)
    checks.integer("n_targets", n_targets, minimum=1)
    check_density(density)
    check_seed(seed)
    if seed is not None:
        return seeded_edges(int(n_sources), int(n_targets), float(density), int(seed), device)
    possible = int(n_sources) * int(n_targets)
    number = distinct_numbers(possible, round(float(density) * possible), generator)
    return _from_numbers(number, int(n_sources)).to("cpu" if device is None else device)


def small_world(
    source_pos: Tensor,
    target_pos: Tensor | None,
    k: int,
    long_range: int,
    exponent: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Connect each target neuron to its nearest sources and to a few others drawn at random by their distance.

    Besides the :math:`k` nearest sources, each target draws others without replacement, source :math:`s` with a
    probability proportional to

    .. math::
        (\|p_s - p_t\|^2 + \epsilon^2)^{-\alpha / 2}

    which is the heavy-tailed distribution of Kleinberg, *Navigation in a small world*, Nature 406:845 (2000),
    https://doi.org/10.1038/35022643, softened by :math:`\epsilon`, a millionth of the largest extent of the positions
    along an axis, so that neurons may coincide. Short paths are found easily where the exponent equals the dimension of
    the space.

    Args:
        source_pos: source positions :math:`(N, d)`, in length units.
        target_pos: target positions :math:`(M, d)`, in length units, or None if sources and targets are the
            same neurons; a neuron is then not its own source.
        k: number of nearest sources per target, at least 1.
        long_range: number of sources drawn per target, at least 0.
        exponent: decay :math:`\alpha` with length, at least 0; 0 draws uniformly.
        generator: random number generator, on any device; None for PyTorch's default on the positions' device.

    Returns:
        Edges :math:`(2, M (k + \mathrm{long\_range}))`. The time grows with :math:`N M`, the memory does not.

    Raises:
        TypeError: if the positions are not floating-point tensors, k or long_range is not an int, or the exponent is
            not a number.
        ValueError: if the positions have different dimensions or devices or are not finite, k is below 1, long_range or
            the exponent is negative, or k and long_range together exceed the number of sources.

    Example:
        >>> import torch
        >>> pos = torch.rand(100, 2, generator=torch.Generator().manual_seed(0))
        >>> small_world(pos, None, k=4, long_range=2, exponent=2.0).shape
        torch.Size([2, 600])
    """
    check_small_world(k, long_range, exponent)
    clouds = prepare(source_pos, target_pos)
    check_degree("k", k, clouds)
    if k + long_range > clouds.available:
        raise ValueError(
            f"k + long_range must be at most the number of {kind_of_sources(clouds)} ({clouds.available}), "
            f"got {k} + {long_range} = {k + long_range}"
        )
    near = nearest(clouds, int(k))
    if long_range:
        near = torch.cat([near, far_sources(clouds, near, int(long_range), float(exponent), generator)], 1)
    return _edges(near.sort(1).values).to(source_pos.device)


def all_to_all(n_sources: int, n_targets: int, device: torch.device | str | None = None) -> Tensor:
    r"""Connect each target neuron to all source neurons.

    Args:
        n_sources: number of source neurons :math:`N`.
        n_targets: number of target neurons :math:`M`.
        device: device of the edges; None for the CPU.

    Returns:
        Edges :math:`(2, N M)`.

    Raises:
        TypeError: if a number of neurons is not an int.
        ValueError: if a number of neurons is below 1.

    Example:
        >>> all_to_all(2, 2)
        tensor([[0, 1, 0, 1],
                [0, 0, 1, 1]])
    """
    checks.integer("n_sources", n_sources, minimum=1)
    checks.integer("n_targets", n_targets, minimum=1)
    return _edges(torch.arange(int(n_sources), device=device).expand(int(n_targets), -1))


def _edges(index: Tensor) -> Tensor:
    """Return the edge list (2, M k) of the ascending source indices of each target (M, k)."""
    targets, k = index.shape
    edges = index.new_empty((2, targets, k))
    edges[0] = index
    edges[1] = torch.arange(targets, device=index.device)[:, None]
    return edges.view(2, -1)


def _from_numbers(number: Tensor, n_sources: int) -> Tensor:
    """Return the edge list of ascending edge numbers, target * n_sources + source."""
    targets = number.div(n_sources, rounding_mode="floor")
    return torch.stack([number - targets * n_sources, targets])


def without_own(edges: Tensor) -> Tensor:
    """Return edges from all n neurons except the target itself, given edges from n - 1 sources."""
    sources, targets = edges
    return torch.stack([sources + (sources >= targets).long(), targets])
