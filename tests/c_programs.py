"""Compile an exported header with a small program around it, and run it."""

import shutil
import subprocess

import numpy as np
import pytest

FLAGS = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wno-sign-conversion"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

PROGRAM = r"""
#define NETWORK_TEST
#include "network.h"
#include <stdio.h>
#ifndef NUMBER
#define NUMBER int32_t
#endif

static uint8_t input[NETWORK_INPUTS];
static NUMBER output[NETWORK_OUTPUTS], buffer[NETWORK_BUFFER_WORDS];

int main(void) {
    while (fread(input, 1, sizeof input, stdin) == sizeof input) {
        const uint32_t found = network_classify(input, output, buffer);
        if (fwrite(&found, 4, 1, stdout) != 1 || fwrite(output, 4, NETWORK_OUTPUTS, stdout) != NETWORK_OUTPUTS) {
            return 1;
        }
    }
    return 0;
}
"""


def gcc(folder, source, *flags, name="program"):
    """Compile a program in a folder; return what the compiler said."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    (folder / "program.c").write_text(source)
    command = ["gcc", *FLAGS, *flags, str(folder / "program.c"), "-o", str(folder / name)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run(folder, inputs, *flags, number=np.int32):
    """Return classes and outputs, int32 or float32, that the network in a folder computes for rows of bytes."""
    kind = "float" if number is np.float32 else "int32_t"
    compiled = gcc(folder, PROGRAM, f"-DNUMBER={kind}", *flags)
    assert compiled.returncode == 0, compiled.stderr
    done = subprocess.run([folder / "program"], input=inputs.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    numbers = np.frombuffer(done.stdout, dtype=np.int32).reshape(len(inputs), -1)
    return numbers[:, 0], numbers[:, 1:].view(number)
