"""Small processors: an exported network is compiled for one, and run in a simulator that counts instructions."""

import dataclasses
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from spatialgraph.deploy.c.host import counts_of
from spatialgraph.deploy.c.network import check_inputs

__all__ = ["PROCESSORS", "Measured", "Processor", "Program", "compile_for"]

# Where programs lie in the memory of a simulated processor.
_FLASH, _RAM, _RAM_BYTES, _END = 0x0800_0000, 0x2000_0000, 0x4_0000, 0x0700_0000
# What memory holds before a run, so that what was written shows how far the stack reached.
_PAINT = 0xA5

_SOURCE = """
#include "{header}"

uint8_t input[{capitals}_INPUTS];
{number} output[{capitals}_OUTPUTS], buffer[{capitals}_BUFFER_WORDS];

void run(void);
void run(void) {{ {name}_run(input, output, buffer); }}
"""

_MEMORY = f"""
ENTRY(run)
SECTIONS {{
    . = {_FLASH:#x};
    .text : {{ *(.text*) *(.rodata*) *(.srodata*) }}
    . = {_RAM:#x};
    .bss : {{ *(.sbss*) *(.bss*) *(COMMON) }}
    /DISCARD/ : {{ *(.comment) *(.eh_frame) *(.note*) *(.ARM.ex*) }}
}}
"""


@dataclasses.dataclass(frozen=True)
class Processor:
    """A processor, and the compiler for it.

    Args:
        name: its name.
        tools: begins the names of its tools, such as ``"arm-none-eabi-"``.
        flags: the compiler's options that choose it.
        is_arm: whether it is an Arm processor of the Cortex-M kind; else it is a RISC-V one.

    Example:
        >>> PROCESSORS["cortex-m0"].tools
        'arm-none-eabi-'
    """

    name: str
    tools: str
    flags: tuple[str, ...]
    is_arm: bool = False

    @property
    def is_here(self) -> bool:
        """Whether its compiler is installed."""
        return shutil.which(f"{self.tools}gcc") is not None


PROCESSORS = {
    each.name: each
    for each in (
        Processor("cortex-m0", "arm-none-eabi-", ("-mcpu=cortex-m0", "-mthumb"), is_arm=True),
        # Without relaxation no address is relative to a register that a program's start-up code would set.
        Processor("rv32imc", "riscv64-unknown-elf-", ("-march=rv32imc", "-mabi=ilp32", "-Wl,--no-relax")),
    )
}
"""Processors of microcontrollers. Debian has the compilers in ``gcc-arm-none-eabi`` and ``gcc-riscv64-unknown-elf``."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a program did for one input.

    Args:
        outputs: the outputs, int32 or float32.
        instructions: how many instructions were executed.
        stack_bytes: how much of the stack was used.
    """

    outputs: np.ndarray
    instructions: int
    stack_bytes: int


def compile_for(
    processor: Processor, header: Path, *, name: str = "network", arithmetic: str = "integer", optimize: str = "-Os"
) -> "Program":
    """Compile an exported header for a processor, without any library but the compiler's own.

    Args:
        processor: one of :data:`PROCESSORS`.
        header: the header that :func:`spatialgraph.to_c` wrote.
        name: as for :func:`spatialgraph.to_c`.
        arithmetic: as for :func:`spatialgraph.to_c`.
        optimize: the compiler's option for speed or size.

    Raises:
        FileNotFoundError: if the compiler is not installed.
        RuntimeError: if the compiler or linker fails or warns; the message is its own.

    Example:
        >>> import tempfile
        >>> import spatialgraph as sg
        >>> header = Path(tempfile.mkdtemp()) / "network.h"
        >>> manifest = sg.to_c(sg.quantize(sg.SpatialMLP([4, 8, 3])), header)
        >>> compile_for(PROCESSORS["cortex-m0"], header).flash_bytes < 5000  # doctest: +SKIP
        True
    """
    if not processor.is_here:
        raise FileNotFoundError(f"processor needs the compiler {processor.tools}gcc, which is not installed")
    number = {"integer": "int32_t", "float": "float"}[arithmetic]
    source = _SOURCE.format(header=header.resolve(), capitals=name.upper(), name=name, number=number)
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        (where / "program.c").write_text(source)
        (where / "memory.ld").write_text(_MEMORY)
        flags = ["-std=c99", optimize, "-ffreestanding", "-Wall", "-Wextra", "-Werror", "-Wconversion"]
        flags += ["-Wno-sign-conversion", "-nostdlib", "-static", "-T", str(where / "memory.ld")]
        # Loops that write zeros must not become calls of a library's memset.
        flags += ["-fno-tree-loop-distribute-patterns"]
        program = where / "program.elf"
        _run([f"{processor.tools}gcc", *processor.flags, *flags, "-o", program, where / "program.c", "-lgcc"])
        _run([f"{processor.tools}objcopy", "-O", "binary", program, where / "flash"])
        symbols = re.findall(r"(\w+) \w (\w+)\n", _run([f"{processor.tools}nm", program]))
        addresses = {symbol: int(address, 16) for address, symbol in symbols}
        sizes, kind = counts_of(header, name), np.int32 if arithmetic == "integer" else np.float32
        return Program(processor, (where / "flash").read_bytes(), addresses, _sizes(processor, program), sizes, kind)


