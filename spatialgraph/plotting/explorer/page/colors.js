// Colours of neurons and synapses, and what the legend says of them.

const VIRIDIS = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"];
const CLASSES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6bb1", "#a6761d"];

const bytesOf = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const cssColor = (bytes) => `rgb(${bytes.map(Math.round).join(" ")})`;

/** Colours of the style sheet, which has them for light and dark. */
function theme() {
  const style = getComputedStyle(document.documentElement);
  const named = (name) => bytesOf(style.getPropertyValue(`--${name}`).trim());
  return {
    ground: named("ground"), plus: named("plus"), zero: named("zero"), minus: named("minus"), plain: named("plain"),
  };
}

/** A colour between several ones that stand at equal distances; `share` is between 0 and 1. */
function blend(stops, share) {
  const at = Math.max(0, Math.min(1, share)) * (stops.length - 1), low = Math.min(stops.length - 2, Math.floor(at));
  return stops[low].map((part, channel) => part + (at - low) * (stops[low + 1][channel] - part));
}

/** The value below which a share of the values lies. */
function quantile(values, share) {
  const sorted = Float32Array.from(values).sort();
  return sorted.length ? sorted[Math.floor(share * (sorted.length - 1))] : 0;
}

const SCALES = {
  polarity: (network, view, colors) => {
    const senders = network.polarity.filter((_, at) => network.hasPolarity(at));
    const limit = Math.max(1, quantile(senders.map(Math.abs), 0.98));
    const { polarityNow: values } = network;
    return diverging(colors, limit, (at) => (network.hasPolarity(at) ? values[at] : NaN), "no polarity");
  },
  strength: (network, view, colors) => {
    const limit = quantile(network.strength, 0.98) || 1;
    return sequential(colors, limit, (at) => network.strength[at]);
  },
  module: (network, view, colors) => classes(
    facts.modules.sizes.map((size, number) => `module ${number}, ${counted(size, "neuron")}`),
    (at) => network.module[at], colors, facts.modules.count - facts.modules.sizes.length,
  ),
  activation: (network, view, colors) => {
    const values = network.activation, start = view.sample * network.count;
    const limit = quantile(values.map(Math.abs), 0.99) || Math.max(...values.slice(0, 1e5).map(Math.abs)) || 1;
    const isSigned = values.some((value) => value < 0);
    const value = (at) => values[start + at];
    return isSigned ? diverging(colors, limit, value, "") : sequential(colors, limit, value);
  },
  layer: (network, view, colors) => classes(
    facts.groups.map((group) => group.name), (at) => network.group[at], colors,
  ),
};

function diverging(colors, limit, valueOf, without) {
  const stops = [colors.minus, colors.zero, colors.plus];
  const colorOf = (at) => {
    const value = valueOf(at);
    return Number.isNaN(value) ? colors.plain : blend(stops, 0.5 + value / (2 * limit));
  };
  return { colorOf, stops, labels: [`≤ ${short(-limit)}`, "0", `≥ ${short(limit)}`], plain: without };
}

/** Colours from 0 to a limit; on a dark ground without the darkest. */
function sequential(colors, limit, valueOf) {
  const stops = VIRIDIS.slice(colors.ground[0] < 128 ? 2 : 0).map(bytesOf);
  return { colorOf: (at) => blend(stops, valueOf(at) / limit), stops, labels: ["0", "", `≥ ${short(limit)}`] };
}

/** One colour for each of the first classes, and one for all others. */
function classes(names, classOf, colors, more = Math.max(0, names.length - CLASSES.length)) {
  const shades = CLASSES.map(bytesOf);
  const shade = (number) => shades[number] ?? colors.plain;
  return { colorOf: (at) => shade(classOf(at)), names: names.slice(0, CLASSES.length), shade, more };
}

/** Colours of all neurons, four bytes each; the last is 0 for hidden ones, and low for those in the background. */
function neuronPaints(network, scale, presence) {
  const paints = new Uint8Array(4 * network.count);
  for (let at = 0; at < network.count; at++) paints.set([...scale.colorOf(at).map(Math.round), presence(at)], 4 * at);
  return paints;
}

/** Colours of all synapses: by sign, with modules by the module of the source; the stronger, the more opaque. */
function synapseInks(network, view, scale, colors, isShown) {
  const inks = new Uint8Array(4 * network.shown);
  const largest = quantile(network.weight.map(Math.abs), 0.99) || 1;
  for (let at = 0; at < network.shown; at++) {
    const weight = network.weight[at], source = network.source[at];
    if (!isShown(source, network.target[at])) continue;
    const color = view.color === "module" ? scale.colorOf(source) : weight < 0 ? colors.minus : colors.plus;
    const size = Math.min(1, Math.abs(weight) / largest);
    inks.set([...color.map(Math.round), Math.round(40 + 215 * size)], 4 * at);
  }
  return inks;
}

/** A number as people write it: three digits that count. */
function short(value) {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
  return text.replace("-", "−");
}
