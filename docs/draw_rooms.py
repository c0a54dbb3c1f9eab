"""Draw which parts of the package import which, as docs/images/rooms.png; needs the extra plot.

python docs/draw_rooms.py
"""

import ast
import io
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

IMAGE = Path(__file__).parent / "images" / "rooms.png"
PACKAGE = Path(__file__).resolve().parent.parent / "spatialgraph"

# Level and horizontal place of each room. A room imports from lower levels only.
PLACES = {
    "experiments": (6, 6.9),
    "training": (5, 8.5),
    "deploy": (5, 2.0),
    "conversion": (4, 4.9),
    "costs": (4, 9.4),
    "models": (3, 3.5),
    "connectome": (3, 8.1),
    "pruning": (3, 0.9),
    "plotting": (4, 6.75),
    "layers": (2, 4.5),
    "neurons": (2, 0.9),
    "graph": (2, 6.3),
    "functional": (1, 3.5),
    "kernels": (0, 3.2),
    "laws": (0, 5.1),
    "wiring": (0, 6.9),
    "datasets": (0, 9.4),
}
WIDTH, HEIGHT, RISE = 1.5, 0.46, 1.0
DIRECT, INDIRECT = "#0072B2", "0.72"  # told apart by their lightness


def imported(path):
    """Return the rooms and single files of the package that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("spatialgraph.")}


def arrows():
    """Return the pairs of rooms of which the first imports the second, sorted."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        found |= {(room, other) for other in imported(path) if room in PLACES and other in PLACES and other != room}
    return sorted(found)


def is_reached(start, end, pairs):
    """Tell whether a path of arrows leads from one room to another."""
    return (start, end) in pairs or any(is_reached(other, end, pairs) for first, other in pairs if first == start)


def is_direct(pair, pairs):
    """Tell whether no longer path of arrows joins the two rooms."""
    others = [other for first, other in pairs if first == pair[0] and other != pair[1]]
    return not any(is_reached(other, pair[1], pairs) for other in others)


def draw_arrow(ax, pair, color, zorder):
    """Draw an arrow from the lower edge of a room to the upper edge of another."""
    (level, x), (lower_level, lower_x) = (PLACES[room] for room in pair)
    lean = 0.35 * WIDTH * max(-1.0, min(1.0, (lower_x - x) / 4))  # arrows to different rooms leave at different places
    start, end = (x + lean, RISE * level - HEIGHT / 2), (lower_x - lean, RISE * lower_level + HEIGHT / 2)
    style = {"arrowstyle": "-|>", "color": color, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 1, "mutation_scale": 11}
    ax.annotate("", end, start, arrowprops=style, zorder=zorder)


def draw_room(ax, room):
    """Draw a room as a box with its name."""
    level, x = PLACES[room]
    corner = x - WIDTH / 2, RISE * level - HEIGHT / 2
    style = {"boxstyle": "round,pad=0,rounding_size=0.08", "facecolor": "white", "edgecolor": "0.15", "linewidth": 1.2}
    ax.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, zorder=3, **style))
    ax.text(x, RISE * level, room, fontsize=11, family="DejaVu Sans", ha="center", va="center", color="0.1", zorder=4)


def draw(pairs):
    """Draw the rooms and the arrows between them."""
    figure = Figure(figsize=(8.6, 6.5))
    ax = figure.add_axes((0, 0, 1, 1))
    for pair in pairs:
        direct = is_direct(pair, pairs)
        draw_arrow(ax, pair, DIRECT if direct else INDIRECT, 2 if direct else 1)
    for room in PLACES:
        draw_room(ax, room)
    ax.set_xlim(0.0, 10.3)
    ax.set_ylim(-0.4, 6.4)
    ax.set_axis_off()
    return figure


def main():
    """Write the picture with 32 colours."""
    drawn = io.BytesIO()
    draw(arrows()).savefig(drawn, dpi=150)
    Image.open(drawn).convert("RGB").quantize(32).save(IMAGE, optimize=True)


if __name__ == "__main__":
    main()
