// The card of a neuron: its facts, its strongest partners, its receptive field.

const MOST_PARTNERS = 4;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** What a neuron is: the name of its layer, and which input or output. */
function roleOf(network, neuron) {
  const group = facts.groups[network.group[neuron]].name, ordinal = network.ordinals[neuron];
  if (network.role[neuron] === OUTPUT) return `${group} · output ${ordinal}`;
  if (network.role[neuron] !== INPUT) return group;
  if (!facts.image) return `${group} · input ${ordinal}`;
  return `${group} · row ${Math.floor(ordinal / facts.image[1])}, column ${ordinal % facts.image[1]}`;
}

/** Facts of a neuron, as pairs of a name and a text. */
function rowsOf(network, neuron, view) {
  const rows = [];
  if (network.hasPolarity(neuron)) rows.push(["polarity", short(network.polarityNow[neuron])]);
  if (network.activation) rows.push(["activation", short(network.activation[view.sample * network.count + neuron])]);
  if (network.role[neuron] !== INPUT) rows.push(["bias", short(network.bias[neuron])]);
  rows.push(["strength", short(network.strength[neuron])]);
  if (network.module) rows.push(["module", String(network.module[neuron])]);
  const [incoming, outgoing] = [network.fan_in[neuron], network.fan_out[neuron]];
  rows.push(["synapses", `${incoming.toLocaleString("en")} in, ${outgoing.toLocaleString("en")} out`]);
  return rows;
}

function fillCard(card, network, neuron, view) {
  card.replaceChildren(element("h2", "", `Neuron ${neuron}`), element("p", "role", roleOf(network, neuron)));
  const list = element("dl");
  for (const [name, text] of rowsOf(network, neuron, view)) {
    list.append(element("dt", "", name), element("dd", "", text));
  }
  card.append(list);
  for (const [direction, title] of [["incoming", "Strongest from"], ["outgoing", "Strongest to"]]) {
    const partners = network.partners(neuron, direction, MOST_PARTNERS);
    const total = direction === "incoming" ? network.fan_in[neuron] : network.fan_out[neuron];
    if (total) card.append(partnersTable(title, partners));
  }
  if (facts.image) addField(card, network, neuron);
  card.dataset.neuron = neuron;
  card.hidden = false;
}

function partnersTable(title, partners) {
  if (!partners.length) return element("p", "none", `${title}: none of the synapses on this page`);
  const table = element("table"), caption = element("caption", "", title);
  table.append(caption);
  for (const { neuron, weight, length } of partners) {
    const row = element("tr", weight < 0 ? "minus" : "plus");
    row.append(element("td", "", String(neuron)), element("td", "weight", (weight > 0 ? "+" : "") + short(weight)));
    row.append(element("td", "length", `length ${short(length)}`));
    table.append(row);
  }
  return table;
}

let fields = null;  // a promise of the receptive fields, from the first time that one is shown

/** Draw the receptive field of a neuron; of an input, where it is in the image. */
async function addField(card, network, neuron) {
  const isInput = network.role[neuron] === INPUT;
  if (!isInput && !facts.fields) return;
  const figure = element("figure"), canvas = element("canvas");
  figure.append(canvas, element("figcaption", "", isInput ? "Place in the image" : "Receptive field"));
  card.append(figure);
  const [rows, columns] = isInput ? facts.image : [facts.fields.rows, facts.fields.columns];
  [canvas.width, canvas.height] = [columns, rows];
  if (isInput) return paintField(canvas, (at) => (at === network.ordinals[neuron] ? 1 : 0));
  fields ??= Fields.unpacked();
  const number = network.fieldNumbers[neuron], loaded = await fields;
  const values = loaded.of(number);
  figure.lastChild.textContent = `Receptive field, ±${short(loaded.scale[number])}`;
  paintField(canvas, (at) => values[at]);
}

function paintField(canvas, valueAt) {
  const context = canvas.getContext("2d"), colors = theme();
  const image = context.createImageData(canvas.width, canvas.height);
  for (let at = 0; at < canvas.width * canvas.height; at++) {
    const color = blend([colors.minus, colors.ground, colors.plus], 0.5 + valueAt(at) / 2);
    image.data.set([...color, 255], 4 * at);
  }
  context.putImageData(image, 0, 0);
}
