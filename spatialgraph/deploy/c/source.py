"""The C99 source of a network: what the arithmetic of whole numbers and that of floats have in common."""

import abc
import string
from collections.abc import Iterator

from spatialgraph.deploy.c.constants import Array, Names
from spatialgraph.deploy.c.layers import Codes, IntegerLayer
from spatialgraph.deploy.c.network import IntegerNetwork, IntegerStage
from spatialgraph.wiring.hashing import hashed_seed, threshold

__all__ = ["Arithmetic", "functions_of"]


class Arithmetic(abc.ABC):
    """The numbers that C code computes with.

    Args:
        network: the network.
        names: what begins the names of functions and constants.
    """

    number: str
    """Type of sums and outputs, of 4 bytes."""

    activation: str
    """Type of what hidden neurons send."""

    def __init__(self, network: IntegerNetwork, names: Names) -> None:
        self.network, self.names = network, names

    @abc.abstractmethod
    def law(self) -> Array:
        """Return the table of the law."""

    @abc.abstractmethod
    def helpers(self) -> str:
        """Return the functions that the others call."""

    @abc.abstractmethod
    def sent(self, number: int, polarity: str) -> str:
        """Return what a source sends, from its activation ``sent`` and the code of its polarity."""

    @abc.abstractmethod
    def answer(self, number: int) -> str:
        """Return the body of the function from what targets receive, ``sums``, to what they send, or to outputs."""

    @abc.abstractmethod
    def words(self, count: int) -> int:
        """Return how many words of 4 bytes so many activations take."""

    def layout(self) -> tuple[list[int], int]:
        """Return where the sums of each hidden layer begin in the buffer, and how many words of 4 bytes it has.

        Sums become activations in their own place. The next sums go before these where there is room, else behind.
        """
        starts: list[int] = []
        words = after = at = 0
        for stage in self.network.stages[:-1]:
            count = stage.target.count
            at = 0 if at >= count or not starts else after
            starts.append(at)
            after = at + self.words(count)
            words = max(words, at + count)
        return starts, max(1, words)


class _Template(string.Template):
    """Text of C in which ``@`` begins what is filled in."""

    delimiter = "@"


def functions_of(arithmetic: Arithmetic) -> str:
    """Return the definitions of all functions of a network."""
    network, names = arithmetic.network, arithmetic.names
    stages = network.stages
    parts = [_code(network.bits, names), arithmetic.helpers()]
    parts += [_position(number, stage.source, names) for number, stage in enumerate(stages)]
    parts += [_HASH] if any(stage.synapses.wiring is not None for stage in stages) else []
    for number, stage in enumerate(stages):
        parts += [_stage(number, stage, arithmetic), _answer(number, arithmetic)]
    parts.append(_run(arithmetic))
    return filled("\n".join(parts), names, number=arithmetic.number)


def filled(text: str, names: Names, **values: object) -> str:
    """Fill in what ``@`` begins in a text of C; ``@f`` and ``@C`` begin the names of functions and constants.

    Example:
        >>> filled("@{f}_run(@count)", Names("digits"), count=3)
        'digits_run(3)'
    """
    return _Template(text).safe_substitute({"f": names.prefix, "C": names.prefix.upper()} | values)


_HASH = """
static inline uint32_t @{f}_mix(uint32_t x) {
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}
"""


def _code(bits: int, names: Names) -> str:
    """Return what reads a code."""
    macro = names.constant("code")
    if bits > 4:
        return f"#define {macro}(codes, at) ((int32_t)(codes)[at])\n"
    return f"#define {macro}(codes, at) ((int32_t)(((codes)[(at) >> 1] >> (((at) & 1u) << 2)) & 15u) - 8)\n"


def _rows(codes: Codes, array: str, at: str, names: Names, neuron: str = "neuron") -> Iterator[str]:
    """Yield the terms of the code of a neuron: one, or those of its row, column, ..., whose numbers are r0, r1, ..."""
    code = names.constant("code")
    if not codes.shape:
        yield f"{code}({array}, {at.format(row=neuron)})"
    start = 0
    for axis, size in enumerate(codes.shape):
        yield f"{code}({array}, {at.format(row=f'({start}u + r{axis})')})"
        start += size


def _places(codes: Codes, number: int, names: Names, neuron: str = "neuron") -> str:
    """Return the lines that find the row, column, ... of a neuron."""
    if not codes.shape:
        return ""
    cell = neuron if codes.cells is None else f"{names.constant(f'cells_{number}')}[{neuron}]"
    lines, steps = [], 1
    for axis in reversed(range(len(codes.shape))):
        size = codes.shape[axis]
        place = cell if steps == 1 else f"{cell} / {steps}u"
        place = place if axis == 0 else f"{place} % {size}u"
        lines.append(f"    const uint32_t r{axis} = {place};\n")
        steps *= size
    return "".join(lines)


