"""The example of graphs of digits as a user runs it, on the bundled sample."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch

from spatialgraph.datasets import load_mnist

pytest.importorskip("matplotlib")
pytest.importorskip("lightning")

SHORT = ["--epochs", "1", "--images", "40", "--workers", "1"]
NAMES = ["SpatialGNN", "MoNet (GMMConv)", "GravNet-like"]


@pytest.fixture
def example(scripts_of, monkeypatch, tmp_path):
    """The example, in an empty folder and without a network."""
    monkeypatch.chdir(tmp_path)
    module = scripts_of("examples")("point_cloud")
    monkeypatch.setattr(module.training, "load_mnist", lambda folder: load_mnist(folder or tmp_path, download=False))
    return module


@pytest.fixture
def graphs(example):
    return example.mnist_graphs


@pytest.fixture
def images(tmp_path):
    with pytest.warns(UserWarning, match="bundled sample"):
        return load_mnist(tmp_path, download=False).train_images[:5]


def test_point_clouds(example, capsys):
    results = example.main([*SHORT, "--data", "pixels", "--seeds", "2"])
    printed = capsys.readouterr().out
    assert "Note: load_mnist returns the bundled sample" in printed
    assert [result.model for result in results] == NAMES
    assert all(f"| {name} " in printed for name in NAMES) and "seconds per epoch" in printed
    assert all(result.parameters <= 12_000 for result in results)
    assert [result.synapses for result in results] == [439_808, 89_104, None]  # None: an edge count of each image
    written = json.loads(Path("runs/point_cloud/metrics.json").read_text())
    assert written["data"] == "bundled sample as pixels"
    assert [row["mean"] for row in written["results"]] == [result.mean for result in results]
    assert Path("runs/point_cloud/point_cloud.png").exists()
    assert example.main([*SHORT, "--data", "pixels", "--seeds", "2", "--resume"]) == results


def test_superpixels_are_computed_once(example, capsys):
    pytest.importorskip("skimage")
    (first,) = example.main([*SHORT, "--networks", "spatial", "--validate"])
    assert "Computing the superpixels of 40 images" in capsys.readouterr().out
    assert len(list(Path("runs/point_cloud").glob("superpixels-*.pt"))) == 2  # of training and test images
    (again,) = example.main([*SHORT, "--networks", "spatial", "--validate", "--cache", "runs/point_cloud"])
    assert "Computing" not in capsys.readouterr().out
    assert again.accuracies == first.accuracies


def test_without_scikit_image_point_clouds_are_used(example, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "skimage", None)
    example.main([*SHORT, "--networks", "spatial"])
    assert "Note: superpixels need scikit-image" in capsys.readouterr().out
    assert json.loads(Path("runs/point_cloud/metrics.json").read_text())["data"] == "bundled sample as pixels"


def test_pixels(graphs, images):
    for image, nodes in zip(images, graphs.pixels(images), strict=True):
        drawn = torch.zeros(28, 28)
        drawn[nodes[:, 2].long(), nodes[:, 1].long()] = nodes[:, 0].float()
        torch.testing.assert_close(drawn.flatten(), image, rtol=1e-3, atol=1e-6)
        assert len(nodes) == image.count_nonzero()


def test_superpixels_are_those_of_pyg(graphs, images):
    pytest.importorskip("skimage")
    segment = graphs.ToSLIC(n_segments=75, compactness=0.25)
    found = graphs.unpacked(graphs.packed(graphs.segmented(images, workers=2)))
    for image, nodes in zip(images, found, strict=True):
        graph = segment(image.view(1, 28, 28))
        count = len(graph.pos)
        torch.testing.assert_close(nodes[:count, 1:].float(), graph.pos, rtol=0, atol=1e-2)
        torch.testing.assert_close(nodes[:count, :1].float(), graph.x, rtol=0, atol=4e-3)
        assert (nodes[count:] == torch.tensor([0.0, graphs.FAR, graphs.FAR])).all()


def test_edges_come_from_the_nearest_nodes(example, graphs, images):
    padded = graphs.padded(graphs.pixels(images))
    x, pos, entry = example.Entry()(padded)
    nodes, points = padded.shape[1], graphs.grid(7)
    assert [len(level) for level in pos] == [5 * nodes, 5 * 49] and x.shape == (5 * nodes, 1)
    between = [example.repeated(edges, 5, len(fine), len(coarse)) for fine, coarse, edges in example.between_grids()]
    edges, sizes = [entry, *between], [nodes, 49, 16, 1]
    assert [len(ends[0]) for ends in edges] == [5 * 49 * 8, 5 * 16 * 9, 5 * 16]
    for level, (sources, targets) in enumerate(edges):
        assert torch.equal(sources // sizes[level], targets // sizes[level + 1])  # of the same graph
    for target in (0, 60, 244):
        own = [int(source) for source, end in edges[0].T if end == target]
        lengths = [
            math.dist(points[target % 49].tolist(), place) for place in pos[0].view(5, nodes, 2)[target // 49].tolist()
        ]
        assert max(lengths[source % nodes] for source in own) == sorted(lengths)[7]


@pytest.mark.parametrize("network", ["spatial", "monet", "gravnet"])
def test_padding_changes_nothing(example, graphs, images, network):
    _, build, channels = example.NETWORKS[network]
    model, padded = build(channels), graphs.padded(graphs.pixels(images))  # with the statistics of the batch
    more = torch.tensor([0.0, graphs.FAR, graphs.FAR], dtype=torch.half).expand(5, 7, 3)
    y = model(padded)
    torch.testing.assert_close(model(torch.cat([padded, more], 1)), y, rtol=1e-3, atol=1e-3)
    assert y.std(0).max() > 0.1
