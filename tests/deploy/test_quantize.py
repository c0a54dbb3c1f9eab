"""Quantised networks: codes, scales, files."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spatialgraph as sg
from spatialgraph.graph.quantization import codes_of, fit_quantization, set_codes_
from spatialgraph.graph.scales import Quantization, best_scale


def model(**options):
    torch.manual_seed(0)
    found = sg.SpatialMLP([(5, 6), 20, 4], **{"dim": 4} | options)
    with torch.no_grad():
        found.graph.raw_bias.normal_()
    return found


KINDS = [
    {"polarity_mode": mode, "spacing": spacing, "anchored": anchored}
    for mode, spacing, anchored in itertools.product(("graded", "binary"), ("learned", "free"), (None, [1]))
]
KINDS += [{"grid_polarity": "axes"}, {"weight_mode": "free", "anchored": [0, 1, 2]}]


@pytest.mark.parametrize("bits", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("options", KINDS)
def test_files_hold_codes(options, bits, tmp_path):
    whole = model(**options)
    found = sg.quantize(whole, bits)
    sg.save(found, tmp_path / "codes.safetensors")
    sg.save(whole, tmp_path / "floats.safetensors")
    loaded, x = sg.load(tmp_path / "codes.safetensors"), torch.rand(9, 30)
    assert torch.equal(loaded(x), found(x)) and loaded.graph.quantization == found.graph.quantization
    parameters = sum(p.numel() for p in found.graph.parameters())
    saved = (tmp_path / "floats.safetensors").stat().st_size - (tmp_path / "codes.safetensors").stat().st_size
    if options.get("weight_mode") != "free":
        assert saved > parameters * (32 - bits) / 8 - 800  # the header is longer


@pytest.mark.parametrize("options", KINDS)
def test_every_number_is_a_code_times_a_scale(options):
    found = sg.quantize(model(**options), 4)
    graph, quantization = found.graph, found.graph.quantization
    steps = graph.pos.detach().double()[:, :3] / quantization.unit
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    for axis, multiplier in enumerate(quantization.multipliers[:3]):
        codes = (graph.positions.coords.detach().double()[:, axis] / (quantization.unit * multiplier)).round()
        assert codes.abs().max() <= 7 if codes.numel() else True
    for number, scale in enumerate(quantization.polarity_scales[:-1]):
        if scale and options.get("grid_polarity") != "axes":
            codes = graph.polarity.detach().double()[graph.layer == number] / scale
            torch.testing.assert_close(codes, codes.round(), atol=1e-3, rtol=0)


@given(seed=st.integers(0, 1000), bits=st.integers(2, 8), scale=st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_scales_are_no_worse_than_the_largest_number(seed, bits, scale):
    values = scale * torch.randn(50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    largest = 2 ** (bits - 1) - 1

    def error(step):
        return float(((values / step).round().clamp(-largest, largest) * step - values).square().sum())

    assert error(best_scale(values, bits)) <= error(float(values.abs().max()) / largest) + 1e-12


def test_nothing_but_zeros():
    graph = model().graph
    with torch.no_grad():
        for parameter in graph.parameters():
            parameter.zero_()
    assert not sg.quantize(graph, 4).pos.any()


def test_the_network_itself_does_not_change():
    whole, x = model(), torch.rand(5, 30)
    before = whole(x)
    found = sg.quantize(whole, 8)
    assert torch.equal(whole(x), before) and whole.graph.quantization is None
    assert 0 < (found(x) - before).abs().max() < 0.2 * before.std()


def test_changed_networks_are_saved_as_they_are(tmp_path):
    found = sg.quantize(model(), 4)
    with torch.no_grad():
        found.graph.raw_bias.add_(1e-3)
    sg.save(found, tmp_path / "network.safetensors")
    loaded, x = sg.load(tmp_path / "network.safetensors"), torch.rand(3, 30)
    assert loaded.graph.quantization is None and torch.equal(loaded(x), found(x))


def test_codes_that_are_set_are_read_again():
    graph = model().graph
    quantization = fit_quantization(graph, 5)
    codes = {
        name: torch.randint(-15, 16, each.shape).to(torch.int8) for name, each in codes_of(graph, quantization).items()
    }
    set_codes_(graph, quantization, codes)
    assert all(torch.equal(each, codes[name]) for name, each in codes_of(graph, quantization).items())


@pytest.mark.parametrize(
    ("bits", "error", "message"),
    [
        (1, ValueError, "bits must be at least 2, got 1"),
        (9, ValueError, "bits must be at most 8, got 9"),
        (4.0, TypeError, "bits must be an int, got 4.0"),
        (True, TypeError, "bits must be an int, got True"),
    ],
)
def test_wrong_bits(bits, error, message):
    with pytest.raises(error, match=message):
        sg.quantize(model(), bits)


def test_wrong_networks():
    with pytest.raises(ValueError, match="grid_polarity must be 'cell' where binary polarities are quantised"):
        sg.quantize(model(polarity_mode="binary", grid_polarity="axes"))
    with pytest.raises(TypeError, match="network must be"):
        sg.quantize(torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 9}, "bits must be at most 8"),
        ({"unit": 0.0}, "unit must be"),
        ({"multipliers": [0, 1, 1]}, "multipliers must be at least 1"),
        ({"bias_scales": [-1.0]}, "bias_scales must not be negative"),
        ({"more": 1}, "quantization must have"),
    ],
)
def test_wrong_settings(changes, message):
    found = fit_quantization(model().graph, 8).to_settings()
    with pytest.raises(ValueError, match=message):
        Quantization.from_settings(found | changes)


def trained_a_little(found, steps=3):
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(sg.parameter_groups(found))
    for _ in range(steps):
        loss = found(torch.rand(20, 30)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("options", KINDS)
def test_networks_train_with_rounded_numbers(options, bits, tmp_path):
    found, x = model(**options), torch.rand(9, 30)
    quantizer = sg.QuantizeWhileTraining(bits).attach(found)
    before = {name: values.clone() for name, values in found.named_parameters()}
    trained_a_little(found)
    assert all(not torch.equal(values, before[name]) for name, values in found.named_parameters())
    rounded = found(x)
    quantizer.remove()
    near = 1e-6 if options.get("polarity_mode") != "binary" else torch.inf  # binary polarities are rounded by remove()
    assert (found(x) - rounded).abs().max() <= near
    sg.save(found, tmp_path / "network.safetensors")
    assert torch.equal(sg.load(tmp_path / "network.safetensors")(x), found(x))
    assert found.graph.quantization.bits == bits
    assert set(found.state_dict()) == set(model(**options).state_dict())


def test_gradients_are_those_of_the_rounded_network():
    found, x = model(), torch.rand(9, 30)
    same = sg.quantize(found, 8)
    quantizer = sg.QuantizeWhileTraining(8).attach(found)
    same.graph.load_state_dict({**same.graph.state_dict(), "raw_bias": found.graph.raw_bias.detach()})
    with torch.no_grad():
        same.graph.raw_polarity.copy_(found.graph.raw_polarity)
        same.graph.positions.coords.copy_(found.graph.positions.coords)
        same.graph.positions.grid_coords.copy_(found.graph.positions.grid_coords)
    for network in (found, same):
        network(x).square().sum().backward()
    grads = {name.split(".parametrizations.")[-1]: p.grad for name, p in found.named_parameters()}
    torch.testing.assert_close(grads["coords.original"], same.graph.positions.coords.grad)
    torch.testing.assert_close(grads["raw_bias.original"], same.graph.raw_bias.grad)
    quantizer.remove()


def test_rates_are_those_of_the_numbers_behind():
    found = model()
    plain = {group["name"]: sum(p.numel() for p in group["params"]) for group in sg.parameter_groups(found)}
    sg.QuantizeWhileTraining(4).attach(found)
    assert {group["name"]: sum(p.numel() for p in group["params"]) for group in sg.parameter_groups(found)} == plain


def test_scales_stay_and_are_part_of_checkpoints():
    found, other, x = model(), model(), torch.rand(9, 30)
    quantizer = sg.QuantizeWhileTraining(4).attach(found)
    largest = found.graph.pos[:, 0].abs().max()
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.mul_(3.0)
    assert found.graph.pos[:, 0].abs().max() <= 2 * 7 / 6 * largest  # of a row and a column, clipped
    again = sg.QuantizeWhileTraining(4).attach(other)
    other.load_state_dict(found.state_dict())
    assert torch.equal(other(x), found(x))
    for each in (quantizer, again):
        each.remove()
    assert other.graph.quantization == found.graph.quantization
    assert torch.equal(other(x), found(x))


def test_one_quantizer_at_a_time(tmp_path):
    found = model()
    quantizer = sg.QuantizeWhileTraining(4).attach(found)
    for other in (quantizer, sg.QuantizeWhileTraining(4)):
        with pytest.raises(ValueError, match="network must not be quantised or parametrised already"):
            other.attach(found)
    with pytest.raises(RuntimeError, match="coords must be a parameter or buffer to be set or saved"):
        sg.save(found, tmp_path / "network.safetensors")
    with pytest.raises(RuntimeError, match="coords must be a parameter or buffer to be set or saved"):
        found.graph.place_(found.graph.pos.detach())
    quantizer.remove()
    quantizer.remove()
    with pytest.raises(ValueError, match="bits must be at most 8"):
        sg.QuantizeWhileTraining(9)


def test_biases_that_start_at_zero_are_learnt():
    torch.manual_seed(0)
    model = sg.SpatialMLP([8, 6, 3])
    quantizer = sg.QuantizeWhileTraining(4).attach(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(20):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.rand(20, 8)), torch.arange(20) % 3).backward()
        optimizer.step()
    before = model.graph.bias.detach()
    quantizer.remove()
    assert before.abs().max() > 0.01 and min(model.graph.quantization.bias_scales[1:]) > 0
    torch.testing.assert_close(model.graph.bias.detach(), before, rtol=0.0, atol=0.1 * float(before.abs().max()))
