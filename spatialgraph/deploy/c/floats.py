"""C code of floats, which computes what the quantised model does, but for the table of the law and rounding."""

from typing import cast

import numpy as np

from spatialgraph.deploy.c.constants import Array, Names
from spatialgraph.deploy.c.network import IntegerNetwork
from spatialgraph.deploy.c.source import Arithmetic, filled
from spatialgraph.graph.scales import Quantization
from spatialgraph.models.mlp import SpatialMLP
from spatialgraph.models.snn import SpatialSNN
from spatialgraph.neurons.leaky import Leaky

__all__ = ["Floats"]


class Floats(Arithmetic):
    """Floats of single precision.

    Args:
        network: the network.
        names: what begins the names of functions and constants.
        model: the model that the network was made of.
        quantization: its scales.
        input_unit: what one step of an input byte stands for.
    """

    number, activation = "float", "float"

    def __init__(
        self,
        network: IntegerNetwork,
        names: Names,
        model: SpatialMLP | SpatialSNN,
        quantization: Quantization,
        input_unit: float,
    ) -> None:
        super().__init__(network, names)
        self._model, self._scales, self._input_unit = model, quantization, input_unit

    def law(self) -> Array:  # noqa: D102
        table = self.network.stages[0].table
        return Array(self.names.constant("law"), table.exact.astype(np.float32))

    def words(self, count: int) -> int:  # noqa: D102
        return count

    def helpers(self) -> str:  # noqa: D102
        table = self.network.stages[0].table
        mask, step = (1 << table.shift) - 1, _float(2.0**-table.shift)
        root = _ROOT if self._model.normalize and len(self.network.stages) > 1 else ""
        return filled(
            _WEIGHT + root, self.names, start=f"{table.start}u", shift=table.shift, mask=f"{mask}u", step=step
        )

    def sent(self, number: int, polarity: str) -> str:  # noqa: D102
        unit = self._scales.polarity_scales[number] * (1.0 if number else self._input_unit)
        unit *= self._steps(number) if not number else 1.0  # spikes are averaged where they are counted
        return f"sent * (float){polarity} * {_float(unit)}"

    def answer(self, number: int) -> str:  # noqa: D102
        names, stage = self.names, self.network.stages[number]
        code, biases = names.constant("code"), names.constant(f"biases_{number + 1}")
        bias = f"(float){code}({biases}, target) * {_float(self._scales.bias_scales[number + 1] * self._steps(number))}"
        values = {"count": stage.target.count, "bias": bias, "root": names.function("root")}
        if stage.response is None:
            return filled(_OUTPUTS, names, **values)
        scaled, before = "sums[target]", ""
        if self._model.normalize:
            drive = "" if isinstance(self._model, SpatialMLP) else f" * {_float(self._model.drive)}"
            before, scaled = _SPREAD, f"(sums[target] - mean) / spread{drive}"
        respond = _RECTIFIED if isinstance(self._model, SpatialMLP) else self._leaking(self._model)
        return filled(before + _HIDDEN.replace("@respond", respond), names, scaled=scaled, **values)

    def _steps(self, number: int) -> float:
        """Return how often a bias counts: outputs that integrate add it in each step."""
        model, is_last = self._model, number == len(self.network.stages) - 1
        if isinstance(model, SpatialMLP) or not is_last:
            return 1.0
        return float(model.integrator.shares(model.num_steps).sum())

    def _leaking(self, model: SpatialSNN) -> str:
        neurons = cast(Leaky, model.hidden_of(0))
        zeroed = {"zero": "fired ? 0.0f : "}.get(neurons.reset_mechanism, "")
        threshold = _float(neurons.threshold)
        lowered = {"subtract": f" - (fired ? {threshold} : 0.0f)"}.get(neurons.reset_mechanism, "")
        return filled(
            _LEAKING,
            self.names,
            steps=model.num_steps,
            threshold=threshold,
            beta=_float(neurons.beta),
            kept=_float(model.integrator.beta),
            left=_float(1.0 / model.num_steps),
            zeroed=zeroed,
            lowered=lowered,
        )


def _float(value: float) -> str:
    """Return a constant of single precision.

    Example:
        >>> _float(0.5), _float(2.0)
        ('0.5f', '2.0f')
    """
    text = repr(float(np.float32(value)))
    return f"{text}f"


_WEIGHT = """
/* The weight of a pair of neurons at a squared distance: a straight line between two entries of the table. */
static inline float @{f}_weight(uint32_t square) {
    const uint32_t offset = square - @start;
    const uint32_t at = offset >> @shift;
    const float part = (float)(offset & @mask) * @step;
    return @{C}_LAW[at] + (@{C}_LAW[at + 1u] - @{C}_LAW[at]) * part;
}
"""

_ROOT = """
/* The square root, by Newton's method from above. */
static inline float @{f}_root(float x) {
    float root = x > 1.0f ? x : 1.0f;
    for (;;) {
        const float next = 0.5f * (root + x / root);
        if (!(next < root)) {
            return root;
        }
        root = next;
    }
}
"""

_OUTPUTS = """    for (uint32_t target = 0u; target < @{count}u; target++) {
        sums[target] += @bias;
    }
"""

_SPREAD = """    float mean = 0.0f, spread = 0.0f;
    for (uint32_t target = 0u; target < @{count}u; target++) {
        mean += sums[target] / @count.0f;
    }
    for (uint32_t target = 0u; target < @{count}u; target++) {
        spread += (sums[target] - mean) * (sums[target] - mean) / @count.0f;
    }
    spread = @root(spread + 1e-5f);
"""

_HIDDEN = """    for (uint32_t target = 0u; target < @{count}u; target++) {
        const float received = @scaled + @bias;
@respond    }
"""

_RECTIFIED = """        sums[target] = received > 0.0f ? received : 0.0f;
"""

_LEAKING = """        float potential = 0.0f, read = 0.0f, total = 0.0f;
        for (uint32_t step = 0u; step < @{steps}u; step++) {
            const int fired = potential > @threshold;
            potential = @beta * (@{zeroed}potential) + received@lowered;
            read = @kept * read + (potential > @threshold ? 1.0f : 0.0f);
            total += read * @left;
            (void)fired;
        }
        sums[target] = total;
"""
