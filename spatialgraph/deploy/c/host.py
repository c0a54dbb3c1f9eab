"""The machine that Python runs on: an exported network is compiled for it, and run on many inputs."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spatialgraph.deploy.c.network import check_inputs

__all__ = ["HostProgram", "compile_here", "counts_of", "source_of"]

_SOURCE = """
#define {capitals}_TEST
#include "{header}"
#include <stdio.h>

static uint8_t input[{capitals}_INPUTS];
static {number} output[{capitals}_OUTPUTS], buffer[{capitals}_BUFFER_WORDS];

int main(void) {{
    while (fread(input, 1, sizeof input, stdin) == sizeof input) {{
        const uint32_t found = {name}_classify(input, output, buffer);
        if (fwrite(&found, 4, 1, stdout) != 1 || fwrite(output, sizeof output, 1, stdout) != 1) {{
            return 1;
        }}
    }}
    return 0;
}}
"""
_FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wno-sign-conversion"]
_NUMBERS: dict[str, tuple[str, type]] = {"integer": ("int32_t", np.int32), "float": ("float", np.float32)}


def source_of(header: str | Path, name: str = "network", arithmetic: str = "integer") -> str:
    """Return a C program that reads inputs, and writes the class and the outputs of each.

    Args:
        header: what is included.
        name: as for :func:`spatialgraph.to_c`.
        arithmetic: as for :func:`spatialgraph.to_c`.

    Example:
        >>> "network_classify(input, output, buffer)" in source_of("network.h")
        True
    """
    return _SOURCE.format(header=header, capitals=name.upper(), name=name, number=_NUMBERS[arithmetic][0])


def compile_here(
    header: Path, program: Path, *, name: str = "network", arithmetic: str = "integer", flags: Sequence[str] = ("-O2",)
) -> "HostProgram":
    """Compile an exported header for this machine, with all warnings as errors.

    Args:
        header: the header that :func:`spatialgraph.to_c` wrote.
        program: the file that the compiler writes.
        name: as for :func:`spatialgraph.to_c`.
        arithmetic: as for :func:`spatialgraph.to_c`.
        flags: further options of the compiler.

    Raises:
        FileNotFoundError: if there is no ``gcc``.
        RuntimeError: if the compiler fails or warns; the message is its own.

    Example:
        >>> import spatialgraph as sg
        >>> import tempfile
        >>> header = Path(tempfile.mkdtemp()) / "network.h"
        >>> manifest = sg.to_c(sg.quantize(sg.SpatialMLP([4, 8, 3])), header)
        >>> inputs = np.zeros((5, 4), dtype=np.uint8)
        >>> compile_here(header, header.with_name("program"))(inputs)[1].shape  # doctest: +SKIP
        (5, 3)
    """
    if shutil.which("gcc") is None:
        raise FileNotFoundError("compile_here needs the compiler gcc, which is not installed")
    source = source_of(header.resolve(), name, arithmetic)
    command = ["gcc", *_FLAGS, *flags, "-x", "c", "-", "-o", str(program)]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"gcc failed: {done.stderr.strip()}")
    return HostProgram(program.resolve(), arithmetic, *counts_of(header, name))


def counts_of(header: Path, name: str = "network") -> tuple[int, int]:
    """Return the numbers of inputs and outputs that an exported header defines.

    Raises:
        ValueError: if it defines none for this name.

    Example:
        >>> import spatialgraph as sg
        >>> import tempfile
        >>> header = Path(tempfile.mkdtemp()) / "network.h"
        >>> manifest = sg.to_c(sg.quantize(sg.SpatialMLP([4, 8, 3])), header)
        >>> counts_of(header)
        (4, 3)
    """
    text, capitals = header.read_text(), name.upper()
    found = [re.search(rf"^#define {capitals}_{each} (\d+)u?$", text, re.MULTILINE) for each in ("INPUTS", "OUTPUTS")]
    if found[0] is None or found[1] is None:
        raise ValueError(f"header must be one that to_c wrote with the name {name!r}, got {str(header)!r}")
    return int(found[0][1]), int(found[1][1])


class HostProgram:
    """A network that is compiled for this machine; :func:`compile_here` makes it.

    Args:
        path: the program.
        arithmetic: as for :func:`spatialgraph.to_c`.
        inputs: number of inputs.
        outputs: number of outputs.
    """

    def __init__(self, path: Path, arithmetic: str, inputs: int, outputs: int) -> None:
        self.path, self._number = path, _NUMBERS[arithmetic][1]
        self._inputs, self._outputs = inputs, outputs

    def __call__(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the classes and outputs of inputs.

        Args:
            inputs: bytes, uint8, shape ``(batch, inputs)``.

        Returns:
            Classes, shape ``(batch,)``, and outputs, int32 or float32, shape ``(batch, outputs)``.

        Raises:
            ValueError: if inputs are of another type or shape.
            RuntimeError: if the program fails.
        """
        sent = np.ascontiguousarray(check_inputs(inputs, self._inputs)).tobytes()
        done = subprocess.run([self.path], input=sent, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"program failed with status {done.returncode}: {done.stderr.decode().strip()}")
        numbers = np.frombuffer(done.stdout, dtype=np.int32).reshape(len(inputs), 1 + self._outputs)
        return numbers[:, 0], numbers[:, 1:].view(self._number)
