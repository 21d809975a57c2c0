"""Compiles batch.cu with g++ and runs its launches on the host, one thread after another."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from fastaug.device import Launch

HERE = Path(__file__).parent
KERNELS = HERE.parent.parent / "kernels"
SANITIZE = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


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
    command = ["g++", "-std=c++17", "-ffp-contract=off", "-Wall", "-Wno-unknown-pragmas", *flags,
               "-I", str(kernels), "-I", str(HERE), "-o", str(out), str(HERE / "run.cpp")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return out


def launch_here(launch: Launch) -> None:
    """Carries out a launch on this process's memory."""
    values = [np.array([argument]) for argument in launch.arguments]
    pointers = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
    if library().cuda_host_launch(launch.kernel.encode(), launch.grid, launch.block, pointers):
        raise ValueError(f"batch.cu has no kernel {launch.kernel}")


@dataclass
class Case:
    """A launch with the memory that its pointers stand for."""

    launch: Launch
    crops: np.ndarray
    rows: np.ndarray
    table: np.ndarray
    nbytes: int  # of the output
    offset: int = 0  # bytes by which crops and output miss a multiple of 256
    count: bool = False  # how often is each byte of the output written?

    def encoded(self) -> bytes:
        name = self.launch.kernel.encode()
        head = np.array([len(name)], "u4").tobytes() + name
        head += np.array([self.launch.grid, self.launch.block, self.count, 3,
                          len(self.launch.arguments)], "u4").tobytes()
        buffers = [self.crops.tobytes(), self.rows.tobytes(), self.table.tobytes(), bytes(self.nbytes)]
        for k, argument in enumerate(self.launch.arguments):
            if k < 4:
                offset = self.offset if k in (0, 3) else 0
                head += np.array([len(buffers[k]), offset], "u8").tobytes() + buffers[k]
            else:
                value = argument.tobytes()
                head += np.array([0, 0], "u8").tobytes() + value + bytes(8 - len(value))
        return head


def run_program(path: Path, cases: list[Case]) -> list[tuple[np.ndarray | None, bytes]]:
    """(times each byte was written, or None; the output's bytes) of each case.

    Raises:
        RuntimeError: with what a sanitizer reported.
    """
    source, target = _folder() / "cases", _folder() / "results"
    source.write_bytes(np.array([len(cases)], "u4").tobytes() + b"".join(c.encoded() for c in cases))
    done = subprocess.run([str(path), str(source), str(target)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr[:2000]}")
    data, at, out = target.read_bytes(), 0, []
    for case in cases:
        times = None
        if case.count:
            times = np.frombuffer(data, np.uint8, case.nbytes, at)
            at += case.nbytes
        out.append((times, data[at : at + case.nbytes]))
        at += case.nbytes
    return out
