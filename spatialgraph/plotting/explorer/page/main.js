// Start: unpack the network, draw it, and connect the parts.

const MOST_LABELS = 20;  // outputs; more are not labelled

/** Numbers beside the outputs, which follow the drawing. */
function labelOutputs(view) {
  const { network } = view, labels = [];
  if (facts.outputs > MOST_LABELS) return;
  for (let at = 0; at < network.count; at++) {
    if (network.role[at] !== OUTPUT) continue;
    const label = element("span", "", String(network.ordinals[at]));
    byId("labels").append(label);
    labels.push([at, label]);
  }
  view.afterDrawing.push(() => {
    const project = view.camera.projector(network.places);
    for (const [at, label] of labels) {
      const [x, y, depth] = project(at);
      label.hidden = !view.isVisible(at) || depth <= 0;
      label.style.transform = `translate(${x + view.radius(at, depth) + 7}px, ${y - 10}px)`;
    }
  });
}

/** The axes of space, in the corner. */
function drawCompass(view) {
  const compass = byId("compass");
  compass.innerHTML = facts.axes.map(() => "<line/><text></text>").join("");
  const lines = compass.querySelectorAll("line"), texts = compass.querySelectorAll("text");
  facts.axes.forEach((name, axis) => { texts[axis].textContent = name; });
  view.afterDrawing.push(() => {
    const { right, up } = view.camera.frame();
    facts.axes.forEach((name, axis) => {
      const [x, y] = [right[axis], -up[axis]];
      lines[axis].setAttribute("x2", 30 * x);
      lines[axis].setAttribute("y2", 30 * y);
      texts[axis].setAttribute("x", 41 * x);
      texts[axis].setAttribute("y", 41 * y);
    });
  });
}

/** Put a card beside a place on the screen, where there is room. */
function putBeside(card, [x, y], stage) {
  const left = x + 18 + card.offsetWidth < stage.clientWidth ? x + 18 : x - 18 - card.offsetWidth;
  const top = Math.max(8, Math.min(y - 30, stage.clientHeight - card.offsetHeight - 8));
  card.style.transform = `translate(${Math.max(8, left)}px, ${top}px)`;
}

function connect(view) {
  const { network } = view, [hovered, pinned, stage] = ["hovered", "pinned", "stage"].map(byId);
  let over = null;
  const onHover = (neuron, here) => {
    view.canvas.classList.toggle("over", neuron !== null);
    if (neuron === null || neuron === view.selected) hovered.hidden = true;
    else if (neuron !== over || hovered.hidden) fillCard(hovered, network, neuron, view);
    if (!hovered.hidden) putBeside(hovered, here, stage);
    over = neuron;
    follow();
  };
  const ring = byId("ring");
  const follow = () => {
    const marked = hovered.hidden ? view.selected : over;
    ring.hidden = marked === null;
    if (marked === null) return;
    const [x, y, depth] = view.camera.projector(network.places)(marked), radius = view.radius(marked, depth) + 5;
    ring.style.transform = `translate(${x - radius}px, ${y - radius}px)`;
    ring.style.width = ring.style.height = `${2 * radius}px`;
  };
  view.afterDrawing.push(follow);
  const select = (neuron) => {
    controls.change({ selected: neuron });
    if (neuron === null) {
      pinned.hidden = true;
      byId("find").value = "";
    } else {
      fillCard(pinned, network, neuron, view);
      byId("find").value = neuron;
    }
    hovered.hidden = true;
    const hasRoom = stage.clientWidth > 3 * pinned.offsetWidth;
    view.camera.offset = pinned.hidden || !hasRoom ? 0 : 0.4 * pinned.offsetWidth;
    byId("hint").textContent = neuron === null ? firstHint : "Click on empty space or press Escape to show all";
  };
  const firstHint = byId("hint").textContent;
  const controls = new Controls(view, select);
  view.onChange = () => { if (view.selected !== null) fillCard(pinned, network, view.selected, view); };
  new Pointer(view, { onHover, onClick: select });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") select(null); });
  return { controls, select };
}

/** For scripts and tests: where a neuron is on the screen, and what is shown. */
function forScripts(view) {
  return {
    project: (neuron) => {
      const box = view.canvas.getBoundingClientRect();
      const [x, y] = view.camera.projector(view.network.places)(neuron);
      return [box.left + x, box.top + y];
    },
    state: () => ({
      color: view.color, drawn: view.drawn, selected: view.selected, epoch: view.epoch, sample: view.sample,
    }),
    paint: (neuron) => Array.from(view.drawing.kept.paints.slice(4 * neuron, 4 * neuron + 4)),
    frame: (angle) => {
      view.camera.rotate(angle, 0);
      view.draw();
      view.drawing.finish();
    },
  };
}

async function start() {
  const network = new Network(await unpacked("network"));
  network.fieldNumbers = new Int32Array(network.count);
  let next = 0;
  for (let at = 0; at < network.count; at++) network.fieldNumbers[at] = network.role[at] === INPUT ? -1 : next++;
  const view = new View(network, byId("space"));
  labelOutputs(view);
  drawCompass(view);
  connect(view);
  new ResizeObserver(() => { if (view.resize()) view.draw(); }).observe(byId("stage"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => view.recolor());
  view.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  view.canvas.addEventListener("webglcontextrestored", () => { view.drawing.build(); view.request(); });
  window.explorer = forScripts(view);
  view.afterDrawing.push(() => { document.documentElement.dataset.ready = "true"; });
}

start().catch((error) => {
  const message = byId("message");
  message.textContent = error.message;
  message.hidden = false;
  throw error;
});
