import sys
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialgraph.wiring import knn, neighbors, radius
from spatialgraph.wiring.clouds import _TABLE, Clouds

BACKENDS = ["scipy", "torch_cluster", "brute"]


def fake_cluster(missing_rows=False):
    """torch_cluster in float32, with the boundary excluded and the order of ties reversed."""
    module = types.ModuleType("torch_cluster")
    module.calls = []

    def squared(x, y):
        assert x.dtype == y.dtype == torch.float32
        assert max(x.abs().max(), y.abs().max()) <= 1
        return (y[:, None] - x[None]).square().sum(-1)

    def knn(x, y, k):
        module.calls.append("knn")
        assert k <= 100
        d2 = squared(x, y).flip(1)
        index = len(x) - 1 - d2.sort(dim=1, stable=True).indices[:, :k]
        row = torch.arange(len(y)).repeat_interleave(k)
        edges = torch.stack([row, index.flatten()])
        return edges[:, 1:] if missing_rows else edges

    def radius(x, y, r, max_num_neighbors=32):
        module.calls.append("radius")
        inside = squared(x, y) < r * r
        inside &= inside.cumsum(1) <= max_num_neighbors
        return inside.nonzero().T

    module.knn, module.radius = knn, radius
    return module


@pytest.fixture(autouse=True)
def cluster(monkeypatch):
    module = fake_cluster()
    monkeypatch.setitem(sys.modules, "torch_cluster", module)
    return module


def reference_order(source, target):
    """Each target's sources in canonical order, and the squared distances, in plain NumPy."""
    source = source.double().numpy()
    cloud = target is None
    target = source if cloud else target.double().numpy()
    d2 = np.zeros((len(target), len(source)))
    for axis in range(source.shape[1]):
        difference = target[:, None, axis] - source[None, :, axis]
        d2 = d2 + difference * difference
    if cloud:
        np.fill_diagonal(d2, np.inf)
    return np.argsort(d2, axis=1, kind="stable"), d2


def reference_edges(chosen):
    targets, sources = np.nonzero(chosen)
    return torch.from_numpy(np.stack([sources, targets]))


def reference_knn(source, target, k):
    order, _ = reference_order(source, target)
    chosen = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(chosen, order[:, :k], True, axis=1)
    return reference_edges(chosen)


def reference_radius(source, target, r, cap=None):
    order, d2 = reference_order(source, target)
    chosen = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(chosen, order[:, :cap], True, axis=1)
    return reference_edges(chosen & (d2 <= r * r))


def grid(side, d, spacing=1.0):
    axis = torch.arange(side, dtype=torch.float32) * spacing
    return torch.cartesian_prod(*[axis] * d).reshape(-1, d)


def clouds_of(kind):
    g = torch.Generator().manual_seed(1)
    return {
        "uniform": (torch.rand(200, 3, generator=g), torch.rand(70, 3, generator=g)),
        "grid": (grid(11, 2), grid(11, 2)[::3] + 0.5),
        "cube": (grid(5, 3, 0.1), grid(5, 3, 0.1)[::5]),
        "duplicates": (torch.randint(0, 3, (120, 2), generator=g).float(), torch.zeros(3, 2)),
        "coincident": (torch.ones(40, 3), torch.ones(5, 3)),
        "far": (1e4 + torch.rand(120, 2, generator=g), 1e4 + torch.rand(20, 2, generator=g)),
        "outlier": (
            torch.cat([torch.rand(120, 2, generator=g), torch.tensor([[1e7, 0.0]])]),
            torch.rand(9, 2),
        ),
        "huge": (
            torch.randn(90, 2, generator=g).double() * 1e120,
            torch.randn(9, 2, generator=g).double() * 1e120,
        ),
        "tiny": (torch.randn(90, 2, generator=g).double() * 1e-160, torch.zeros(4, 2).double()),
        "line": (torch.arange(50.0)[:, None], torch.arange(49.0)[:, None] + 0.5),
        "high": (torch.randn(60, 33, generator=g), torch.randn(20, 33, generator=g)),
        "half": (torch.rand(90, 3, generator=g).half(), torch.rand(9, 3, generator=g).half()),
    }[kind]