def _coordinate(number: int, layer: IntegerLayer, names: Names, neuron: str = "neuron") -> str:
    """Return the coordinate of a neuron along an axis, in units."""
    array, multipliers = names.constant(f"coordinates_{number}"), names.constant("multipliers")
    at = f"{{row}} * {len(layer.multipliers)}u + axis"
    terms = " + ".join(_rows(layer.coordinates, array, at, names, neuron))
    return f"({terms}) * (int32_t){multipliers}[axis]"


def _position(number: int, layer: IntegerLayer, names: Names) -> str:
    """Return a function that writes the coordinates of a source, which many targets are compared with."""
    axes = len(layer.multipliers)
    return f"""
static inline void {names.function(f"position_{number}")}(uint32_t neuron, int32_t *position) {{
{_places(layer.coordinates, number, names)}    for (uint32_t axis = 0u; axis < {axes}u; axis++) {{
        position[axis] = {_coordinate(number, layer, names)};
    }}
}}
"""


def _stage(number: int, stage: IntegerStage, arithmetic: Arithmetic) -> str:
    """Return a function that adds up what the neurons of a layer receive."""
    names = arithmetic.names
    axes, polarities = len(stage.source.multipliers), stage.source.polarities
    array = names.constant(f"polarities_{number}")
    polarity = " + ".join(_rows(polarities, array, "{row}", names))
    cells = _places(polarities, number, names).replace("    const", "        const")
    sums, activations = arithmetic.number, arithmetic.activation if number else "uint8_t"
    return f"""
/* What each neuron of layer {number + 1} receives from layer {number}. */
static inline void {names.function(f"send_{number}")}(const {activations} *activations, {sums} *sums) {{
    for (uint32_t target = 0u; target < {stage.target.count}u; target++) {{
        sums[target] = 0;
    }}
    for (uint32_t neuron = 0u; neuron < {stage.source.count}u; neuron++) {{
        int32_t source[{axes}];
        {sums} sent = ({sums})activations[neuron];
        if (sent == 0) {{
            continue;
        }}
{cells}        sent = {arithmetic.sent(number, f"({polarity})")};
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
    places = _places(stage.target.coordinates, number + 1, names, "target").replace("    const", "            const")
    condition = ""
    if stage.synapses.edges is not None:
        first, targets = names.constant(f"first_{number}"), names.constant(f"targets_{number}")
        head = f"""        for (uint32_t edge = {first}[neuron]; edge < {first}[neuron + 1u]; edge++) {{
            const uint32_t target = {targets}[edge];"""
    else:
        head = f"        for (uint32_t target = 0u; target < {count}u; target++) {{"
    below = None if stage.synapses.wiring is None else threshold(stage.synapses.wiring.density)
    if stage.synapses.wiring is not None and below is not None and below < 2**32:
        mix, seed = names.function("mix"), hashed_seed(stage.synapses.wiring.seed or 0)
        condition = f"""            if ({mix}({mix}({seed}u + target) + neuron) >= {below}u) {{
                continue;
            }}
"""
    return f"""{head}
            uint32_t square = {stage.synapses.gap}u;
{condition}{places}            for (uint32_t axis = 0u; axis < {axes}u; axis++) {{
                const int32_t apart = {_coordinate(number + 1, stage.target, names, "target")} - source[axis];
                square += (uint32_t)(apart * apart);
            }}
            sums[target] += {names.function("weight")}(square) * sent;
        }}"""


def _answer(number: int, arithmetic: Arithmetic) -> str:
    """Return a function from what the neurons of a layer receive to what they send, or to outputs."""
    return f"""
static inline void {arithmetic.names.function(f"answer_{number}")}({arithmetic.number} *sums) {{
{arithmetic.answer(number)}}}
"""


def _run(arithmetic: Arithmetic) -> str:
    """Return the functions that compute the outputs and the class."""
    names, (starts, _) = arithmetic.names, arithmetic.layout()
    last = len(starts)
    lines, activations = [], "input"
    for number, start in enumerate(starts):
        sums = f"buffer + {start}"
        lines.append(f"    {names.function(f'send_{number}')}({activations}, {sums});")
        lines.append(f"    {names.function(f'answer_{number}')}({sums});")
        activations = f"(const {arithmetic.activation} *)({sums})"
    lines.append(f"    {names.function(f'send_{last}')}({activations}, output);")
    lines.append(f"    {names.function(f'answer_{last}')}(output);")
    lines += [] if starts else ["    (void)buffer;"]
    return _RUN.replace("@body", "\n".join(lines))


_RUN = """
/* Computes the outputs. The buffer keeps nothing from call to call. */
static inline void @{f}_run(
    const uint8_t input[static @{C}_INPUTS],
    @number output[static @{C}_OUTPUTS],
    @number buffer[static @{C}_BUFFER_WORDS]
) {
@body
}

/* Returns the number of the largest output. */
static inline uint32_t @{f}_classify(
    const uint8_t input[static @{C}_INPUTS],
    @number output[static @{C}_OUTPUTS],
    @number buffer[static @{C}_BUFFER_WORDS]
) {
    uint32_t best = 0u;
    @{f}_run(input, output, buffer);
    for (uint32_t number = 1u; number < @{C}_OUTPUTS; number++) {
        best = output[number] > output[best] ? number : best;
    }
    return best;
}
"""
