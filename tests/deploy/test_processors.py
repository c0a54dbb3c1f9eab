"""Exported networks on processors of microcontrollers, in a simulator."""

import numpy as np
import pytest
import torch

import spatialgraph as sg
from spatialgraph.deploy.c.building import integer_network
from spatialgraph.deploy.c.processors import PROCESSORS, Processor, compile_for
from spatialgraph.wiring import KNN, Random

NETWORKS = {
    "all-to-all": lambda: sg.SpatialMLP([(7, 9), 30, 20, 10], dim=5, law="cosine"),
    "seeded and listed": lambda: sg.SpatialMLP([63, 30, 10], dim=3, wiring=[Random(0.3, seed=2), KNN(k=5)]),
    "spiking": lambda: sg.SpatialSNN([(7, 9), 30, 10], dim=4),
}


@pytest.fixture(params=PROCESSORS)
def processor(request):
    pytest.importorskip("unicorn")
    found = PROCESSORS[request.param]
    if not found.is_here:
        pytest.skip(f"needs {found.tools}gcc")
    return found


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_processors_compute_the_integers_of_python(name, bits, processor, tmp_path):
    torch.manual_seed(0)
    model = sg.quantize(NETWORKS[name](), bits)
    manifest = sg.to_c(model, tmp_path / "network.h")
    program = compile_for(processor, tmp_path / "network.h")
    inputs = np.random.default_rng(0).integers(0, 256, (3, 63), dtype=np.uint8)
    for sample, expected in zip(inputs, integer_network(model)(inputs), strict=True):
        measured = program.run(sample)
        np.testing.assert_array_equal(measured.outputs, expected)
        assert measured.instructions > manifest["multiply_adds"]
        assert 0 < measured.stack_bytes < 1000
    assert manifest["constant_bytes"] < program.flash_bytes < manifest["constant_bytes"] + 8000
    variables = sum(manifest[f"{what}_bytes"] for what in ("input", "output", "buffer"))
    assert variables <= program.variable_bytes < variables + 12  # words are aligned


def test_floats(processor, tmp_path):
    torch.manual_seed(0)
    model, samples = sg.quantize(NETWORKS["all-to-all"](), 8), torch.rand(2, 63)
    inputs = (samples * 255).round()
    sg.to_c(model, tmp_path / "digits.h", name="digits", arithmetic="float", samples=inputs / 255)
    program = compile_for(processor, tmp_path / "digits.h", name="digits", arithmetic="float", optimize="-O2")
    found = program.run(inputs[0].to(torch.uint8).numpy()).outputs
    with torch.no_grad():
        exact = model(inputs / 255)[0].numpy()
    np.testing.assert_allclose(found, exact, atol=0.02 * np.abs(exact).max())


def test_instructions_are_counted(processor, tmp_path):
    (tmp_path / "network.h").write_text(
        """#include <stdint.h>
#define NETWORK_INPUTS 1
#define NETWORK_OUTPUTS 1
#define NETWORK_BUFFER_WORDS 1
static inline void network_run(const uint8_t *input, int32_t *output, int32_t *buffer) {
    (void)buffer;
    for (uint32_t left = input[0]; left > 0u; left--) {
        __asm__ volatile("nop\\n nop\\n nop\\n nop\\n nop\\n nop\\n nop\\n nop");
    }
    output[0] = -7;
}
"""
    )
    program = compile_for(processor, tmp_path / "network.h", optimize="-O2")
    counts = []
    for rounds in (10, 20, 110):
        measured = program.run(np.array([rounds], dtype=np.uint8))
        assert measured.outputs.tolist() == [-7]
        counts.append(measured.instructions)
    each = (counts[1] - counts[0]) / 10
    assert 8 < each <= 11  # eight that do nothing, and those of the loop
    assert counts[2] - counts[1] == 90 * each


def test_what_cannot_be_compiled(processor, tmp_path):
    (tmp_path / "network.h").write_text("no C\n")
    with pytest.raises(RuntimeError, match=f"(?s){processor.tools}gcc failed: .*network.h"):
        compile_for(processor, tmp_path / "network.h")


def test_a_compiler_that_is_missing(tmp_path):
    other = Processor("other", "no-such-", ())
    assert not other.is_here
    with pytest.raises(FileNotFoundError, match="processor needs the compiler no-such-gcc, which is not installed"):
        compile_for(other, tmp_path / "network.h")
