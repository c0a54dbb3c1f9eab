"""Triton kernels compiled for GPUs that need not be here: they keep all their numbers in registers."""

import subprocess
from pathlib import Path

import pytest
from conftest import DEVICE

triton = pytest.importorskip("triton")

from spatialgraph.kernels.cuda import compressed, delays, dense, leaky, normalization  # noqa: E402
from spatialgraph.kernels.cuda.loops import compressed as compressed_loops  # noqa: E402
from spatialgraph.kernels.cuda.loops import delays as delay_loops  # noqa: E402
from spatialgraph.kernels.cuda.loops import dense as dense_loops  # noqa: E402
from spatialgraph.kernels.cuda.loops import leaky as leaky_loops  # noqa: E402
from spatialgraph.kernels.cuda.loops import normalization as normalization_loops  # noqa: E402
from spatialgraph.laws import LAWS, make_law  # noqa: E402

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
pytestmark = [
    pytest.mark.skipif(DEVICE.type == "sim", reason="the interpreter compiles nothing"),
    pytest.mark.skipif(not (TOOLS / "cuobjdump").exists(), reason="needs Triton with CUDA's tools"),
]

NUMBERS = {"softening_square", "first", "second", "third", "epsilon", "beta", "threshold", "slope", "longest"}
WHOLE = {"sources", "targets", "batch", "neurons", "count", "steps", "rows", "edges", "others", "entries", "offset"}
INDICES = {"pointer": "*i64", "column": "*i32", "order": "*i32", "other": "*i32", "source": "*i32"}


def resources(kernel, constants, processor, tmp_path, pointers=(), warps=4):
    """Compile a kernel, and return its registers and the bytes of its stack, where spilled numbers go."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    kinds = {
        name: "constexpr"
        if name in constants
        else "fp32"
        if name in NUMBERS - set(pointers)
        else "i32"
        if name in WHOLE or name.endswith(("stride", "axis", "_entries"))
        else INDICES.get(name, "*fp32")
        for name in names
    }
    places = {(names.index(name),): value for name, value in constants.items()}
    source, target = ASTSource(kernel, kinds, places), GPUTarget("cuda", processor, 32)
    binary = triton.compile(source, target=target, options={"num_warps": warps})
    file = tmp_path / "kernel.cubin"
    file.write_bytes(binary.asm["cubin"])
    used = subprocess.run([TOOLS / "cuobjdump", "-res-usage", file], capture_output=True, text=True, check=True).stdout
    found = dict(part.split(":") for part in used.split() if part.count(":") == 1 and part.split(":")[1].isdigit())
    return int(found["REG"]), int(found["STACK"])


def first_is_tensor(name):
    return "learnable" in make_law(name).settings()


@pytest.mark.parametrize("processor", [80, 90])
@pytest.mark.parametrize("name", LAWS)
def test_pairs(name, processor, tmp_path):
    is_tensor = first_is_tensor(name)
    pointers = ["first"] if is_tensor else []
    settings = {"FORMULA": name, "DIM": 3, "FIRST_IS_TENSOR": is_tensor}
    bj, bi, warps = dense._FILL
    filled = resources(dense_loops.fill, settings | {"BJ": bj, "BI": bi}, processor, tmp_path, pointers, warps)
    bj, bi, warps = dense._PULL
    settings |= {"IS_LEARNT": is_tensor, "BJ": bj, "BI": bi}
    pulled = resources(dense_loops.pull, settings, processor, tmp_path, pointers, warps)
    assert filled[1] == pulled[1] == 0


@pytest.mark.parametrize("processor", [80, 90])
@pytest.mark.parametrize("name", LAWS)
def test_edges(name, processor, tmp_path):
    is_tensor = first_is_tensor(name)
    pointers = ["first"] if is_tensor else []
    settings = {"FORMULA": name, "DIM": 3, "AXES": 4, "FIRST_IS_TENSOR": is_tensor, "BLOCK": compressed._BLOCK}
    _, weighed = resources(compressed_loops.weigh, settings, processor, tmp_path, pointers)
    pulled = [
        resources(compressed_loops.pull, settings | {"IS_SOURCE": is_source}, processor, tmp_path, pointers)[1]
        for is_source in (True, False)
    ]
    assert [weighed, *pulled] == [0, 0, 0]


@pytest.mark.parametrize("processor", [80, 90])
@pytest.mark.parametrize("axis", [0, 1])
def test_normalisation(axis, processor, tmp_path):
    for kernel, (bb, bn) in (
        (normalization_loops.forward, normalization._ROWS[axis]),
        (normalization_loops.backward, normalization._ROWS[axis]),
        (normalization_loops.bias_gradient, normalization._COLUMNS[axis]),
    ):
        _, stack = resources(kernel, {"RECTIFY": True, "BB": bb, "BN": bn}, processor, tmp_path)
        assert stack == 0


@pytest.mark.parametrize("processor", [80, 90])
@pytest.mark.parametrize("reset", [0, 1, 2])
def test_leaky_integration(reset, processor, tmp_path):
    shared = {"RESET": reset, "HAS_SPIKES": True, "HAS_POTENTIALS": True, "BLOCK": leaky._BLOCK}
    _, forward = resources(leaky_loops.forward, shared | {"HAS_SHARES": True}, processor, tmp_path)
    _, backward = resources(leaky_loops.backward, shared | {"HAS_SUM": True, "HAS_LAST": True}, processor, tmp_path)
    assert forward == backward == 0


@pytest.mark.parametrize("processor", [80, 90])
@pytest.mark.parametrize("is_listed", [False, True])
def test_delays(is_listed, processor, tmp_path):
    be, br = delays._GATHER
    for is_back in (False, True):
        settings = {"IS_LISTED": is_listed, "IS_BACK": is_back, "BE": be, "BR": br}
        assert resources(delay_loops.gather, settings, processor, tmp_path)[1] == 0
    be, br = delays._CORRELATE
    settings = {"IS_LISTED": is_listed, "BE": be, "BR": br}
    assert resources(delay_loops.correlate, settings, processor, tmp_path)[1] == 0
