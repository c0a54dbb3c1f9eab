// Mouse, fingers and keys on the drawing.

const TURN = 0.006;  // radians for each pixel
const STILL = 4;  // pixels that a click may move

class Pointer {
  constructor(view, { onHover, onClick }) {
    Object.assign(this, { view, onHover, onClick, down: new Map(), moved: 0 });
    const { canvas } = view;
    const on = (name, act) => canvas.addEventListener(name, act, { passive: false });
    on("pointerdown", (event) => this.press(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.release(event, true));
    on("pointercancel", (event) => this.release(event, false));
    on("pointerleave", () => this.onHover(null));
    on("wheel", (event) => this.wheel(event));
    on("keydown", (event) => this.key(event));
    on("contextmenu", (event) => event.preventDefault());
  }

  press(event) {
    this.view.canvas.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, [event.clientX, event.clientY]);
    this.moved = this.down.size > 1 ? Infinity : 0;
  }

  move(event) {
    const before = this.down.get(event.pointerId), here = this.place(event);
    if (!before) return this.hover(here);
    const [dx, dy] = [event.clientX - before[0], event.clientY - before[1]];
    this.moved += Math.abs(dx) + Math.abs(dy);
    if (this.moved <= STILL) return;
    this.onHover(null);
    const spread = this.spread();
    this.down.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.down.size > 1) {
      this.view.camera.zoom(spread / Math.max(1, this.spread()));
      this.view.camera.pan(dx / 2, dy / 2);
    } else if (event.shiftKey || event.buttons & 6) this.view.camera.pan(dx, dy);
    else this.view.camera.rotate(TURN * dx, TURN * dy);
    this.view.requestMove();
  }

  release(event, isClick) {
    const wasDown = this.down.delete(event.pointerId);
    const isStill = wasDown && this.moved <= STILL && event.button === 0;
    if (isClick && isStill) this.onClick(this.view.pick(...this.place(event)));
    if (event.pointerType !== "mouse") this.onHover(null);
  }

  /** Look for the neuron under the pointer, once a picture. */
  hover(here) {
    this.here = here;
    this.looking ??= requestAnimationFrame(() => {
      this.looking = null;
      if (!this.down.size) this.onHover(this.view.pick(...this.here), this.here);
    });
  }

  wheel(event) {
    event.preventDefault();
    const pixels = event.deltaMode === 1 ? 16 * event.deltaY : event.deltaY;
    this.view.camera.zoom(Math.exp(Math.max(-0.5, Math.min(0.5, 0.0015 * pixels))));
    this.view.requestMove();
    this.hover(this.place(event));
  }

  key(event) {
    const { camera } = this.view, step = 0.1;
    const acts = {
      ArrowLeft: () => camera.rotate(step, 0), ArrowRight: () => camera.rotate(-step, 0),
      ArrowUp: () => camera.rotate(0, -step), ArrowDown: () => camera.rotate(0, step),
      "+": () => camera.zoom(1 / 1.15), "=": () => camera.zoom(1 / 1.15), "-": () => camera.zoom(1.15),
      Home: () => this.view.home(),
    };
    if (!acts[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[event.key]();
    this.view.requestMove();
  }

  place(event) {
    const box = this.view.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** How far two fingers stand apart. */
  spread() {
    const [first, second] = this.down.values();
    return second ? Math.hypot(first[0] - second[0], first[1] - second[1]) : 1;
  }
}
