"""Triton kernels compiled for GPUs that need not be here, and what they take of them."""

import subprocess
import tempfile
from pathlib import Path

import triton

from spatialgraph.kernels.cuda import compressed, delays, dense, leaky, normalization, products, rows
from spatialgraph.kernels.cuda.loops import compressed as compressed_loops
from spatialgraph.kernels.cuda.loops import delays as delay_loops
from spatialgraph.kernels.cuda.loops import dense as dense_loops
from spatialgraph.kernels.cuda.loops import leaky as leaky_loops
from spatialgraph.kernels.cuda.loops import normalization as normalization_loops
from spatialgraph.kernels.cuda.loops import products as product_loops
from spatialgraph.kernels.cuda.loops import rows as row_loops
from spatialgraph.laws import make_law

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"

NUMBERS = {"softening_square", "first", "second", "third", "epsilon", "beta", "threshold", "slope", "longest"}
WHOLE = set(
    "sources targets batch neurons count steps rows columns edges others entries offset inner outer share".split()
)
INDICES = {"pointer": "*i64", "column": "*i32", "order": "*i32", "other": "*i32", "source": "*i32"}
IN_HALF = {"x", "grad", "out"}


def resources(kernel, constants, processor, pointers=(), warps=4, stages=3, is_half=False):
    """Compile a kernel for a compute capability such as 90, as a launch with aligned tensors does.

    Returns the registers of a thread, the bytes of its stack, where numbers go that do not fit, and the shared bytes.
    """
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    kinds = {name: "constexpr" if name in constants else _kind(name, pointers, is_half) for name in names}
    places = {(names.index(name),): value for name, value in constants.items()}
    aligned = {(at,): [["tt.divisibility", 16]] for at, name in enumerate(names) if kinds[name].startswith("*")}
    source = ASTSource(kernel, kinds, places, aligned)
    options = {"num_warps": warps, "num_stages": stages}
    binary = triton.compile(source, target=GPUTarget("cuda", processor, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary.asm["cubin"])
        file.flush()
        command = [TOOLS / "cuobjdump", "-res-usage", file.name]
        used = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = dict(part.split(":") for part in used.split() if part.count(":") == 1 and part.split(":")[1].isdigit())
    return {"registers": int(found["REG"]), "stack": int(found["STACK"]), "shared": binary.metadata.shared}


def _kind(name, pointers, is_half):
    if name in NUMBERS - set(pointers):
        return "fp32"
    if name in WHOLE or name.endswith(("_stride", "_axis", "_entries")):
        return "i32"
    return "*bf16" if is_half and name in IN_HALF else INDICES.get(name, "*fp32")


def of_law(name, processor, is_exact=None):
    """Yield a name and the resources of each kernel of a law, with the tiles that the library chooses.

    ``is_exact`` restricts products to those of single precision, or to rounded ones.
    """
    is_tensor = "learnable" in make_law(name).settings()
    pointers = ["first"] if is_tensor else []
    law = {"FORMULA": name, "DIM": 3, "FIRST_IS_TENSOR": is_tensor}
    bj, bi, warps = dense._FILL
    yield "fill", resources(dense_loops.fill, law | {"BJ": bj, "BI": bi}, processor, pointers, warps)
    bj, bi, warps = dense._PULL
    settings = law | {"IS_LEARNT": is_tensor, "BJ": bj, "BI": bi}
    yield "pull", resources(dense_loops.pull, settings, processor, pointers, warps)
    settings = law | {"AXES": 4, "BLOCK": compressed._BLOCK}
    yield "edges: weigh", resources(compressed_loops.weigh, settings, processor, pointers)
    for is_source in (True, False):
        kernel = compressed_loops.pull
        yield f"edges: pull {is_source}", resources(kernel, settings | {"IS_SOURCE": is_source}, processor, pointers)
    yield from _products(law, processor, pointers, is_exact)


def _products(law, processor, pointers, is_exact):
    for precision, is_half in (("ieee", False), ("tf32", False), ("tf32", True)):
        exact = precision == "ieee"
        if is_exact is not None and (exact != is_exact or is_half):
            continue
        label = "bfloat16" if is_half else precision
        options = {"stages": 2 if exact else 3, "is_half": is_half}
        shared = law | {"PRECISION": precision}
        for scales_inner in (True, False) if is_exact is None else (True,):
            for bb, bo, bi, warps in (products._EXACT if exact else products._ROUNDED).values():
                settings = shared | {"BB": bb, "BO": bo, "BI": bi, "SCALES_INNER": scales_inner}
                settings |= {"HAS_BIAS": True, "RECTIFY": True}
                found = resources(product_loops.multiply, settings, processor, pointers, warps, **options)
                yield f"multiply {label} {bb}x{bo}x{bi} {'forward' if scales_inner else 'back'}", found
        bj, bi, bb, warps = products._PULL_EXACT if exact else products._PULL_ROUNDED
        settings = shared | {"IS_LEARNT": law["FIRST_IS_TENSOR"], "BJ": bj, "BI": bi, "BB": bb}
        found = resources(product_loops.pull_product, settings, processor, pointers, warps, **options)
        yield f"pull_product {label} {bj}x{bi}x{bb}", found


def of_other(processor):
    """Yield a name and the resources of each kernel without a law."""
    for axis in (0, 1):
        for kernel, (bb, bn) in (
            ("forward", normalization._ROWS[axis]),
            ("backward", normalization._ROWS[axis]),
            ("bias_gradient", normalization._COLUMNS[axis]),
        ):
            settings = {"RECTIFY": True, "BB": bb, "BN": bn}
            found = resources(getattr(normalization_loops, kernel), settings, processor)
            yield f"normalization: {kernel} by axis {axis}", found
    for reset in (0, 1, 2):
        shared = {"RESET": reset, "HAS_SPIKES": True, "HAS_POTENTIALS": True, "BLOCK": leaky._BLOCK}
        yield f"leaky: forward, reset {reset}", resources(leaky_loops.forward, shared | {"HAS_SHARES": True}, processor)
        shared |= {"HAS_SUM": True, "HAS_LAST": True}
        yield f"leaky: backward, reset {reset}", resources(leaky_loops.backward, shared, processor)
    for is_listed in (False, True):
        be, br = delays._GATHER
        for is_back in (False, True):
            settings = {"IS_LISTED": is_listed, "IS_BACK": is_back, "BE": be, "BR": br}
            yield f"delays: gather {is_listed} {is_back}", resources(delay_loops.gather, settings, processor)
        be, br = delays._CORRELATE
        settings = {"IS_LISTED": is_listed, "BE": be, "BR": br}
        yield f"delays: correlate {is_listed}", resources(delay_loops.correlate, settings, processor)
    be, br = rows._PRODUCT
    settings = {"HAS_BIAS": True, "RECTIFY": True, "BE": be, "BR": br}
    yield "rows: multiply", resources(row_loops.multiply, settings, processor)
    be, br = rows._SAMPLED
    yield "rows: sample", resources(row_loops.sample, {"HAS_ACTIVE": True, "BE": be, "BR": br}, processor)
