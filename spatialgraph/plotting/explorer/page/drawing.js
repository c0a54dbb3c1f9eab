// WebGL 2: neurons are points, synapses are lines between them. All that is known of a neuron or a synapse lies in
// textures that the shaders look up by its number, so that a change of colours or of the epoch writes one texture.

const ROW = 2048;  // entries in a row of a texture, which every WebGL 2 has room for
const MANY = 6000;  // lines; more are drawn one pixel wide and in one colour each, as processors alone are slow

const LOOK_UP = `#version 300 es
precision highp float;
precision highp int;
uniform highp sampler2D places;
uniform mat4 camera;
uniform float distance;
ivec2 at(uint number) { return ivec2(int(number) % ${ROW}, int(number) / ${ROW}); }
vec4 place(uint number) { return camera * vec4(texelFetch(places, at(number), 0).xyz, 1.0); }
float haze(float depth) { return clamp(0.5 * (depth - distance) + 0.5, 0.0, 1.0); }
const vec4 NOWHERE = vec4(2.0, 2.0, 2.0, 1.0);
`;

const NEURON_VERTEX = `${LOOK_UP}
uniform sampler2D paints;
uniform float pixels;
out vec4 paint;
out float size;
void main() {
  uint number = uint(gl_VertexID);
  paint = texelFetch(paints, at(number), 0);
  gl_Position = paint.a > 0.0 ? place(number) : NOWHERE;
  size = max(2.5, pixels * texelFetch(places, at(number), 0).w / gl_Position.w);
  gl_PointSize = size;
  paint.a *= mix(1.0, 0.72, haze(gl_Position.w));
}`;

const NEURON_FRAGMENT = `#version 300 es
precision highp float;
in vec4 paint;
in float size;
uniform vec3 ground;
out vec4 color;
void main() {
  vec2 from = 2.0 * gl_PointCoord - 1.0;
  float radius = length(from);
  if (radius > 1.0) discard;
  float light = clamp(1.1 - 0.35 * radius - 0.16 * (from.x + from.y), 0.6, 1.16);
  float edge = clamp((1.0 - radius) * size * 0.5, 0.0, 1.0);
  float rim = smoothstep(1.0, 1.0 - 2.4 / size, radius);  // a thin ring in the colour of the ground sets neurons apart
  color = vec4(mix(ground, paint.rgb * light, 0.35 + 0.65 * rim), paint.a * edge);
}`;

const SYNAPSE_VERTEX = `${LOOK_UP}
uniform highp usampler2D ends;
uniform sampler2D inks;
uniform int count;
uniform int corners;
uniform float width;
uniform float opacity;
uniform vec2 size;
INTERPOLATION out vec4 ink;
out float across;
void main() {
  uint number = uint(count - 1 - gl_VertexID / corners);  // the strongest are drawn last, on top
  int corner = gl_VertexID % corners;
  ink = texelFetch(inks, at(number), 0);
  across = 0.0;
  gl_Position = NOWHERE;
  if (ink.a == 0.0) return;
  uvec2 pair = texelFetch(ends, at(number), 0).rg;
  bool isTarget = corners == 2 ? corner == 1 : corner == 1 || corner == 2 || corner == 4;
  gl_Position = place(isTarget ? pair.y : pair.x);
  if (corners == 6) {  // two triangles: a line of some width
    vec4 other = place(isTarget ? pair.x : pair.y);
    float near = 0.02 * distance;
    if (gl_Position.w < near) gl_Position = mix(gl_Position, other, (near - gl_Position.w) / (other.w - gl_Position.w));
    if (other.w < near) other = mix(other, gl_Position, (near - other.w) / (gl_Position.w - other.w));
    vec2 direction = (other.xy / other.w - gl_Position.xy / gl_Position.w) * size * (isTarget ? -1.0 : 1.0);
    float extent = length(direction);
    vec2 normal = extent > 0.0 ? vec2(-direction.y, direction.x) / extent : vec2(0.0);
    across = corner == 0 || corner == 1 || corner == 3 ? 1.0 : -1.0;
    gl_Position.xy += normal * across * (width + 1.0) / size * gl_Position.w;
  }
  ink.a *= opacity * (isTarget ? 1.0 : 0.7) * mix(1.0, 0.45, haze(gl_Position.w));
}`;

