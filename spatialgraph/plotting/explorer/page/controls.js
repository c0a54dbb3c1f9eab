// The panel at the side: what can be chosen, and what the colours mean.

const byId = (id) => document.getElementById(id);
const counted = (count, thing) => `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;

const COLOR_NAMES = {
  polarity: "Polarity", strength: "Strength (sum of absolute weights)", module: "Module", activation: "Activation",
  layer: "Layer",
};

class Controls {
  constructor(view, select) {
    this.view = view;
    this.select = select;
    this.offerColors();
    this.offerGroups();
    byId("share").addEventListener("input", (event) => this.change({ share: event.target.valueAsNumber / 100 }));
    byId("color").addEventListener("change", (event) => this.change({ color: event.target.value }));
    byId("reset").addEventListener("click", () => view.home());
    byId("all").addEventListener("click", () => select(null));
    byId("find").max = facts.neurons - 1;
    byId("find").addEventListener("input", (event) => this.find(event.target));
    byId("turn").addEventListener("click", (event) => this.turn(event.target));
    if (facts.stretched !== null) this.offerStretch();
    if (facts.samples > 1) this.offerSamples();
    if (facts.epochs) this.offerEpochs();
    this.tell();
  }

  change(settings) {
    this.view.change(settings);
    this.tell();
  }

  offerColors() {
    const lacks = { polarity: !facts.polarities, module: !facts.modules, activation: !facts.samples };
    for (const [name, text] of Object.entries(COLOR_NAMES)) {
      if (!lacks[name]) byId("color").append(new Option(text, name));
    }
  }

  offerGroups() {
    byId("groups").querySelector("legend").textContent = facts.layered ? "Layers" : "Groups";
    facts.groups.forEach(({ name, count }, number) => {
      const label = element("label"), box = element("input");
      Object.assign(box, { type: "checkbox", checked: true });
      box.dataset.group = number;
      box.addEventListener("change", () => {
        this.view.hiddenGroups[box.checked ? "delete" : "add"](number);
        this.change({});
      });
      label.append(box, element("span", "", name), element("span", "", count.toLocaleString("en")));
      byId("groups").append(label);
    });
  }

  offerStretch() {
    const slider = byId("stretch");
    byId("stretching").hidden = false;
    const most = Math.max(10, 4 * this.view.network.stretch);  // at the right end; in between by factors
    slider.value = Math.log(this.view.network.stretch) / Math.log(most);
    slider.addEventListener("input", () => {
      this.view.stretch(most ** slider.valueAsNumber);
      this.tell();
    });
  }

  offerSamples() {
    const slider = byId("sample");
    byId("samples").hidden = false;
    slider.max = facts.samples - 1;
    slider.addEventListener("input", () => this.change({ sample: slider.valueAsNumber, color: "activation" }));
  }

  offerEpochs() {
    const slider = byId("epoch");
    byId("epochs").hidden = false;
    slider.max = facts.epochs.length - 1;
    slider.value = slider.max;
    slider.addEventListener("input", () => this.showEpoch(slider.valueAsNumber));
    byId("play").addEventListener("click", () => this.play());
  }

  /** The recording, unpacked when it is first asked for. */
  recorded() {
    this.recording ??= Recording.unpacked().then((recording) => {
      this.view.standBack(recording);
      return recording;
    });
    return this.recording;
  }

  async showEpoch(epoch) {
    this.view.showEpoch(await this.recorded(), epoch);
    byId("epoch").value = epoch;
    this.tell();
  }

  /** Go through all epochs, two of them a second, between them on straight lines. */
  async play() {
    const last = facts.epochs.length - 1, button = byId("play");
    this.playing = !this.playing;
    button.setAttribute("aria-pressed", this.playing);
    button.textContent = this.playing ? "Pause" : "Play";
    if (!this.playing) return;
    let epoch = byId("epoch").valueAsNumber, before = performance.now();
    if (epoch >= last) epoch = 0;
    while (this.playing && epoch < last) {
      const now = await new Promise(requestAnimationFrame);
      epoch = Math.min(last, epoch + Math.max(0, now - before) / 500);
      before = now;
      const whole = Math.round(epoch);
      this.view.showEpoch(await this.recorded(), epoch);
      byId("epoch").value = whole;
      byId("epoch-out").textContent = facts.epochs[whole];
    }
    if (this.playing) this.play();
    this.tell();
  }

  find(box) {
    const number = box.valueAsNumber;
    const isThere = Number.isInteger(number) && number >= 0 && number < facts.neurons;
    box.setCustomValidity(isThere || box.value === "" ? "" : `A number from 0 to ${facts.neurons - 1}`);
    box.reportValidity();
    if (isThere || box.value === "") this.select(isThere ? number : null);
  }

  /** Turn the network slowly, until the button is pressed again. */
  turn(button) {
    this.turning = !this.turning;
    button.setAttribute("aria-pressed", this.turning);
    let before = performance.now();
    const step = (now) => {
      if (!this.turning) return;
      this.view.camera.rotate(-0.0003 * (now - before), 0);
      before = now;
      this.view.move();
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  /** Say in words and colours what is shown. */
  tell() {
    const { view } = this, { network } = view;
    const visible = facts.groups.reduce((sum, { count }, at) => sum + (view.hiddenGroups.has(at) ? 0 : count), 0);
    const neurons = visible === network.count ? counted(visible, "neuron")
      : `${visible.toLocaleString("en")} of ${counted(network.count, "neuron")}`;
    const synapses = `${view.drawn.toLocaleString("en")} of ${counted(facts.synapses, "synapse")}`;
    byId("numbers").textContent = `${neurons}, ${synapses} shown`;
    byId("share-out").textContent = `${(100 * view.share).toFixed(view.share < 0.1 ? 1 : 0)} %`;
    const most = facts.shown.toLocaleString("en");
    const note = facts.shown < facts.synapses ? `Of the ${most} strongest, which this page holds.` : "";
    byId("share-note").textContent = network.shown ? note : "This page holds no synapses.";
    byId("share").disabled = !network.shown;
    byId("color").value = view.color;
    byId("stretch-note").textContent = network.stretch === 1 ? "" : "Further apart than they are, to tell them apart.";
    byId("stretch-out").textContent = network.stretch === 1 ? "to scale" : `× ${short(network.stretch)}`;
    byId("all").disabled = view.selected === null;
    if (facts.samples > 1) byId("sample-out").textContent = `${view.sample + 1} of ${facts.samples}`;
    if (facts.epochs) byId("epoch-out").textContent = facts.epochs[Math.round(view.epoch ?? facts.epochs.length - 1)];
    this.explainColors();
  }

  explainColors() {
    const { scale, colors, color } = this.view, legend = byId("legend");
    legend.replaceChildren();
    const key = (shade, text) => {
      const row = element("div", "key"), dot = element("i");
      dot.style.background = cssColor(shade);
      row.append(dot, element("span", "", text));
      legend.append(row);
    };
    if (scale.names) {
      scale.names.forEach((name, number) => key(scale.shade(number), name));
      if (scale.more > 0) key(colors.plain, `${scale.more} more`);
    } else {
      const bar = element("div", "bar"), ends = element("div", "ends");
      bar.style.background = `linear-gradient(to right, ${scale.stops.map(cssColor).join(", ")})`;
      ends.append(...scale.labels.map((text) => element("span", "", text)));
      legend.append(bar, ends);
      if (scale.plain) key(colors.plain, `${scale.plain} (outputs)`);
    }
    this.explainLines(color, colors);
  }

  explainLines(color, colors) {
    const lines = byId("lines");
    lines.replaceChildren();
    if (!this.view.network.shown) return;
    if (color === "module") return lines.append("Synapses: colour of their source");
    const sign = (shade, text) => {
      const line = element("i");
      line.style.background = cssColor(shade);
      lines.append(line, element("span", "", text));
    };
    lines.append(element("span", "", "Synapses: "));
    sign(colors.plus, "positive");
    sign(colors.minus, "negative");
  }
}
