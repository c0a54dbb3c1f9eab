"""Compare the explorer's page with pages of k3d and plotly of the same neurons and synapses, in headless Chromium.

    python benchmarks/explorer.py

For each page: size, seconds and processor seconds until the first whole picture, processor seconds for each picture
while the network turns, memory of the browser, and requests. Without a graphics processor, so that processors draw.
Needs selenium, chromium and chromedriver; k3d and plotly are left out where they are not installed.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import spatialgraph as sg
from spatialgraph import atomic
from spatialgraph.connectome.survey import Survey
from spatialgraph.training import environment

INPUTS, OUTPUTS = 784, 10
FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--use-angle=swiftshader")
SIZE = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}

# For each page: whether it is ready, its WebGL, and a script that turns it by an angle and draws.
SCRIPTS = {
    "explorer": (
        "document.documentElement.dataset.ready",
        "document.getElementById('space').getContext('webgl2')",
        "explorer.frame(angle);",
    ),
    "k3d": (
        "K3DInstance.then((plot) => { window.world = plot.getWorld(); }) && window.world?.K3DObjects.children.length",
        "world.renderer.getContext()",
        """const {camera, controls, renderer, scene, K3DObjects} = world, {x, y} = camera.position;
        camera.position.x = x * Math.cos(angle) - y * Math.sin(angle);
        camera.position.y = x * Math.sin(angle) + y * Math.cos(angle);
        camera.lookAt(controls.target);
        camera.updateMatrixWorld();
        renderer.render(K3DObjects.parent ?? scene, camera);""",
    ),
    "plotly": (
        "!!document.querySelector('.js-plotly-plot')?._fullLayout?.scene?._scene?.glplot",
        "document.querySelector('.js-plotly-plot')._fullLayout.scene._scene.glplot.gl",
        """window.turned = (window.turned ?? 0) + angle;
        const eye = {x: 1.7 * Math.cos(turned), y: 1.7 * Math.sin(turned), z: 0.6};
        await Plotly.relayout(document.querySelector('.js-plotly-plot'), {"scene.camera": {eye}});""",
    ),
}
# Waits until all is drawn.
READ = """const gl = {}; gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
await new Promise(requestAnimationFrame);"""


def network(neurons: int) -> sg.SpatialGraph:
    """Return an all-to-all network with images as inputs."""
    torch.manual_seed(0)
    return sg.SpatialGraph.layered([INPUTS, neurons - INPUTS - OUTPUTS, OUTPUTS])


def write_explorer(graph: sg.SpatialGraph, synapses: int, path: Path) -> None:
    """Write the explorer's page."""
    sg.explore(graph, path, top=synapses)


def write_k3d(graph: sg.SpatialGraph, synapses: int, path: Path) -> None:
    """Write the cheapest page of k3d: flat points, thin lines."""
    import k3d

    survey, pos = Survey.of(graph, top=synapses), graph.pos.detach().float().numpy()
    plot = k3d.plot(antialias=0, grid_visible=False)
    plot += k3d.points(pos, point_size=0.03, shader="flat")
    ends = torch.stack([survey.source, survey.target], 1).int().numpy().astype("uint32")
    plot += k3d.lines(pos, ends, indices_type="segment", shader="simple", opacity=0.1)
    plot.snapshot_type = "full"
    atomic.write_text(path, plot.get_snapshot())


def write_plotly(graph: sg.SpatialGraph, synapses: int, path: Path) -> None:
    """Write a page of plotly: points, and lines with a gap after each synapse."""
    import plotly.graph_objects as go

    survey, pos = Survey.of(graph, top=synapses), graph.pos.detach().float()
    gap = torch.full((len(survey.source), 3), torch.nan)
    lines = torch.stack([pos[survey.source], pos[survey.target], gap], 1).reshape(-1, 3).t().numpy()
    points = pos.t().numpy()
    axes = ("x", "y", "z")
    figure = go.Figure(
        [
            go.Scatter3d(**dict(zip(axes, lines, strict=True)), mode="lines", opacity=0.3, hoverinfo="skip"),
            go.Scatter3d(**dict(zip(axes, points, strict=True)), mode="markers", marker_size=2),
        ]
    )
    atomic.write_text(path, figure.to_html(include_plotlyjs=True))


WRITERS: dict[str, Callable[[sg.SpatialGraph, int, Path], None]] = {
    "explorer": write_explorer,
    "k3d": write_k3d,
    "plotly": write_plotly,
}


def of_processes(root: int) -> tuple[float, float]:
    """Return processor seconds and resident megabytes of a process and all that it started."""
    fields = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has ended
            continue
        fields[int(stat.parent.name)] = rest
    found = {root}
    while more := {pid for pid, rest in fields.items() if int(rest[1]) in found} - found:
        found |= more
    own = [fields[pid] for pid in found if pid in fields]
    seconds = sum(int(rest[11]) + int(rest[12]) for rest in own) / os.sysconf("SC_CLK_TCK")
    return seconds, sum(int(rest[21]) for rest in own) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(name: str, path: Path, frames: int) -> dict[str, float]:
    """Open a page in a new browser, turn the network, and return what it took."""
    from selenium import webdriver

    ready, gl, turn = SCRIPTS[name]
    read = f"await new Promise(requestAnimationFrame); {READ.format(gl)}"
    options: Any = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver: Any = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.set_script_timeout(600)
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SIZE)
        pid = driver.service.process.pid
        driver.get("about:blank")
        driver.get_log("performance")
        (before, _), start = of_processes(pid), time.perf_counter()
        driver.get(path.as_uri())
        while not driver.execute_script(f"try {{ return {ready}; }} catch (error) {{ return false; }}"):
            time.sleep(0.02)
        driver.execute_script(read)
        loaded, (processor, _) = time.perf_counter(), of_processes(pid)
        for _ in range(frames):
            driver.execute_script(f"const angle = 0.02; {turn} {READ.format(gl)}")
        elapsed, (after, memory) = time.perf_counter() - loaded, of_processes(pid)
        events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        urls = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
    finally:
        driver.quit()
    return {
        "file_mb": round(path.stat().st_size / 1e6, 2),
        "load_s": round(loaded - start, 2),
        "load_processor_s": round(processor - before, 2),
        "frame_s": round(elapsed / frames, 3),
        "frame_processor_s": round((after - processor) / frames, 3),
        "memory_mb": round(memory),
        "requests": sum(not url.startswith(("file:", "data:", "blob:")) for url in urls),
    }


def main() -> None:
    """Measure, print a table, and write it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, default=10_000)
    parser.add_argument("--synapses", type=int, default=50_000)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    graph, rows, versions = network(args.neurons), {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in WRITERS.items():
            if name in ("k3d", "plotly"):
                if importlib.util.find_spec(name) is None:
                    print(f"{name:<10} is not installed")
                    continue
                versions[name] = importlib.metadata.version(name)
            path = Path(folder) / f"{name}.html"
            start = time.perf_counter()
            write(graph, args.synapses, path)
            rows[name] = {"write_s": round(time.perf_counter() - start, 2), **measure(name, path, args.frames)}
            print(f"{name:<10} {rows[name]}", flush=True)
    if args.json is not None:
        options = f"--neurons {args.neurons} --synapses {args.synapses} --frames {args.frames}"
        about: dict[str, Any] = {"command": f"python benchmarks/explorer.py {options}", "environment": environment()}
        about |= {"browser": os.popen("chromium --version").read().strip(), "versions": versions, "rows": rows}
        atomic.write_text(args.json, json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
