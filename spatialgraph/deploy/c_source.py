"""The C99 source of a network of whole numbers: functions that compute what the one in Python does, to the bit."""

import string
from collections.abc import Iterator

from spatialgraph.deploy.c_constants import Names
from spatialgraph.deploy.integer_layers import Codes, IntegerLayer
from spatialgraph.deploy.integer_network import IntegerNetwork, IntegerStage
from spatialgraph.deploy.integer_responses import (
    BIAS_BITS,
    CLIP_BITS,
    DEVIATION_BITS,
    LEAK_BITS,
    POINT,
    Leaking,
    Rectified,
    Response,
)
from spatialgraph.wiring.hashing import hashed_seed, threshold

__all__ = ["buffer_layout", "functions_of"]


class _Template(string.Template):
    """Text of C in which ``@`` begins what is filled in."""

    delimiter = "@"


def functions_of(network: IntegerNetwork, names: Names) -> str:
    """Return the definitions of all functions of a network."""
    stages = network.stages
    layers = [stages[0].source, *(stage.target for stage in stages)]
    parts = [_code(network.bits, names), _WEIGHT]
    parts += [_position(number, layer, names) for number, layer in enumerate(layers)]
    if any(stage.wiring is not None for stage in stages):
        parts.append(_HASH)
    if any(stage.response is not None and stage.response.normalize for stage in stages):
        parts.append(_ROOT)
    if len(stages) > 1:
        parts.append(_CLIP)
    for number, stage in enumerate(stages):
        parts += [_stage(number, stage, names), _answer(number, stage, names)]
    parts.append(_run(network, names))
    common = {"f": names.prefix, "C": names.prefix.upper(), "clip": str(CLIP_BITS)} | _table(stages[0])
    return "\n".join(_Template(part).safe_substitute(common) for part in parts)


