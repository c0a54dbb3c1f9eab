import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialgraph.wiring import (
    KNN,
    AllToAll,
    Radius,
    Random,
    SmallWorld,
    Wiring,
    all_to_all,
    knn,
    radius,
    random,
    small_world,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def assert_edge_list(edges, n_sources, n_targets):
    assert edges.dtype == torch.int64 and edges.shape[0] == 2
    sources, targets = edges
    assert (sources >= 0).all() and (sources < n_sources).all()
    assert (targets >= 0).all() and (targets < n_targets).all()
    assert ((targets * n_sources + sources).diff() > 0).all()  # sorted and without duplicates


ALL = [AllToAll(), KNN(3), Radius(0.7), Radius(0.7, max_sources=2), Random(0.3), SmallWorld(2, 3)]


@pytest.mark.parametrize("wiring", ALL, ids=repr)
@given(seed=st.integers(0, 2**31), n=st.integers(6, 40), m=st.integers(1, 40), d=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_every_wiring_returns_an_edge_list(wiring, seed, n, m, d):
    source, target = torch.rand(n, d, generator=seeded(seed)), torch.rand(m, d, generator=seeded(seed + 1))
    source.requires_grad_()
    edges = wiring.select(source, target, seeded(seed))
    assert_edge_list(edges, n, m)
    assert torch.equal(edges, wiring.select(source, target, seeded(seed)))
    cloud = wiring.select(source, None, seeded(seed))
    assert_edge_list(cloud, n, n)
    assert (cloud[0] != cloud[1]).all()


@given(seed=st.integers(0, 2**31), n=st.integers(4, 50), m=st.integers(1, 50), data=st.data())
@settings(max_examples=30, deadline=None)
def test_in_degrees(seed, n, m, data):
    source, target = torch.rand(n, 2, generator=seeded(seed)), torch.rand(m, 2, generator=seeded(seed + 1))
    k = data.draw(st.integers(1, n))
    far = data.draw(st.integers(0, n - k))
    assert (knn(source, target, k)[1].bincount(minlength=m) == k).all()
    world = small_world(source, target, k, far, 1.5, seeded(seed))
    assert_edge_list(world, n, m)
    assert (world[1].bincount(minlength=m) == k + far).all()
    near = set(map(tuple, knn(source, target, k).T.tolist()))
    assert near <= set(map(tuple, world.T.tolist()))


def test_cap_keeps_the_nearest():
    source, target = torch.rand(80, 3, generator=seeded(1)), torch.rand(30, 3, generator=seeded(2))
    every = set(map(tuple, radius(source, target, 0.5).T.tolist()))
    near = set(map(tuple, knn(source, target, 6).T.tolist()))
    capped = radius(source, target, 0.5, max_sources=6)
    assert set(map(tuple, capped.T.tolist())) == every & near
    assert len(every) > capped.shape[1] > 0


def test_moving_all_neurons_together_changes_nothing():
    source = torch.randint(0, 9, (60, 2), generator=seeded()).double()
    assert torch.equal(knn(source, None, 5), knn(source + 1024, None, 5))
    assert torch.equal(radius(source, None, 2.0), radius(source - 4096, None, 2.0))


@pytest.mark.parametrize("n, m, density", [(7, 5, 0.5), (7, 5, 1.0), (784, 20, 0.013), (3, 3, 0.01), (50, 40, 0.24)])
def test_random_draws_exactly_the_share(n, m, density):
    edges = random(n, m, density, seeded())
    assert_edge_list(edges, n, m)
    assert edges.shape == (2, round(density * n * m))


def test_random_reaches_pairs_beyond_int32():
    edges = random(2**20, 2**20, 1e-9, seeded())
    assert_edge_list(edges, 2**20, 2**20)
    assert edges.shape[1] == 1100
    assert abs(edges.double().mean(1) / 2**19 - 1).max() < 0.1


@pytest.mark.parametrize("density", [0.1, 0.2, 0.5])
def test_random_draws_all_edges_equally_often(density):
    draws, n, m = 3000, 5, 4
    generator = seeded()
    hits = torch.zeros(n, m)
    for _ in range(draws):
        hits[tuple(random(n, m, density, generator))] += 1
    deviation = (hits - draws * density) / math.sqrt(draws * density * (1 - density))
    assert deviation.abs().max() < 4.5


def test_random_cloud_draws_from_pairs_of_different_neurons():
    pos = torch.rand(9, 2)
    assert Random(1.0).select(pos, None).shape == (2, 72)
    assert torch.equal(Random(1.0).select(pos, None), AllToAll().select(pos, None))
    assert Random(0.25).select(pos, None).shape == (2, 18)


@pytest.mark.parametrize("draw", [lambda g: random(60, 50, 0.05, g), lambda g: random(60, 50, 0.6, g),
                                  lambda g: small_world(torch.eye(30), None, 2, 4, 2.0, g)])  # fmt: skip
def test_same_seed_same_edges_and_other_seed_other_edges(draw):
    assert torch.equal(draw(seeded(3)), draw(seeded(3)))
    assert not torch.equal(draw(seeded(3)), draw(seeded(4)))
    torch.manual_seed(5)
    first = draw(None)
    torch.manual_seed(5)
    assert torch.equal(first, draw(None))


def test_all_to_all():
    edges = all_to_all(3, 2)
    assert edges.tolist() == [[0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1]]
    assert torch.equal(edges, knn(torch.rand(3, 2), torch.rand(2, 2), 3))
    assert edges.is_contiguous()


def mean_length(pos, exponent):
    edges = small_world(pos, None, 1, 5, exponent, seeded())
    return float((pos[edges[0]] - pos[edges[1]]).norm(dim=1).mean())


def test_steeper_small_worlds_have_shorter_edges():
    pos = torch.rand(400, 2, generator=seeded(1))
    lengths = [mean_length(pos, exponent) for exponent in (0.0, 1.0, 2.0, 4.0, 60.0)]
    assert all(shorter < 0.95 * longer for longer, shorter in zip(lengths, lengths[1:], strict=False))
    assert mean_length(pos, 1e308) <= lengths[-1]


def test_small_world_draws_by_the_stated_law():
    """One target; after its nearest source is taken, the others are drawn in proportion to length**-2."""
    length = torch.tensor([0.5, 1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    targets = 20_000
    edges = small_world(length[:, None], torch.zeros(targets, 1).double(), 1, 1, 2.0, seeded())
    hits = edges[0].bincount(minlength=5)
    assert hits[0] == targets
    share = length[1:] ** -2 / (length[1:] ** -2).sum()
    deviation = (hits[1:] - targets * share) / (targets * share * (1 - share)).sqrt()
    assert deviation.abs().max() < 4.5


@pytest.mark.parametrize("exponent", [0.0, 2.0, 500.0])
def test_small_world_of_coincident_neurons(exponent):
    for pos in (torch.zeros(30, 3), torch.zeros(30, 3).index_fill(0, torch.arange(5), 1.0)):
        edges = small_world(pos, None, 2, 20, exponent, seeded())
        assert_edge_list(edges, 30, 30)
        assert (edges[1].bincount() == 22).all() and (edges[0] != edges[1]).all()


def test_wirings_are_values_with_telling_names():
    assert [repr(wiring) for wiring in ALL] == [
        "AllToAll()", "KNN(k=3)", "Radius(r=0.7)", "Radius(r=0.7, max_sources=2)", "Random(density=0.3)",
        "SmallWorld(k=2, long_range=3)",
    ]  # fmt: skip
    assert repr(KNN(2, reach="all", backend="brute")) == "KNN(k=2, backend='brute', reach='all')"
    assert repr(SmallWorld(2, 3, 1.0, reach="all")) == "SmallWorld(k=2, long_range=3, exponent=1.0, reach='all')"
    for wiring in ALL:
        assert isinstance(wiring, Wiring) and wiring.reach == "layer"
        assert eval(repr(wiring)) == wiring and hash(eval(repr(wiring))) == hash(wiring)
        with pytest.raises(AttributeError):
            wiring.reach = "all"
    assert KNN(3) != KNN(3, reach="all")
    with pytest.raises(TypeError):
        Wiring()


P, Q = torch.rand(5, 2), torch.rand(3, 2)
BAD = [
    (lambda: knn(P, Q, 6), ValueError, "k must be between 1 and the number of source neurons (5), got 6"),
    (lambda: knn(P, None, 5), ValueError, "k must be between 1 and the number of other neurons (4), got 5"),
    (lambda: KNN(1000).select(P, Q), ValueError, "number of source neurons (5), got 1000"),
    (lambda: knn(P, Q, 0), ValueError, "k must be between 1 and"),
    (lambda: knn(P, Q, True), TypeError, "k must be an int, got True (bool)"),
    (lambda: knn(P, Q, 2.0), TypeError, "k must be an int, got 2.0 (float)"),
    (lambda: KNN(0), ValueError, "k must be at least 1, got 0"),
    (lambda: KNN("3"), TypeError, "k must be an int, got '3' (str)"),
    (lambda: KNN(1, backend="faiss"), ValueError,
     "backend must be one of 'auto', 'scipy', 'torch_cluster', 'brute'"),
    (lambda: knn(P, Q, 1, "faiss"), ValueError, "got 'faiss'"),
    (lambda: radius(P, Q, 1.0, backend=None), ValueError, "got None"),
    (lambda: KNN(1, reach="far"), ValueError, "reach must be one of 'layer', 'all', got 'far'"),
    (lambda: AllToAll(reach=1), ValueError, "reach must be one of 'layer', 'all', got 1"),
    (lambda: radius(P, Q, 0.0), ValueError, "r must be finite and greater than 0, got 0.0"),
    (lambda: radius(P, Q, -1), ValueError, "got -1"),
    (lambda: Radius(math.nan), ValueError, "r must be finite and greater than 0, got nan"),
    (lambda: Radius(math.inf), ValueError, "got inf"),
    (lambda: Radius("1"), TypeError, "r must be a number, got '1' (str)"),
    (lambda: Radius(True), TypeError, "r must be a number, got True (bool)"),
    (lambda: Radius(1.0, 0), ValueError, "max_sources must be at least 1, got 0"),
    (lambda: radius(P, Q, 1.0, 1.5), TypeError, "max_sources must be an int, got 1.5 (float)"),
    (lambda: Random(0), ValueError, "density must be greater than 0 and at most 1, got 0"),
    (lambda: Random(1.01), ValueError, "at most 1, got 1.01"),
    (lambda: random(3, 3, math.nan), ValueError, "got nan"),
    (lambda: random(3, 3, None), TypeError, "density must be a number, got None (NoneType)"),
    (lambda: random(0, 3, 0.5), ValueError, "n_sources must be at least 1, got 0"),
    (lambda: random(3, 2.0, 0.5), TypeError, "n_targets must be an int, got 2.0 (float)"),
    (lambda: all_to_all(3, 0), ValueError, "n_targets must be at least 1, got 0"),
    (lambda: all_to_all(-1, 1), ValueError, "n_sources must be at least 1, got -1"),
    (lambda: SmallWorld(0, 1), ValueError, "k must be at least 1, got 0"),
    (lambda: SmallWorld(1, -1), ValueError, "long_range must be at least 0, got -1"),
    (lambda: SmallWorld(1, 1, -0.5), ValueError, "exponent must be finite and at least 0, got -0.5"),
    (lambda: small_world(P, Q, 1, 1, math.nan), ValueError,
     "exponent must be finite and at least 0, got nan"),
    (lambda: small_world(P, Q, 1, 1, "2"), TypeError, "exponent must be a number, got '2' (str)"),
    (lambda: small_world(P, Q, 3, 3, 2.0), ValueError, "number of source neurons (5), got 3 + 3 = 6"),
    (lambda: small_world(P, None, 2, 3, 2.0), ValueError, "number of other neurons (4), got 2 + 3 = 5"),
    (lambda: knn(P[0], Q, 1), ValueError,
     "source_pos must have the shape (N, d) with d at least 1, got (2,)"),
    (lambda: knn(P, Q[None], 1), ValueError,
     "target_pos must have the shape (N, d) with d at least 1, got (1, 3, 2)"),
    (lambda: knn(P[:, :0], None, 1), ValueError, "got (5, 0)"),
    (lambda: knn(P, torch.rand(3, 4), 1), ValueError,
     "must have the same number of dimensions d, got 2 and 4"),
    (lambda: knn(P.long(), Q, 1), TypeError, "source_pos must be a floating-point tensor, got torch.int64"),
    (lambda: knn(P, Q.numpy(), 1), TypeError, "target_pos must be a floating-point tensor, got ndarray"),
    (lambda: knn(P * math.nan, Q, 1), ValueError, "source_pos must be finite"),
    (lambda: AllToAll().select(P, Q / 0), ValueError, "target_pos must be finite"),
    (lambda: knn(P.double() * 1e200, Q, 1), ValueError, "must have coordinates of at most 1e+150"),
    (lambda: Random(0.5).select(P[:0], Q), ValueError,
     "source_pos must hold at least 1 neuron, got the shape (0, 2)"),
    (lambda: radius(P, Q[:0], 1.0), ValueError, "target_pos must hold at least 1 neuron"),
    (lambda: knn(P[:1], None, 1), ValueError,
     "source_pos must hold at least 2 neurons if target_pos is None, got 1"),
    (lambda: knn(P.to("meta"), Q, 1), ValueError, "source_pos must have values"),
]  # fmt: skip


@pytest.mark.parametrize("call, kind, message", BAD, ids=[message for *_, message in BAD])
def test_bad_input_is_named(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind and message in str(caught.value)


def test_positions_on_different_devices_are_named(monkeypatch):
    class Elsewhere(torch.Tensor):
        device = torch.device("cuda:1")

    with pytest.raises(ValueError, match="must be on the same device, got cpu and cuda:1"):
        knn(P, Q.as_subclass(Elsewhere), 1)


def test_numpy_numbers_are_numbers():
    assert torch.equal(knn(P, Q, np.int64(2)), knn(P, Q, 2))
    assert torch.equal(radius(P, Q, np.float32(0.5), np.int32(2)), radius(P, Q, 0.5, 2))