def _sizes(processor: Processor, program: Path) -> tuple[int, int]:
    """Return the bytes of code and constants, and those of variables."""
    text, data, bss, *_ = _run([f"{processor.tools}size", program]).splitlines()[1].split()
    return int(text) + int(data), int(data) + int(bss)


def _run(command: list[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or done.stderr:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout


class Program:
    """A network that is compiled for a processor; :func:`compile_for` makes it.

    Its constants are those of the network, so that ``flash_bytes - manifest["constant_bytes"]`` is the size of code.
    """

    def __init__(
        self,
        processor: Processor,
        flash: bytes,
        addresses: dict[str, int],
        sizes: tuple[int, int],
        counts: tuple[int, int],
        number: type,
    ) -> None:
        self.processor, self._counts, self._number = processor, counts, number
        self.flash_bytes, self.variable_bytes = sizes
        self._flash, self._addresses = flash, addresses

    def run(self, inputs: np.ndarray) -> Measured:
        """Compute the outputs for one input in a simulator.

        Args:
            inputs: bytes, uint8, shape ``(inputs,)``.

        Raises:
            ValueError: if the input is of another type or shape.
            ImportError: if the package ``unicorn`` is not installed.
            RuntimeError: if the program does what the processor cannot do.
        """
        given = check_inputs(np.asarray(inputs)[None], self._counts[0])
        unicorn = _unicorn()
        machine, registers = _machine(self.processor)
        count = _Instructions(self._flash, self.processor)
        machine.mem_map(_END, 0x1000)
        machine.mem_map(_FLASH, -(-len(self._flash) // 0x1000) * 0x1000)
        machine.mem_map(_RAM, _RAM_BYTES)
        machine.mem_write(_FLASH, self._flash)
        machine.mem_write(_RAM, bytes([_PAINT]) * _RAM_BYTES)
        machine.mem_write(self._addresses["input"], given.tobytes())
        thumb = self.processor.is_arm  # the lowest bit of an address says that code is Thumb
        top = _RAM + _RAM_BYTES
        machine.reg_write(registers[0], top)
        machine.reg_write(registers[1], _END | thumb)
        machine.hook_add(unicorn.UC_HOOK_BLOCK, count)
        try:
            machine.emu_start(self._addresses["run"] | thumb, _END)
        except unicorn.UcError as error:
            raise RuntimeError(f"program failed on {self.processor.name}: {error}") from None
        found: np.ndarray = np.frombuffer(
            bytes(machine.mem_read(self._addresses["output"], 4 * self._counts[1])), self._number
        )
        above = _RAM + self.variable_bytes
        painted = bytes(machine.mem_read(above, top - above))
        return Measured(found, count.total, len(painted.lstrip(bytes([_PAINT]))))


def _unicorn() -> Any:  # noqa: ANN401 - a module
    try:
        import unicorn
    except ImportError as error:
        raise ImportError("unicorn is needed to simulate a processor; install it by: pip install unicorn") from error
    return unicorn


def _machine(processor: Processor) -> tuple[Any, tuple[int, int]]:
    """Return a simulator, and the numbers of the registers of the stack and of the address of return."""
    import unicorn
    from unicorn import arm_const, riscv_const

    if processor.is_arm:
        machine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        machine.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M0)
        return machine, (arm_const.UC_ARM_REG_SP, arm_const.UC_ARM_REG_LR)
    machine = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
    return machine, (riscv_const.UC_RISCV_REG_SP, riscv_const.UC_RISCV_REG_RA)


class _Instructions:
    """Counts instructions by the blocks without jumps that are executed."""

    def __init__(self, flash: bytes, processor: Processor) -> None:
        self.total = 0
        self._flash, self._is_long = flash, _is_long_arm if processor.is_arm else _is_long_riscv
        self._counts: dict[tuple[int, int], int] = {}

    def __call__(self, machine: object, address: int, size: int, data: object) -> None:
        block = (address, size)
        if block not in self._counts:
            self._counts[block] = self._count(address - _FLASH, size)
        self.total += self._counts[block]

    def _count(self, start: int, size: int) -> int:
        at, count = start, 0
        while at < start + size:
            at += 4 if self._is_long(int.from_bytes(self._flash[at : at + 2], "little")) else 2
            count += 1
        return count


def _is_long_arm(half: int) -> bool:
    """Tell whether an instruction of Thumb has four bytes, by its first two."""
    return half >> 11 in (0b11101, 0b11110, 0b11111)


def _is_long_riscv(half: int) -> bool:
    """Tell whether an instruction of RISC-V has four bytes, by its first two."""
    return half & 3 == 3
