// A camera that turns about a point. The network is scaled so that it lies within about 1 of the origin.

const FOCAL = 1 / Math.tan((32 * Math.PI) / 360);  // field of view: 32 degrees
const STEEPEST = 1.55;  // radians, just below straight down, where left and right would swap

class Camera {
  constructor(yaw, pitch) {
    this.first = { yaw, pitch };
    this.width = this.height = 1;
    this.offset = 0;  // pixels to the right, to leave room for a card
    this.reset();
  }

  reset() {
    Object.assign(this, this.first, { target: [0, 0, 0], distance: 4 });
  }

  /** The axes of the picture in space: to the right, up, and towards the viewer. */
  frame() {
    const [sy, cy, sp, cp] = [Math.sin(this.yaw), Math.cos(this.yaw), Math.sin(this.pitch), Math.cos(this.pitch)];
    return { right: [cy, 0, -sy], up: [-sy * sp, cp, -cy * sp], towards: [sy * cp, sp, cy * cp] };
  }

  rotate(dx, dy) {
    this.yaw -= dx;
    this.pitch = Math.max(-STEEPEST, Math.min(STEEPEST, this.pitch + dy));
  }

  /** Move the target by a distance in pixels. */
  pan(dx, dy) {
    const { right, up } = this.frame();
    const unit = (2 * this.distance) / (FOCAL * this.height);
    for (let axis = 0; axis < 3; axis++) this.target[axis] += unit * (dy * up[axis] - dx * right[axis]);
  }

  zoom(factor) {
    this.distance = Math.max(0.02, Math.min(60, this.distance * factor));
  }

  /** How near all points just fit. */
  fitting(points) {
    const { right, up, towards } = this.frame();
    const aspect = this.width / this.height;
    let distance = 1.5;
    for (let at = 0; at < points.length / 4; at++) {
      const [x, y, z] = this.seen(points, at, right, up, towards), size = points[4 * at + 3];
      const wide = Math.max((Math.abs(x) + size) / aspect, Math.abs(y) + size);
      distance = Math.max(distance, z + 1.1 * FOCAL * wide);
    }
    return distance;
  }

  /** A point's coordinates along the axes of the picture. */
  seen(points, at, right, up, towards) {
    const x = points[4 * at] - this.target[0], y = points[4 * at + 1] - this.target[1];
    const z = points[4 * at + 2] - this.target[2];
    return [
      x * right[0] + y * right[1] + z * right[2],
      x * up[0] + y * up[1] + z * up[2],
      x * towards[0] + y * towards[1] + z * towards[2],
    ];
  }

  /** A function from a point's number to its place on the screen, in pixels, and its depth. */
  projector(points) {
    const { right, up, towards } = this.frame();
    const scale = (FOCAL * this.height) / 2;
    return (at) => {
      const [x, y, z] = this.seen(points, at, right, up, towards);
      const depth = this.distance - z;
      return [this.width / 2 + this.offset + (scale * x) / depth, this.height / 2 - (scale * y) / depth, depth];
    };
  }

  /** The matrix of WebGL, column by column. */
  matrix() {
    const { right, up, towards } = this.frame();
    const near = 0.01 * this.distance, far = this.distance + 20;
    const rows = [right.map((v) => (v * FOCAL * this.height) / this.width), up.map((v) => v * FOCAL)];
    const slope = (far + near) / (far - near);
    rows.push(towards.map((v) => -v * slope), towards.map((v) => -v));
    const shift = rows.map((row) => -(row[0] * this.target[0] + row[1] * this.target[1] + row[2] * this.target[2]));
    shift[2] += slope * this.distance - (2 * far * near) / (far - near);
    shift[3] += this.distance;
    const aside = (2 * this.offset) / this.width;
    for (let axis = 0; axis < 3; axis++) rows[0][axis] += aside * rows[3][axis];
    shift[0] += aside * shift[3];
    const columns = [0, 1, 2].map((axis) => rows.map((row) => row[axis]));
    return new Float32Array([...columns[0], ...columns[1], ...columns[2], ...shift]);
  }
}
