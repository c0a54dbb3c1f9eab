"""Triton kernels compiled for GPUs that need not be here: they keep all their numbers in registers."""

import pytest
from conftest import DEVICE

pytest.importorskip("triton")

import compiled_kernels  # noqa: E402

from spatialgraph.laws import LAWS  # noqa: E402

pytestmark = [
    pytest.mark.skipif(DEVICE.type == "sim", reason="the interpreter compiles nothing"),
    pytest.mark.skipif(not (compiled_kernels.TOOLS / "cuobjdump").exists(), reason="needs Triton with CUDA's tools"),
]


def spilled(kernels):
    return {name: found for name, found in kernels if found["stack"]}


@pytest.mark.parametrize(("processor", "is_exact"), [(80, True), (80, False), (90, False)])
@pytest.mark.parametrize("name", LAWS)
def test_kernels_of_laws(name, is_exact, processor):
    assert not spilled(compiled_kernels.of_law(name, processor, is_exact))


@pytest.mark.parametrize("processor", [80, 90])
def test_other_kernels(processor):
    assert not spilled(compiled_kernels.of_other(processor))
