// What the page carries: facts as JSON, and numbers as compressed bytes.

const KINDS = {
  u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i1: Int8Array, i2: Int16Array, f4: Float32Array,
};

const facts = JSON.parse(document.getElementById("facts").textContent);

/** Return the arrays of a block by name. Blocks that are needed later only are unpacked when they are asked for. */
async function unpacked(block) {
  const text = atob(document.getElementById(`block-${block}`).textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const arrays = {};
  for (const [name, [kind, offset, length]] of Object.entries(facts.blocks[block])) {
    arrays[name] = new KINDS[kind](buffer, offset, length);
  }
  return arrays;
}

/** For each neuron the places of its synapses in the list, strongest first: `starts` and `places`, as in CSR. */
function placesByNeuron(ends, count) {
  const starts = new Uint32Array(count + 1);
  for (const neuron of ends) starts[neuron + 1]++;
  for (let neuron = 0; neuron < count; neuron++) starts[neuron + 1] += starts[neuron];
  const next = starts.slice();
  const places = new Uint32Array(ends.length);
  ends.forEach((neuron, place) => { places[next[neuron]++] = place; });
  return { of: (neuron) => places.subarray(starts[neuron], starts[neuron + 1]) };
}
