"""Compiles the CUDA kernels with NVRTC, for one GPU architecture, once: machine code is cached.

Not left to CuPy, because CuPy takes the newest NVRTC that it finds: with cupy-cuda12x beside torch's
CUDA 13 wheels that is NVRTC 13, whose code a CUDA 12 driver cannot load. Here the newest that the
driver understands is taken. Nothing in this module needs a GPU.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import NamedTemporaryFile

from ..files import load_cached, save_cached

# Exactly rounded arithmetic, as the host compiler's -ffp-contract=off gives.
_LARGEST = 1 << 26  # bytes of machine code
OPTIONS = ("--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true")
HEADERS = ("plan.h", "philox.h", "pixel.h", "pixels4.h", "policy.h")
PROGRAMS = ("batch", "policy")
_SONAMES = ("libnvrtc.so.13", "libnvrtc.so.12")
_WHEELS = ("nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib")


@dataclass(frozen=True)
class Nvrtc:
    """A loaded NVRTC: the functions of nvrtc.h that a compilation takes."""

    path: str
    version: tuple[int, int]
    lib: ctypes.CDLL

    @property
    def architectures(self) -> list[int]:
        """What it can compile for, ascending: 90 is sm_90."""
        count = ctypes.c_int()
        self._call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
        found = (ctypes.c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", found)
        return sorted(found)

    def _call(self, name: str, *arguments: object) -> None:
        if code := getattr(self.lib, name)(*arguments):
            raise RuntimeError(f"NVRTC {self.path}: {name} failed with code {code}")

    def _text(self, what: str, handle: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"nvrtcGet{what}Size", handle, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", handle, buffer)
        return buffer.raw

    def compile(self, source: str, headers: dict[str, str], architecture: int) -> bytes:
        """Machine code (a cubin) of a source file.

        Raises:
            RuntimeError: with the compiler's log.
        """
        options = [*OPTIONS, f"--gpu-architecture=sm_{architecture}"]
        handle = ctypes.c_void_p()
        texts = (ctypes.c_char_p * len(headers))(*(text.encode() for text in headers.values()))
        names = (ctypes.c_char_p * len(headers))(*(name.encode() for name in headers))
        self._call(
            "nvrtcCreateProgram",
            ctypes.byref(handle),
            source.encode(),
            b"fastaug.cu",
            len(headers),
            texts,
            names,
        )
        try:
            flags = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            if self.lib.nvrtcCompileProgram(handle, len(options), flags):
                log = self._text("ProgramLog", handle).rstrip(b"\0").decode(errors="replace")
                raise RuntimeError(f"NVRTC {self.path} cannot compile the kernels:\n{log}")
            return self._text("CUBIN", handle)
        finally:
            self.lib.nvrtcDestroyProgram(ctypes.byref(handle))


@cache
def installed() -> tuple[Nvrtc, ...]:
    """Every NVRTC of CUDA 12 or later here, newest first: of wheels, else of the system."""
    found = {lib.version: lib for path in _candidates() if (lib := _load(path)) is not None}
    return tuple(found[version] for version in sorted(found, reverse=True))


def _candidates() -> Iterator[str]:
    toolkit = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    for name in _SONAMES:
        yield name  # the loader's own search path
        yield os.path.join(toolkit, "lib64", name)
        for folder in sys.path:
            yield from (os.path.join(folder, wheel, name) for wheel in _WHEELS)


def _load(path: str) -> Nvrtc | None:
    if os.sep in path and not os.path.exists(path):
        return None
    try:
        lib = ctypes.CDLL(path)
        # libnvrtc opens its builtins by name: have them loaded from beside it.
        for builtins in Path(path).parent.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(builtins), ctypes.RTLD_GLOBAL)
        major, minor = ctypes.c_int(), ctypes.c_int()
        if lib.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)):
            return None
    except OSError:
        return None
    return Nvrtc(path, (major.value, minor.value), lib)


def wheel(driver: tuple[int, int]) -> str:
    """The package with an NVRTC for a driver."""
    return "nvidia-cuda-nvrtc-cu12" if driver[0] == 12 else "nvidia-cuda-nvrtc"


def choose(driver: tuple[int, int], architecture: int) -> Nvrtc:
    """The newest NVRTC whose machine code a driver of CUDA ``driver`` loads.

    Raises:
        ImportError: with the pip line, when none is installed or none knows the architecture.
    """
    fitting = [lib for lib in installed() if lib.version[0] <= driver[0]]
    able = [lib for lib in fitting if architecture in lib.architectures]
    if able:
        return able[0]
    have = ", ".join(f"{lib.version[0]}.{lib.version[1]}" for lib in installed()) or "none"
    raise ImportError(
        f"no NVRTC here compiles for sm_{architecture} under a driver of CUDA {driver[0]}."
        f"{driver[1]} (installed: {have}); run `pip install -U {wheel(driver)}`, or use "
        "executor='kornia'"
    )


def source(program: str) -> tuple[str, dict[str, str]]:
    """The text of batch.cu or policy.cu, and of the headers by name."""
    folder = files("fastaug.kernels")
    text = (folder / f"{program}.cu").read_text()
    return text, {name: (folder / name).read_text() for name in HEADERS}


def kernels(code: bytes) -> list[str]:
    """The kernels in machine code: each has a section of its own, ``.text.<name>``."""
    return sorted({name.decode() for name in re.findall(rb"\0\.text\.(\w+)\0", code)})


def cubins(driver: int, capability: tuple[int, int]) -> Iterator[tuple[str, list[str]]]:
    """For each program a file with its machine code for a GPU, there until the next is asked for, and the
    names of its kernels.

    Args:
        driver: as in ``cubin``.
        capability: as in ``cubin``.
    """
    for program in PROGRAMS:
        with NamedTemporaryFile(prefix="fastaug-", suffix=".cubin") as file:  # CuPy takes a path
            code = cubin(program, driver, capability)
            file.write(code)
            file.flush()
            yield file.name, kernels(code)


def cubin(program: str, driver: int, capability: tuple[int, int]) -> bytes:
    """A program's machine code for a GPU, compiled if it is not cached.

    Args:
        program: one of PROGRAMS.
        driver: the driver's CUDA version, as CUDA writes it: 12040 is 12.4.
        capability: of the GPU; (9, 0) is sm_90.
    """
    architecture = 10 * capability[0] + capability[1]
    lib = choose((driver // 1000, driver % 1000 // 10), architecture)
    text, headers = source(program)
    key = hashlib.blake2b(repr((text, headers, OPTIONS, lib.version)).encode(), digest_size=8)
    name = f"{program}-sm{architecture}-{key.hexdigest()}.cubin"
    code = load_cached(name, _LARGEST)
    if code is None:
        code = lib.compile(text, headers, architecture)
        save_cached(name, code)
    return code
