"""C code of whole numbers, which computes what the network in Python does, to the bit."""

from typing import cast

from spatialgraph.deploy.c.constants import Array, Names
from spatialgraph.deploy.c.network import IntegerStage
from spatialgraph.deploy.c.responses import (
    BIAS_BITS,
    DEVIATION_BITS,
    LEAK_BITS,
    POINT,
    Leaking,
    Rectified,
    Response,
)
from spatialgraph.deploy.c.source import Arithmetic, filled

__all__ = ["Integers"]


class Integers(Arithmetic):
    """Whole numbers of 32 bits, and bytes between layers."""

    number, activation = "int32_t", "uint8_t"

    def law(self) -> Array:  # noqa: D102
        return Array(self.names.constant("law"), self.network.stages[0].table.entries)

    def words(self, count: int) -> int:  # noqa: D102
        return -(-count // 4)

    def helpers(self) -> str:  # noqa: D102
        stages = self.network.stages
        parts = [_WEIGHT, *([_CLIP] if len(stages) > 1 else [])]
        if any(stage.response is not None and stage.response.normalize for stage in stages):
            parts.append(_ROOT)
        return filled("".join(parts), self.names, **_table(stages[0]))

    def sent(self, number: int, polarity: str) -> str:  # noqa: D102
        shift = self.network.stages[number].shift
        return f"(sent * {polarity} + {(1 << shift) >> 1}) >> {shift}"

    def answer(self, number: int) -> str:  # noqa: D102
        stage = self.network.stages[number]
        if stage.response is None:
            return _outputs(number, stage, self.names)
        return _hidden(number, stage, stage.response, self.names)


_WEIGHT = """
/* The weight of a pair of neurons at a squared distance: a straight line between two entries of the table. */
static inline int32_t @{f}_weight(uint32_t square) {
    const uint32_t offset = square - @start;
    const uint32_t at = offset >> @shift;
    const int32_t part = (int32_t)((offset >> @fine) & @mask);
    const int32_t low = @{C}_LAW[at];
    return low + (((@{C}_LAW[at + 1u] - low) * part + @half) >> @fraction);
}
"""

_CLIP = """
static inline int32_t @{f}_clip(int64_t x, int32_t most) {
    return (int32_t)(x < -most ? -most : x > most ? most : x);
}
"""

_ROOT = """
/* The largest whole number whose square is no more than x. */
static inline uint32_t @{f}_root(uint64_t x) {
    uint64_t root = 0u, bit = (uint64_t)1u << 62;
    while (bit > x) {
        bit >>= 2;
    }
    while (bit != 0u) {
        if (x >= root + bit) {
            x -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
        bit >>= 2;
    }
    return (uint32_t)root;
}
"""


def _table(stage: IntegerStage) -> dict[str, str]:
    table = stage.table
    return {
        "start": f"{table.start}u",
        "shift": str(table.shift),
        "fine": str(table.shift - table.fraction),
        "mask": f"{(1 << table.fraction) - 1}u",
        "half": str((1 << table.fraction) >> 1),
        "fraction": str(table.fraction),
    }


def _outputs(number: int, stage: IntegerStage, names: Names) -> str:
    code, biases = names.constant("code"), names.constant(f"biases_{number + 1}")
    half = (1 << stage.bias_shift) >> 1
    return f"""    for (uint32_t target = 0u; target < {stage.target.count}u; target++) {{
        const int64_t bias = (int64_t){code}({biases}, target) * {stage.bias} + {half};
        sums[target] += (int32_t)(bias >> {stage.bias_shift});
    }}
"""


def _hidden(number: int, stage: IntegerStage, response: Response, names: Names) -> str:
    count, code, biases = stage.target.count, names.constant("code"), names.constant(f"biases_{number + 1}")
    before = _deviations(count, response.epsilon, names) if response.normalize else ""
    inner = f"(sums[target] * {1 << POINT}) / spread" if response.normalize else "sums[target]"
    half = (1 << response.shift) >> 1
    scaled = f"((int64_t)({inner}) * {response.multiplier} + {half}) >> {response.shift}"
    respond = _leaking(response, names) if isinstance(response, Leaking) else _rectified(cast(Rectified, response))
    return f"""    uint8_t *activations = (uint8_t *)sums; /* a byte lies in a word that is read before it is written */
{before}    for (uint32_t target = 0u; target < {count}u; target++) {{
        const int32_t bias = ({code}({biases}, target) * {response.bias} + {1 << (BIAS_BITS - 1)}) >> {BIAS_BITS};
        int32_t received = {names.function("clip")}(({scaled}) + bias, {response.most});
{respond}    }}
"""


def _rectified(response: Rectified) -> str:
    limit = (256 << 16) // max(1, response.scale) + 1
    return f"""        received = received < 0 ? 0 : received > {limit} ? {limit} : received;
        received = (received * {response.scale}) >> 16;
        activations[target] = (uint8_t)(received > 255 ? 255 : received);
"""


def _leaking(response: Leaking, names: Names) -> str:
    resets = {
        "subtract": ("", f" - (fired ? {response.threshold} : 0)"),
        "zero": ("fired ? 0 : ", ""),
        "none": ("", ""),
    }
    before, after = resets[response.reset]
    return f"""        int32_t potential = 0; /* fits, for what is received is clipped */
        uint32_t total = 0u;
        for (uint32_t step = 0u; step < {len(response.shares)}u; step++) {{
            const int fired = potential > {response.threshold};
            const int64_t left = (int64_t)({before}potential) * {response.leak} + {1 << (LEAK_BITS - 1)};
            potential = (int32_t)(left >> {LEAK_BITS}) + received{after};
            total += potential > {response.threshold} ? {names.constant("shares")}[step] : 0u;
            (void)fired;
        }}
        activations[target] = (uint8_t)(total >> 8);
"""


def _deviations(count: int, epsilon: int, names: Names) -> str:
    """Return the lines that replace sums by deviations from their mean, and find their spread."""
    return f"""    int64_t total = 0;
    uint64_t squares = 0u;
    uint32_t largest = 0u;
    int lost = 0;
    int32_t mean, spread;
    for (uint32_t target = 0u; target < {count}u; target++) {{
        total += sums[target];
    }}
    mean = (int32_t)(total / {count} - (total % {count} < 0));
    for (uint32_t target = 0u; target < {count}u; target++) {{
        const int32_t apart = sums[target] - mean;
        const uint32_t size = (uint32_t)(apart < 0 ? -apart : apart);
        sums[target] = apart;
        largest = size > largest ? size : largest;
    }}
    while ((largest >> lost) >= {1 << DEVIATION_BITS}u) {{
        lost++;
    }}
    for (uint32_t target = 0u; target < {count}u; target++) {{
        sums[target] >>= lost;
        squares += (uint64_t)((int64_t)sums[target] * sums[target]);
    }}
    squares = squares / {count}u + ({epsilon}u >> (2 * lost > 62 ? 62 : 2 * lost));
    spread = (int32_t){names.function("root")}(squares);
    spread = spread < 1 ? 1 : spread;
"""
