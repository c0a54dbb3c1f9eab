"""Compile programs around an exported header."""

import shutil
import subprocess

import numpy as np
import pytest

from spatialgraph.deploy.c.host import compile_here, source_of

FLAGS = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wno-sign-conversion"]
SANITIZERS = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
PROGRAM = source_of("network.h")


def needs_gcc():
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")


def gcc(folder, source, *flags, name="program"):
    """Compile a program in a folder; return what the compiler said."""
    needs_gcc()
    (folder / "program.c").write_text(source)
    command = ["gcc", *FLAGS, *flags, str(folder / "program.c"), "-o", str(folder / name)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run(folder, inputs, *flags, number=np.int32):
    """Return classes and outputs, int32 or float32, that the network in a folder computes for rows of bytes."""
    needs_gcc()
    arithmetic = "float" if number is np.float32 else "integer"
    return compile_here(folder / "network.h", folder / "program", arithmetic=arithmetic, flags=flags)(inputs)
