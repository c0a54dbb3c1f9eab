"""Movies of the neurons of a network over its training."""

import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spatialgraph import atomic, checks
from spatialgraph.graph.network import graph_of
from spatialgraph.graph.recording import Recording
from spatialgraph.plotting.axes import NEUTRAL, SIGNED, given_or_new
from spatialgraph.plotting.layers import in_plane, limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["movie"]

_SUFFIXES = (".gif", ".mp4")
# So many outputs are drawn as their numbers, more as dots.
_NUMBERED = 20
# Colours of a frame of a GIF, which make half of the bytes of 256.
_PALETTE = 128


def movie(
    recording: Recording,
    path: str | os.PathLike[str],
    network: nn.Module | None = None,
    ax: "Axes | None" = None,
    *,
    fps: float = 8.0,
    dpi: int = 80,
) -> "Axes":
    """Write a movie of the neurons' positions, a frame for each time of a recording.

    The first two axes of space are shown, on the same scales in all frames. Neurons are coloured by their polarity at
    that time, red for excitatory and blue for inhibitory ones. With the network, inputs are small and grey, and outputs
    are drawn as their numbers, above 20 as black dots. The file is written once it is complete.

    Args:
        recording: what :class:`~spatialgraph.training.RecordPositions` recorded.
        path: the file, ``.gif``, or ``.mp4`` where the program ffmpeg is installed.
        network: the network that was recorded, which tells inputs and outputs; None where it is not known.
        ax: axes to draw on, whose figure is the frame; None for new ones.
        fps: frames per second, from 0.1 to 50; the times of a GIF are whole hundredths of a second.
        dpi: dots per inch.

    Returns:
        The axes, as in the last frame.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if the recording is empty, ``network`` has another number of neurons, ``path`` another suffix, or
            ``fps`` or ``dpi`` is out of range.
        RuntimeError: if a movie of the suffix ``.mp4`` is asked for and ffmpeg is not installed.
        OSError: if the file cannot be written; an existing file is then unchanged.
        ImportError: if matplotlib is not installed.

    Example:
        >>> from spatialgraph import SpatialGraph
        >>> graph, recording = SpatialGraph.layered([4, 2]), Recording()
        >>> recording.add(graph, 0)
        >>> movie(recording, Path(tempfile.mkdtemp()) / "training.gif", graph).get_title()
        'epoch 0'
    """
    suffix = _suffix(path)
    checks.between("fps", fps, 0.1, 50.0)  # browsers slow down faster GIFs
    checks.integer("dpi", dpi, minimum=1)
    if not isinstance(recording, Recording):
        raise TypeError(f"recording must be a Recording, got {type(recording).__name__}")
    if not len(recording):
        raise ValueError("recording must hold at least one time, got none")
    if network is not None and graph_of(network).neurons != recording.positions.shape[1]:
        got = graph_of(network).neurons
        raise ValueError(f"network must have the {recording.positions.shape[1]} neurons of the recording, got {got}")
    ax = given_or_new(ax)
    draw = _prepare(recording, network, ax)
    write = _gif if suffix == ".gif" else _mp4
    atomic.write_bytes(path, write(ax, draw, len(recording), fps, dpi))
    return ax


def _suffix(path: Any) -> str:  # noqa: ANN401 - any value is checked
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a string or a path, got {type(path).__name__}")
    return checks.choice("the suffix of path", Path(path).suffix.lower(), _SUFFIXES)


def _prepare(recording: Recording, network: nn.Module | None, ax: "Axes") -> Callable[[int], None]:
    """Draw the first time, and return what draws any other on the same axes."""
    epochs, polarity = recording.epochs, recording.polarities.double()
    pos = torch.stack([in_plane(each) for each in recording.positions])
    is_input, is_output = _roles(network, pos.shape[1])
    rest = torch.nonzero(~is_input & ~is_output)[:, 0]
    sizes = polarity.abs().flatten()
    limit = max(1.0, float(sizes.kthvalue(max(1, round(0.98 * len(sizes)))).values))
    style: dict[str, Any] = {"cmap": SIGNED, "vmin": -limit, "vmax": limit, "linewidths": 0.2, "edgecolors": "0.5"}
    inputs = ax.scatter([], [], s=0.3 * _size(pos.shape[1]), color=NEUTRAL, linewidths=0)
    x, y = pos[0, rest].t()
    dots = ax.scatter(x, y, s=_size(len(rest)), c=polarity[0, rest], **style)
    outputs = _output_drawer(pos[0, is_output], ax)
    horizontal, vertical = limits(pos)
    ax.set(xlim=horizontal, ylim=vertical, aspect="equal", xlabel="x (length units)", ylabel="y (length units)")
    ax.figure.colorbar(dots, ax=ax, label="polarity", shrink=0.8)

    def draw(number: int) -> None:
        inputs.set_offsets(pos[number, is_input].numpy())
        dots.set_offsets(pos[number, rest].numpy())
        dots.set_array(polarity[number, rest].numpy())
        outputs(pos[number, is_output])
        ax.set_title(f"epoch {epochs[number]:.10g}")

    return draw


def _roles(network: nn.Module | None, count: int) -> tuple[Tensor, Tensor]:
    """Return which neurons are drawn as inputs and as outputs."""
    if network is None:
        return torch.zeros(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
    graph = graph_of(network)
    return graph.is_input.cpu(), graph.is_output.cpu()


def _output_drawer(pos: Tensor, ax: "Axes") -> Callable[[Tensor], None]:
    """Draw outputs, and return what moves them."""
    if len(pos) > _NUMBERED:
        x, y = pos.t()
        dots = ax.scatter(x, y, s=_size(len(pos)), color="black", linewidths=0, zorder=5)
        return lambda pos: dots.set_offsets(pos.numpy())
    box = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "black", "linewidth": 0.7}
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9, "bbox": box, "zorder": 5}
    texts = [ax.text(x, y, str(number), **style) for number, (x, y) in enumerate(pos.tolist())]

    def move(pos: Tensor) -> None:
        for text, place in zip(texts, pos.tolist(), strict=True):
            text.set_position(place)

    return move


def _gif(ax: "Axes", draw: Callable[[int], None], count: int, fps: float, dpi: int) -> bytes:
    from PIL import Image

    frames = []
    for number in range(count):
        draw(number)
        drawn = io.BytesIO()
        ax.figure.figure.savefig(drawn, format="png", dpi=dpi, facecolor="white")
        frames.append(Image.open(drawn).convert("RGB").quantize(_PALETTE))
    content = io.BytesIO()
    frames[0].save(content, format="GIF", save_all=True, append_images=frames[1:], duration=round(1000.0 / fps), loop=0)
    return content.getvalue()


def _mp4(ax: "Axes", draw: Callable[[int], None], count: int, fps: float, dpi: int) -> bytes:
    from matplotlib.animation import FFMpegWriter

    if not FFMpegWriter.isAvailable():
        raise RuntimeError("a movie of the suffix .mp4 needs the program ffmpeg, which is not installed; write a .gif")
    with tempfile.TemporaryDirectory() as folder:
        file, writer = Path(folder) / "movie.mp4", FFMpegWriter(fps=fps)  # type: ignore[arg-type] # ffmpeg takes fractions
        with writer.saving(ax.figure.figure, str(file), dpi):
            for number in range(count):
                draw(number)
                writer.grab_frame()
        return file.read_bytes()


def _size(count: int) -> float:
    return min(36.0, max(5.0, 5000.0 / max(1, count)))