const SYNAPSE_FRAGMENT = `#version 300 es
precision highp float;
INTERPOLATION in vec4 ink;
in float across;
uniform float width;
out vec4 color;
void main() {
  float edge = clamp((1.0 - abs(across)) * (width + 1.0), 0.0, 1.0);
  color = vec4(ink.rgb, ink.a * edge);
}`;

class Drawing {
  constructor(canvas) {
    this.gl = canvas.getContext("webgl2", { alpha: false, antialias: false, powerPreference: "high-performance" });
    if (!this.gl) throw new Error("This page needs WebGL 2, which this browser does not offer.");
    this.units = { places: 0, paints: 1, ends: 2, inks: 3 };
    this.kept = {};  // what textures hold, for a browser that loses them
    this.build();
  }

  build() {
    const gl = this.gl;
    this.textures = {};
    this.neurons = this.program(NEURON_VERTEX, NEURON_FRAGMENT);
    const synapses = (interpolation) => [SYNAPSE_VERTEX, SYNAPSE_FRAGMENT].map((text) => (
      text.replace("INTERPOLATION", interpolation)
    ));
    this.lines = this.program(...synapses("flat"));
    this.ribbons = this.program(...synapses("smooth"));
    gl.bindVertexArray(gl.createVertexArray());
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    for (const [name, values] of Object.entries(this.kept)) this.set(name, values);
  }

  program(vertex, fragment) {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      const logs = gl.getAttachedShaders(program).map((shader) => gl.getShaderInfoLog(shader));
      throw new Error([gl.getProgramInfoLog(program), ...logs].join("\n"));
    }
    const uniforms = {};
    for (let at = 0; at < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); at++) {
      const { name } = gl.getActiveUniform(program, at);
      uniforms[name] = gl.getUniformLocation(program, name);
    }
    return { program, uniforms };
  }

  /** Write a texture: `places` (x, y, z, size), `paints` and `inks` (colours, 0 to 255), `ends` (two neurons). */
  set(name, values) {
    const gl = this.gl;
    const [inner, format, type, parts] = {
      places: [gl.RGBA32F, gl.RGBA, gl.FLOAT, 4],
      paints: [gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, 4],
      inks: [gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, 4],
      ends: [gl.RG32UI, gl.RG_INTEGER, gl.UNSIGNED_INT, 2],
    }[name];
    this.kept[name] = values;
    const rows = Math.max(1, Math.ceil(values.length / parts / ROW));
    const padded = new values.constructor(rows * ROW * parts);
    padded.set(values);
    this.textures[name] ??= gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + this.units[name]);
    gl.bindTexture(gl.TEXTURE_2D, this.textures[name]);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texImage2D(gl.TEXTURE_2D, 0, inner, ROW, rows, 0, format, type, padded);
  }

  use({ program, uniforms }, camera) {
    const gl = this.gl;
    gl.useProgram(program);
    for (const [name, unit] of Object.entries(this.units)) {
      if (uniforms[name]) gl.uniform1i(uniforms[name], unit);
    }
    gl.uniformMatrix4fv(uniforms.camera, false, camera.matrix());
    gl.uniform1f(uniforms.distance, camera.distance);
    return uniforms;
  }

  /** Draw so many neurons and the first, strongest synapses; `shown` of these have a colour at all. */
  draw(camera, { neurons, synapses, shown, ground, ratio }) {
    const gl = this.gl;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(...ground, 1);
    gl.depthMask(true);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    const forNeurons = this.use(this.neurons, camera);
    gl.uniform1f(forNeurons.pixels, (FOCAL * gl.drawingBufferHeight) / 2);
    gl.uniform3f(forNeurons.ground, ...ground);
    gl.drawArrays(gl.POINTS, 0, neurons);
    if (!synapses) return;
    gl.depthMask(false);
    const corners = shown > MANY ? 2 : 6;
    const forSynapses = this.use(corners === 2 ? this.lines : this.ribbons, camera);
    gl.uniform1i(forSynapses.count, synapses);
    gl.uniform1i(forSynapses.corners, corners);
    gl.uniform1f(forSynapses.width, ratio * (shown > 600 ? 0.9 : 1.3));
    gl.uniform1f(forSynapses.opacity, Math.max(0.05, Math.min(1, 18 / Math.sqrt(shown + 1))));
    gl.uniform2f(forSynapses.size, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.drawArrays(corners === 2 ? gl.LINES : gl.TRIANGLES, 0, corners * synapses);
  }

  /** Wait until all is drawn, to measure how long it takes. */
  finish() {
    this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, new Uint8Array(4));
  }
}
