// The network as the page knows it: neurons, and the strongest synapses, sorted by the size of their weights.

const INPUT = 1, OUTPUT = 2;  // roles; hidden neurons have 0

class Network {
  constructor(main) {
    Object.assign(this, main);  // one array for each name of the block
    this.count = facts.neurons;
    this.shown = facts.shown;
    this.ends = new Uint32Array(2 * this.shown);
    for (let at = 0; at < this.shown; at++) this.ends.set([this.source[at], this.target[at]], 2 * at);
    this.outgoing = placesByNeuron(this.source, this.count);
    this.incoming = placesByNeuron(this.target, this.count);
    this.ordinals = this.ordinalsByRole();
    this.places = new Float32Array(4 * this.count);
    this.polarityNow = this.polarity;
    this.posNow = this.pos;
    this.stretch = facts.stretched === null ? 1 : this.readable();
    this.place();
  }

  /** The place of each neuron among the inputs, the outputs or the hidden neurons: that of its feature, for the first
   * two. */
  ordinalsByRole() {
    const next = [0, 0, 0];
    return Uint32Array.from(this.role, (role) => next[role]++);
  }

  /** How far neurons reach from the centre along each axis, in length units. */
  reach() {
    const reach = [0, 0, 0];
    this.pos.forEach((value, at) => { reach[at % 3] = Math.max(reach[at % 3], Math.abs(value)); });
    return reach;
  }

  /** How many times further apart layers are drawn, so that they can be told apart; 1 for true to scale. */
  readable() {
    const reach = this.reach(), along = reach[facts.stretched];
    return along > 0 ? Math.max(1, Math.min(100, Math.round((1.2 * Math.max(...reach)) / along))) : 1;
  }

  /** Lay neurons where they are now; scaled so that they lie within 1 of the origin, and layers stretched apart. */
  place() {
    const scales = [1, 1, 1], width = Math.max(0.009, Math.min(0.045, 0.85 / Math.sqrt(this.count)));
    if (facts.stretched !== null) scales[facts.stretched] = this.stretch;
    const radius = Math.hypot(...this.reach().map((value, axis) => value * scales[axis])) || 1;
    for (let at = 0; at < this.count; at++) {
      for (let axis = 0; axis < 3; axis++) {
        this.places[4 * at + axis] = (scales[axis] / radius) * this.posNow[3 * at + axis];
      }
      this.places[4 * at + 3] = width * this.size(at);
    }
  }

  /** How much larger a neuron is drawn: the few outputs are larger than inputs, as they are looked for. */
  size(neuron) {
    if (this.role[neuron] === OUTPUT) return 2 * facts.outputs < facts.neurons ? 1.7 : 1;
    return this.role[neuron] === INPUT && facts.image ? 0.8 : 1;
  }

  hasPolarity(neuron) {
    return this.role[neuron] !== OUTPUT && facts.polarities;
  }

  /** The strongest synapses of a neuron that the page has: the other neuron, weight and length. */
  partners(neuron, direction, most) {
    const [places, others] = direction === "incoming" ? [this.incoming, this.source] : [this.outgoing, this.target];
    return Array.from(places.of(neuron).slice(0, most), (at) => (
      { neuron: others[at], weight: this.weight[at], length: this.length[at] }
    ));
  }
}

/** Positions and polarities during training, unpacked when the page needs them. */
class Recording {
  static async unpacked() {
    const recording = new Recording();
    Object.assign(recording, await unpacked("recording"));
    return recording;
  }

  /** Positions of an epoch, three coordinates for each neuron, in length units. */
  positions(epoch) {
    const { pos, low, step } = this, count = 3 * facts.neurons;
    return Float32Array.from({ length: count }, (_, at) => low[at % 3] + step[at % 3] * pos[epoch * count + at]);
  }

  polarities(epoch) {
    const { polarity, polarity_range: [low, step] } = this, count = facts.neurons;
    return Float32Array.from({ length: count }, (_, at) => low + step * polarity[epoch * count + at]);
  }
}

/** Receptive fields, unpacked when the first one is asked for. */
class Fields {
  static async unpacked() {
    const fields = new Fields();
    Object.assign(fields, await unpacked("fields"));
    return fields;
  }

  /** Weights of a receptive field, row by row, as shares of the largest; `scale` has the largest of each neuron. */
  of(number) {
    const { bits, rows, columns } = facts.fields, count = rows * columns;
    if (bits === 8) return Float32Array.from({ length: count }, (_, at) => this.values[number * count + at] / 127);
    return Float32Array.from({ length: count }, (_, at) => {
      const place = number * count + at, byte = this.values[place >> 1];
      return ((place & 1 ? byte >> 4 : byte & 15) - 7) / 7;
    });
  }
}
