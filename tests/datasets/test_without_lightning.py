"""Data sets are tensors, for whatever trains on them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import spatialgraph

SCRIPT = """
import sys, warnings
sys.modules["lightning"] = sys.modules["pytorch_lightning"] = None
from spatialgraph import datasets

warnings.simplefilter("ignore")
digits = datasets.load_mnist(sys.argv[1], download=False)
images, labels = datasets.validation_split(digits)[:2]
points, classes = datasets.yin_yang(5, seed=0)
print([tuple(part.shape) for part in (images, labels, points, classes)])
"""


def test_they_need_no_lightning(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(spatialgraph.__file__).parents[1])}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[(5000, 784), (5000,), (5, 4), (5,)]"


def test_training_hands_them_on():
    pytest.importorskip("lightning")
    from spatialgraph import datasets, training

    assert all(getattr(training, name) is getattr(datasets, name) for name in datasets.__all__)
    assert set(datasets.__all__) <= set(training.__all__)
