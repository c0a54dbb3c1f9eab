// What is shown of the network, and its drawing.

const SLOW = 60, FAST = 25;  // milliseconds between two pictures of a moving network
const STILL_AFTER = 160;  // milliseconds
const IN_BACKGROUND = 34;  // of 255: how opaque neurons are that have no synapse with the selected one

class View {
  constructor(network, canvas) {
    this.network = network;
    this.canvas = canvas;
    this.drawing = new Drawing(canvas);
    this.camera = new Camera(facts.depth ? -0.62 : 0, facts.depth ? 0.3 : 0);
    const color = facts.samples ? "activation" : facts.polarities ? "polarity" : "layer";
    Object.assign(this, { color, share: 1, selected: null, sample: 0, epoch: null, drawn: 0 });
    this.movingShare = 1;
    this.hiddenGroups = new Set();
    this.afterDrawing = [];
    this.drawing.set("ends", network.ends);
    this.drawing.set("places", network.places);
    this.resize();
    this.home();
    this.recolor();
  }

  /** How many of the strongest synapses the slider lets through. */
  get synapses() {
    return Math.round(this.share * this.network.shown);
  }

  isVisible(neuron) {
    return !this.hiddenGroups.has(this.network.group[neuron]);
  }

  isDrawn(source, target) {
    const isSelected = this.selected === null || this.selected === source || this.selected === target;
    return isSelected && this.isVisible(source) && this.isVisible(target);
  }

  /** Change what is shown, and draw. */
  change(settings) {
    Object.assign(this, settings);
    this.recolor();
  }

  recolor() {
    const { network } = this, colors = theme();
    this.colors = colors;
    this.scale = SCALES[this.color](network, this, colors);
    const near = this.neighbours();
    const presence = (at) => (!this.isVisible(at) ? 0 : !near || near.has(at) ? 255 : IN_BACKGROUND);
    this.drawing.set("paints", neuronPaints(network, this.scale, presence));
    const isDrawn = (source, target) => this.isDrawn(source, target);
    this.drawing.set("inks", synapseInks(network, this, this.scale, colors, isDrawn));
    this.count();
    this.request();
  }

  /** The selected neuron and those that it has a shown synapse with; null where none is selected. */
  neighbours() {
    if (this.selected === null) return null;
    const near = new Set([this.selected]), { network, synapses } = this;
    for (const at of network.outgoing.of(this.selected)) if (at < synapses) near.add(network.target[at]);
    for (const at of network.incoming.of(this.selected)) if (at < synapses) near.add(network.source[at]);
    return near;
  }

  count() {
    this.drawn = 0;
    const { source, target } = this.network;
    for (let at = 0; at < this.synapses; at++) this.drawn += this.isDrawn(source[at], target[at]);
  }

  /** Lay the neurons where they were in an epoch, between two where it is no whole number. */
  showEpoch(recording, epoch) {
    const { network } = this, low = Math.floor(epoch), share = epoch - low;
    const between = (values) => {
      const from = values(low);
      if (!share) return from;
      const to = values(low + 1);
      return from.map((value, at) => value + share * (to[at] - value));
    };
    this.epoch = epoch;
    network.posNow = between((at) => recording.positions(at));
    network.place();
    network.polarityNow = between((at) => recording.polarities(at));
    this.drawing.set("places", network.places);
    if (this.color === "polarity") this.recolor();
    else this.request();
  }

  /** Draw layers so many times further apart than they are. */
  stretch(times) {
    this.network.stretch = times;
    this.network.place();
    this.drawing.set("places", this.network.places);
    this.camera.distance = this.camera.fitting(this.network.places);
    this.request();
  }

  /** Give the canvas the pixels that it has room for; tell whether these are others than before. */
  resize() {
    const ratio = Math.min(2, window.devicePixelRatio || 1), { camera, canvas, network } = this;
    const [width, height] = [Math.max(1, canvas.clientWidth), Math.max(1, canvas.clientHeight)];
    if (ratio === this.ratio && width === camera.width && height === camera.height) return false;
    this.ratio = ratio;
    const before = camera.fitting(network.places);
    Object.assign(camera, { width, height });
    camera.zoom(camera.fitting(network.places) / before);  // what was seen stays in sight
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    return true;
  }

  home() {
    this.camera.reset();
    this.camera.distance = this.camera.fitting(this.network.places);
    this.request();
  }

  /** Go so far away that the neurons are in sight in all epochs. */
  standBack(recording) {
    const { network, camera } = this, now = network.posNow;
    for (let epoch = 0; epoch < facts.epochs.length; epoch++) {
      network.posNow = recording.positions(epoch);
      network.place();
      camera.distance = Math.max(camera.distance, camera.fitting(network.places));
    }
    network.posNow = now;
    network.place();
  }

  /** Draw before the browser shows its next picture, however often this is called. */
  request() {
    this.waiting ??= requestAnimationFrame(() => this.draw());
  }

  /** Draw while the camera moves: where that is slow only the strongest synapses, and all when it is still again. */
  move() {
    const now = performance.now(), since = now - (this.movedAt ?? -Infinity);
    this.movedAt = now;
    if (since < 2 * STILL_AFTER) {
      if (since > SLOW) this.movingShare = Math.max(0.02, 0.6 * this.movingShare);
      else if (since < FAST) this.movingShare = Math.min(1, 1.1 * this.movingShare);
    }
    clearTimeout(this.still);
    this.still = setTimeout(() => this.request(), STILL_AFTER);
    this.draw(this.movingShare);
  }

  requestMove() {
    this.waiting ??= requestAnimationFrame(() => this.move());
  }

  draw(share = 1) {
    this.waiting = null;
    this.drawing.draw(this.camera, {
      neurons: this.network.count,
      synapses: this.drawn ? Math.ceil(share * this.synapses) : 0,
      shown: this.drawn,
      ground: this.colors.ground.map((part) => part / 255),
      ratio: this.ratio,
    });
    for (const follow of this.afterDrawing) follow();
  }

  /** The radius of a neuron on the screen, in pixels. */
  radius(neuron, depth) {
    return Math.max(1.3, (FOCAL * this.camera.height * this.network.places[4 * neuron + 3]) / (4 * depth));
  }

  /** The neuron at a place on the screen, or null: the first one under it, else the nearest within reach. */
  pick(x, y, reach = 4) {
    const project = this.camera.projector(this.network.places), { count } = this.network;
    let best = null, bestScore = Infinity;
    for (let at = 0; at < count; at++) {
      const [px, py, depth] = project(at);
      const distance = Math.hypot(px - x, py - y);
      if (distance > 60 || depth <= 0 || !this.isVisible(at)) continue;
      const radius = this.radius(at, depth);
      const score = distance <= radius ? depth : distance <= radius + reach ? 1e6 * (1 + distance - radius) : Infinity;
      if (score < bestScore) [best, bestScore] = [at, score];
    }
    return best;
  }
}
