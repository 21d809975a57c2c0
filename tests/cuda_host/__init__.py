"""Compiles the CUDA kernels with g++ and runs its launches on the host, one thread after another."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from fastaug.machine.device import Launch

HERE = Path(__file__).parent
KERNELS = HERE.parent.parent / "kernels"
SANITIZE = ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@cache
def _folder() -> Path:
    return Path(mkdtemp(prefix="fastaug-cuda-host-"))


@cache
def library() -> ctypes.CDLL:
    """The kernels as functions of this process."""
    path = build("host.so", KERNELS, "-O2", "-shared", "-fPIC")
    lib = ctypes.CDLL(str(path))
    lib.cuda_host_launch.argtypes = [ctypes.c_char_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p]
    return lib


@cache
def program() -> Path:
    """The kernels as a program under AddressSanitizer and UndefinedBehaviorSanitizer."""
    return build("run", KERNELS, *SANITIZE, "-DPROGRAM")


def build(name: str, kernels: Path, *flags: str) -> Path:
    """Compiles run.cpp with the kernels of a folder."""
    out = _folder() / name
    command = [
        "g++",
        "-std=c++20",
        "-pthread",
        "-ffp-contract=off",
        "-Wall",
        "-Wno-unknown-pragmas",
        *flags,
        "-I",
        str(kernels),
        "-I",
        str(HERE),
        "-o",
        str(out),
        str(HERE / "run.cpp"),
    ]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return out


def build_faulty(name: str, program: str, right: str, wrong: str, folder: Path, *flags: str) -> Path:
    """The program with one place of a .cu changed; the place must be there exactly once."""
    for file in KERNELS.glob("*.[hc]*"):
        (folder / file.name).write_bytes(file.read_bytes())
    source = (KERNELS / program).read_text()
    assert source.count(right) == 1
    (folder / program).write_text(source.replace(right, wrong))
    return build(name.replace(" ", "-"), folder, *flags, "-DPROGRAM")


def launch_here(launch: Launch) -> None:
    """Carries out a launch on this process's memory."""
    values = [np.array([argument]) for argument in launch.arguments]
    pointers = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
    if library().cuda_host_launch(launch.kernel.encode(), launch.grid, launch.block, pointers):
        raise ValueError(f"no .cu has a kernel {launch.kernel}")


@dataclass
class Case:
    """Launches with the memory that their addresses stand for: those of ``addresses``."""

    launches: list[Launch]
    buffers: list[np.ndarray]
    output: int  # number of the buffer that holds the result
    offset: int = 0  # bytes by which buffers 0 and output miss a multiple of 256
    count: bool = False  # how often is each byte of the output written?

    def encoded(self) -> bytes:
        parts = [u32(self.count, self.output, len(self.buffers))]
        for k, buffer in enumerate(self.buffers):
            offset = self.offset if k in (0, self.output) else 0
            parts += [np.array([buffer.nbytes, offset], "u8").tobytes(), buffer.tobytes()]
        parts.append(u32(len(self.launches)))
        for launch in self.launches:
            name = launch.kernel.encode()
            parts += [u32(len(name)), name, u32(launch.grid, launch.block, len(launch.arguments))]
            for argument in launch.arguments:
                address = argument.dtype == np.uint64 and 0 <= int(argument) - _BASE < len(self.buffers) << 32
                value = np.uint64(int(argument) - _BASE).tobytes() if address else argument.tobytes()
                parts += [u32(address), value + bytes(8 - len(value))]
        return b"".join(parts)


_BASE = 1 << 60


def addresses(count: int) -> list[int]:
    """Where a case's buffers are, to describe launches with; within one, addresses go on as usual."""
    return [_BASE + (k << 32) for k in range(count)]


def u32(*values: int) -> bytes:
    return np.array(values, "u4").tobytes()


def run_program(path: Path, cases: list[Case]) -> list[tuple[np.ndarray | None, bytes]]:
    """(times each byte was written, or None; the output's bytes) of each case.

    Raises:
        RuntimeError: with what a sanitizer reported.
    """
    source, target = _folder() / "cases", _folder() / "results"
    source.write_bytes(u32(len(cases)) + b"".join(c.encoded() for c in cases))
    done = subprocess.run([str(path), str(source), str(target)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr[:2000]}")
    data, at, out = target.read_bytes(), 0, []
    for case in cases:
        nbytes, times = case.buffers[case.output].nbytes, None
        if case.count:
            times = np.frombuffer(data, np.uint8, nbytes, at)
            at += nbytes
        out.append((times, data[at : at + nbytes]))
        at += nbytes
    return out