def buffer_layout(network: IntegerNetwork) -> tuple[list[int], int]:
    """Return where the sums of each hidden layer begin in the buffer, and how many words of 32 bits it has.

    Sums become bytes in their own place. The next sums go before these bytes where there is room, else behind.
    """
    starts, words, after, at = [], 0, 0, 0
    for stage in network.stages[:-1]:
        count = stage.target.count
        at = 0 if at >= count or not starts else after
        starts.append(at)
        after = at + -(-count // 4)
        words = max(words, at + count)
    return starts, max(1, words)


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
static inline int32_t @{f}_clip(int64_t x) {
    const int64_t most = (int64_t)1 << @clip;
    return (int32_t)(x < -most ? -most : x > most ? most : x);
}
"""

_HASH = """
static inline uint32_t @{f}_mix(uint32_t x) {
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
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


def _code(bits: int, names: Names) -> str:
    """Return what reads a code."""
    macro = names.constant("code")
    if bits > 4:
        return f"#define {macro}(codes, at) ((int32_t)(codes)[at])\n"
    return f"#define {macro}(codes, at) ((int32_t)(((codes)[(at) >> 1] >> (((at) & 1u) << 2)) & 15u) - 8)\n"


def _rows(codes: Codes, number: int, array: str, at: str, names: Names) -> Iterator[str]:
    """Yield the terms of the code of a neuron: one, or those of its row, column, ..., whose numbers are r0, r1, ..."""
    code = names.constant("code")
    if not codes.shape:
        yield f"{code}({array}, {at.format(row='neuron')})"
    start = 0
    for axis, size in enumerate(codes.shape):
        yield f"{code}({array}, {at.format(row=f'({start}u + r{axis})')})"
        start += size


def _places(codes: Codes, number: int, names: Names) -> str:
    """Return the lines that find the row, column, ... of a neuron."""
    if not codes.shape:
        return ""
    cell = "neuron" if codes.cells is None else f"{names.constant(f'cells_{number}')}[neuron]"
    lines, steps = [], 1
    for axis in reversed(range(len(codes.shape))):
        size = codes.shape[axis]
        place = cell if steps == 1 else f"{cell} / {steps}u"
        place = place if axis == 0 else f"{place} % {size}u"
        lines.append(f"    const uint32_t r{axis} = {place};\n")
        steps *= size
    return "".join(lines)


def _position(number: int, layer: IntegerLayer, names: Names) -> str:
    """Return a function that writes the codes of the coordinates of a neuron."""
    array, axes = names.constant(f"coordinates_{number}"), len(layer.multipliers)
    terms = " + ".join(_rows(layer.coordinates, number, array, f"{{row}} * {axes}u + axis", names))
    return f"""
static inline void {names.function(f"position_{number}")}(uint32_t neuron, int32_t *position) {{
{_places(layer.coordinates, number, names)}    for (uint32_t axis = 0u; axis < {axes}u; axis++) {{
        position[axis] = {terms};
    }}
}}
"""


def _stage(number: int, stage: IntegerStage, names: Names) -> str:
    """Return a function that adds up what the neurons of a layer receive."""
    axes, polarities = len(stage.source.multipliers), stage.source.polarities
    array = names.constant(f"polarities_{number}")
    polarity = " + ".join(_rows(polarities, number, array, "{row}", names))
    cells = _places(polarities, number, names).replace("    const", "        const")
    half = (1 << stage.shift) >> 1
    return f"""
/* What each neuron of layer {number + 1} receives from layer {number}. */
static inline void {names.function(f"send_{number}")}(const uint8_t *activations, int32_t *sums) {{
    for (uint32_t target = 0u; target < {stage.target.count}u; target++) {{
        sums[target] = 0;
    }}
    for (uint32_t neuron = 0u; neuron < {stage.source.count}u; neuron++) {{
        int32_t source[{axes}], sent = activations[neuron];
        if (sent == 0) {{
            continue;
        }}
{cells}        sent = (sent * ({polarity}) + {half}) >> {stage.shift};
        if (sent == 0) {{
            continue;
        }}
        {names.function(f"position_{number}")}(neuron, source);
{_targets(number, stage, names)}
    }}
}}
"""


def _targets(number: int, stage: IntegerStage, names: Names) -> str:
    """Return the loop over the targets of a source."""
    axes, count = len(stage.source.multipliers), stage.target.count
    condition = ""
    if stage.edges is not None:
        first, targets = names.constant(f"first_{number}"), names.constant(f"targets_{number}")
        head = f"""        for (uint32_t edge = {first}[neuron]; edge < {first}[neuron + 1u]; edge++) {{
            const uint32_t target = {targets}[edge];"""
    else:
        head = f"        for (uint32_t target = 0u; target < {count}u; target++) {{"
    below = None if stage.wiring is None else threshold(stage.wiring.density)
    if stage.wiring is not None and below is not None and below < 2**32:
        mix, seed = names.function("mix"), hashed_seed(stage.wiring.seed or 0)
        condition = f"""            if ({mix}({mix}({seed}u + target) + neuron) >= {below}u) {{
                continue;
            }}
"""
    return f"""{head}
            int32_t position[{axes}];
            uint32_t square = {stage.square}u;
{condition}            {names.function(f"position_{number + 1}")}(target, position);
            for (uint32_t axis = 0u; axis < {axes}u; axis++) {{
                const int32_t apart = (position[axis] - source[axis]) * (int32_t){names.constant("multipliers")}[axis];
                square += (uint32_t)(apart * apart);
            }}
            sums[target] += {names.function("weight")}(square) * sent;
        }}"""


def _answer(number: int, stage: IntegerStage, names: Names) -> str:
    """Return a function from what the neurons of a layer receive to what they send, or to outputs."""
    code, biases = names.constant("code"), names.constant(f"biases_{number + 1}")
    if stage.response is None:
        half = (1 << stage.bias_shift) >> 1
        return f"""
static inline void {names.function(f"answer_{number}")}(int32_t *sums) {{
    for (uint32_t target = 0u; target < {stage.target.count}u; target++) {{
        const int64_t bias = (int64_t){code}({biases}, target) * {stage.bias} + {half};
        sums[target] += (int32_t)(bias >> {stage.bias_shift});
    }}
}}
"""
    return _hidden(number, stage, stage.response, names)


def _hidden(number: int, stage: IntegerStage, response: Response, names: Names) -> str:
    count, code, biases = stage.target.count, names.constant("code"), names.constant(f"biases_{number + 1}")
    before = _deviations(count, names) if response.normalize else ""
    inner = f"(sums[target] * {1 << POINT}) / spread" if response.normalize else "sums[target]"
    half = (1 << response.shift) >> 1
    scaled = f"((int64_t)({inner}) * {response.multiplier} + {half}) >> {response.shift}"
    respond = _rectified(response) if isinstance(response, Rectified) else _leaking(response, names)
    return f"""
/* From sums to bytes, in the same place: a byte lies in a word that is read before. */
static inline void {names.function(f"answer_{number}")}(int32_t *sums) {{
    uint8_t *activations = (uint8_t *)sums;
{before}    for (uint32_t target = 0u; target < {count}u; target++) {{
        int32_t received = {names.function("clip")}({scaled});
        received += ({code}({biases}, target) * {response.bias} + {1 << (BIAS_BITS - 1)}) >> {BIAS_BITS};
{respond}    }}
}}
"""


def _rectified(response: Rectified) -> str:
    limit = (256 << 16) // max(1, response.scale) + 1
    return f"""        received = received < 0 ? 0 : received > {limit} ? {limit} : received;
        received = (received * {response.scale}) >> 16;
        activations[target] = (uint8_t)(received > 255 ? 255 : received);
"""


def _leaking(response: Leaking, names: Names) -> str:
    resets = {"subtract": ("", f" - (fired ? {response.threshold} : 0)"), "zero": ("fired ? 0 : ", ""), "none": ("", "")}
    before, after = resets[response.reset]
    return f"""        int32_t potential = 0;
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


def _deviations(count: int, names: Names) -> str:
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
    spread = (int32_t){names.function("root")}(squares / {count}u);
    spread = spread < 1 ? 1 : spread;
"""


def _run(network: IntegerNetwork, names: Names) -> str:
    """Return the functions that compute the outputs and the class."""
    starts, _ = buffer_layout(network)
    last = len(network.stages) - 1
    lines, activations = [], "input"
    for number, start in enumerate(starts):
        sums = f"buffer + {start}"
        lines.append(f"    {names.function(f'send_{number}')}({activations}, {sums});")
        lines.append(f"    {names.function(f'answer_{number}')}({sums});")
        activations = f"(const uint8_t *)({sums})"
    lines.append(f"    {names.function(f'send_{last}')}({activations}, output);")
    lines.append(f"    {names.function(f'answer_{last}')}(output);")
    if not starts:
        lines.append("    (void)buffer;")
    body = "\n".join(lines)
    return f"""
/* Computes the outputs. The buffer keeps nothing from call to call. */
static inline void @{{f}}_run(
    const uint8_t input[static @{{C}}_INPUTS],
    int32_t output[static @{{C}}_OUTPUTS],
    int32_t buffer[static @{{C}}_BUFFER_WORDS]
) {{
{body}
}}

/* Returns the number of the largest output. */
static inline uint32_t @{{f}}_classify(
    const uint8_t input[static @{{C}}_INPUTS],
    int32_t output[static @{{C}}_OUTPUTS],
    int32_t buffer[static @{{C}}_BUFFER_WORDS]
) {{
    uint32_t best = 0u;
    @{{f}}_run(input, output, buffer);
    for (uint32_t number = 1u; number < @{{C}}_OUTPUTS; number++) {{
        best = output[number] > output[best] ? number : best;
    }}
    return best;
}}
"""