KINDS = "uniform grid cube duplicates coincident far outlier huge tiny line high half".split()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("one_cloud", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_knn_is_the_brute_force_reference(kind, one_cloud, backend):
    source, target = clouds_of(kind)
    target = None if one_cloud else target
    for k in (1, 4, 16, len(source) - 1):
        edges = knn(source, target, k, backend)
        assert edges.dtype == torch.int64
        assert torch.equal(edges, reference_knn(source, target, k)), k


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("one_cloud", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_radius_is_the_brute_force_reference(kind, one_cloud, backend):
    source, target = clouds_of(kind)
    target = None if one_cloud else target
    _, d2 = reference_order(source, target)
    lengths = np.sqrt(d2[np.isfinite(d2) & (d2 > 0)])
    for r in (1.0, *np.quantile(lengths, [0.05, 0.5, 1.0])) if lengths.size else (1.0,):
        for cap in (None, 1, 7):
            expected = reference_radius(source, target, float(r), cap)
            assert torch.equal(radius(source, target, float(r), cap, backend), expected), (r, cap)


@pytest.mark.parametrize("side, d, k", [(40, 2, 5), (40, 2, 16), (12, 3, 9)])
def test_ties_on_a_large_grid_are_settled_among_the_trees_candidates(monkeypatch, side, d, k):
    """Grids so large that the k-d tree's own widening has to settle them, not the brute-force fallback."""
    pos = grid(side, d)
    expected = knn(pos, None, k, "brute")
    monkeypatch.setattr(neighbors.brute, "nearest", None)
    assert torch.equal(knn(pos, None, k, "scipy"), expected)


@given(
    points=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=40),
    offset=st.sampled_from([0.0, 0.1, 1e6]),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_backends_agree_on_integer_grids(points, offset, data):
    pos = torch.tensor(points, dtype=torch.float64) + offset
    k = data.draw(st.integers(1, len(points) - 1))
    r = data.draw(st.sampled_from([1.0, 2.0, 2.0**0.5, 5.0**0.5, 3.0]))
    expected = reference_knn(pos, None, k), reference_radius(pos, None, r), reference_radius(pos, None, r, k)
    for backend in BACKENDS:
        assert torch.equal(knn(pos, None, k, backend), expected[0])
        assert torch.equal(radius(pos, None, r, backend=backend), expected[1])
        assert torch.equal(radius(pos, None, r, k, backend=backend), expected[2])


@given(seed=st.integers(0, 2**31), n=st.integers(3, 60), d=st.integers(1, 4), data=st.data())
@settings(max_examples=30, deadline=None)
def test_renumbering_neurons_renumbers_edges(seed, n, d, data):
    generator = torch.Generator().manual_seed(seed)
    pos = torch.rand(n, d, generator=generator, dtype=torch.float64)
    k = data.draw(st.integers(1, n - 1))
    new_to_old = torch.randperm(n, generator=generator)
    edges = knn(pos, None, k)
    renumbered = new_to_old[knn(pos[new_to_old], None, k)]
    assert set(map(tuple, edges.T.tolist())) == set(map(tuple, renumbered.T.tolist()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_blocks_and_tables_do_not_change_edges(monkeypatch, backend):
    pos = torch.cat([grid(9, 2), torch.rand(60, 2, generator=torch.Generator().manual_seed(0))])
    target = pos[::2] + 0.25
    calls = [lambda: knn(pos, None, 6, backend), lambda: knn(pos, target, 6, backend)]
    calls += [lambda: radius(pos, None, 1.0, 5, backend), lambda: radius(pos, target, 2.0, backend=backend)]
    whole = [call() for call in calls]
    monkeypatch.setattr("spatialgraph.wiring.clouds._TABLE", 300)
    monkeypatch.setattr("spatialgraph.wiring.trees._BLOCK", 17)
    monkeypatch.setattr("spatialgraph.wiring.cluster._LIMIT", 2)
    assert all(torch.equal(call(), edges) for call, edges in zip(calls, whole, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_radius_includes_its_boundary_and_nothing_beyond(backend):
    source = torch.tensor([[3.0, 4.0], [-3.0, 4.0], [0.0, np.nextafter(5.0, 6.0)]], dtype=torch.float64)
    edges = radius(source, torch.zeros(1, 2), 5.0, backend=backend)
    assert edges.tolist() == [[0, 1], [0, 0]]


def test_torch_cluster_settles_most_rows_itself_and_leaves_ties_to_float64(monkeypatch, cluster):
    brute = []
    nearest_brute = neighbors.brute.nearest
    monkeypatch.setattr(neighbors.brute, "nearest", lambda c, k: brute.append(len(c.target)) or nearest_brute(c, k))
    knn(clouds_of("uniform")[0], None, 8, "torch_cluster")
    assert cluster.calls == ["knn"] and sum(brute) <= 3
    # Seen from the outlier's scale all others are one point in float32.
    pos = clouds_of("outlier")[0]
    assert torch.equal(knn(pos, None, 8, "torch_cluster"), reference_knn(pos, None, 8))
    assert sum(brute) >= 100


def test_torch_cluster_rows_that_come_back_short_are_searched_again(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_cluster", fake_cluster(missing_rows=True))
    pos = clouds_of("uniform")[0]
    assert torch.equal(knn(pos, None, 8, "torch_cluster"), reference_knn(pos, None, 8))


def test_torch_cluster_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_cluster", None)
    for call in (
        lambda p: knn(p, None, 1, "torch_cluster"),
        lambda p: radius(p, None, 1.0, 1, "torch_cluster"),
    ):
        with pytest.raises(ImportError, match=r"pip install spatialgraph\[cluster\]"):
            call(torch.rand(4, 2))


def test_auto_picks_by_device_and_what_is_installed(monkeypatch):
    chosen = [neighbors._choose("auto", torch.device(device)) for device in ("cpu", "cuda", "mps", "xpu")]
    assert chosen == ["scipy", "torch_cluster", "scipy", "scipy"]
    monkeypatch.setitem(sys.modules, "torch_cluster", None)
    assert neighbors._choose("auto", torch.device("cuda")) == "scipy"


def test_brute_memory_is_bounded():
    pos = torch.rand(5000, 2, generator=torch.Generator().manual_seed(0))
    clouds = Clouds(pos.double(), pos.double(), torch.arange(5000))
    shapes = [table.shape for _, table in clouds.tables()]
    assert max(rows * columns for rows, columns in shapes) <= _TABLE
    assert sum(rows for rows, _ in shapes) == 5000
