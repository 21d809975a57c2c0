"""What is installed, what does not fit together, and the pip line that mends it."""

from __future__ import annotations

import ctypes
import platform
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

import torch

from ..machine import nvrtc
from ..machine.library import library

Version = tuple[int, int]
_PACKAGES = ("fastaug", "torch", "torchvision", "kornia", "numpy", "pillow")
_STACKS = {12: ("nvidia-dali-cuda120", "cupy-cuda12x"), 13: ("nvidia-dali-cuda130", "cupy-cuda13x")}
_TITLES = ("DALI", "CuPy")
_CHECK = "To check the kernels and decoders here, in a clone of fastaug: python -m pytest tests/gpu"
_DRIVERS = {12: "525", 13: "580"}  # the first driver of each CUDA


@dataclass(frozen=True)
class Machine:
    """What was found.

    Attributes:
        packages: name -> version of what is installed.
        driver: the CUDA version that the GPU driver brings, or None without a driver.
        torch_cuda: the CUDA version that torch is built for, or None.
        gpus: a line for each GPU that torch can use.
        nvrtc: versions of the NVRTC libraries.
        kernels: "" when the CPU kernels load, else why not.
    """

    packages: dict[str, str] = field(default_factory=dict)
    driver: Version | None = None
    torch_cuda: Version | None = None
    gpus: tuple[str, ...] = ()
    nvrtc: tuple[Version, ...] = ()
    kernels: str = ""


def examine() -> Machine:
    """Looks at this machine."""
    packages = {}
    for name in (*_PACKAGES, *_STACKS[12], *_STACKS[13]):
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    try:
        kernels = "" if library() is not None else "not compiled"
    except (ImportError, OSError) as error:
        kernels = str(error)
    built = torch.version.cuda
    return Machine(
        packages,
        driver_version(),
        _pair(built) if built else None,
        gpu_lines(),
        tuple(lib.version for lib in nvrtc.installed()),
        kernels,
    )


def driver_version() -> Version | None:
    """The CUDA version of the installed driver, or None."""
    number = ctypes.c_int()
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number))
    except OSError:
        return None
    return (number.value // 1000, number.value % 1000 // 10) if number.value else None


def gpu_lines() -> tuple[str, ...]:
    """A line for each GPU that torch can use."""
    if not torch.cuda.is_available():
        return ()
    lines = []
    for i in range(torch.cuda.device_count()):
        p = torch.cuda.get_device_properties(i)
        lines.append(f"cuda:{i}: {p.name}, sm_{p.major}{p.minor}, {p.total_memory / 2**30:.0f} GiB")
    return tuple(lines)


def report(machine: Machine | None = None) -> list[str]:
    """The lines that ``fastaug doctor`` prints."""
    m = machine or examine()
    lines = [f"Python {platform.python_version()} on {platform.machine()}"]
    lines += [f"{name} {m.packages.get(name, 'not installed')}" for name in _PACKAGES]
    for k, title in enumerate(_TITLES):
        found = [f"{p} {m.packages[p]}" for p in (_STACKS[12][k], _STACKS[13][k]) if p in m.packages]
        lines.append(f"{title}: {', '.join(found) or 'not installed'}")
    lines.append(f"CPU kernels: {m.kernels or 'compiled'}")
    lines.append(f"NVRTC: {', '.join(map(_dotted, m.nvrtc)) or 'not installed'}")
    lines.append(f"GPU driver: {f'for CUDA {_dotted(m.driver)}' if m.driver else 'none'}")
    lines.append(f"torch is built for: {f'CUDA {_dotted(m.torch_cuda)}' if m.torch_cuda else 'the CPU'}")
    lines += [f"GPU {gpu}" for gpu in m.gpus] or ["GPU: none that torch can use; everything runs on the CPU"]
    lines.append(_CHECK)
    return [*lines, *(["", *advice(m)] if advice(m) else ["Nothing is missing."])]


def advice(m: Machine) -> list[str]:
    """What to do, a line for each thing that is missing or does not fit."""
    found = []
    if m.kernels:
        found.append(
            f"The CPU kernels do not load ({m.kernels}); executor='kornia' serves, many times "
            "slower. Install a C++ compiler (Debian: apt install g++) and run "
            "pip install --force-reinstall --no-deps fastaug"
        )
    has = {major: [p for p in stack if p in m.packages] for major, stack in _STACKS.items()}
    major = min(13, m.driver[0]) if m.driver else 12
    for k, title in enumerate(_TITLES):
        pair = [_STACKS[12][k], _STACKS[13][k]]
        if all(p in m.packages for p in pair):
            found.append(
                f"Two builds of {title} overwrite each other: pip uninstall -y {' '.join(pair)} && "
                f"pip install '{_STACKS[max(12, major)][k]}'"
            )
    if not any(p in m.packages for p in (_STACKS[12][0], _STACKS[13][0])):
        found.append(
            "Without DALI uint8 arrays and sequential JPEGs can be loaded, and what Pillow alone decodes: "
            f"pip install 'fastaug[cuda{max(12, major)}]'"
        )
    return found + (_gpu_advice(m, has) if m.driver else [])


def _gpu_advice(m: Machine, has: dict[int, list[str]]) -> list[str]:
    assert m.driver is not None
    found = []
    if m.driver[0] < 12:
        found.append(f"The GPU driver is for CUDA {_dotted(m.driver)}; update it to {_DRIVERS[12]} or later")
    if m.torch_cuda is None:
        found.append(
            "There is a GPU driver, but torch is a build for the CPU only: install torch's CUDA "
            f"{max(12, m.driver[0])} build"
        )
    elif m.torch_cuda[0] > m.driver[0]:
        newer = _DRIVERS.get(m.torch_cuda[0], "a newer one")
        found.append(
            f"torch is built for CUDA {_dotted(m.torch_cuda)}, the driver is for CUDA "
            f"{_dotted(m.driver)}: update the driver to {newer} or later, or install torch's CUDA "
            f"{m.driver[0]} build"
        )
    elif not m.gpus:
        found.append(
            "There is a GPU driver, but torch finds no GPU it can use; see nvidia-smi and "
            "CUDA_VISIBLE_DEVICES"
        )
    if m.driver[0] == 12 and has[13]:
        found.append(
            f"{' and '.join(has[13])} need a driver for CUDA 13, this one is for CUDA "
            f"{_dotted(m.driver)}: pip uninstall -y {' '.join(has[13])} && "
            "pip install 'fastaug[cuda12]'"
        )
    if not any(p in m.packages for p in (_STACKS[12][1], _STACKS[13][1])):
        found.append(
            "Without CuPy the GPU is used through executor='kornia', more slowly: "
            f"pip install 'fastaug[cuda{min(13, max(12, m.driver[0]))}]'"
        )
    if not any(v[0] <= m.driver[0] for v in m.nvrtc):
        found.append(
            f"No NVRTC fits the driver (CUDA {_dotted(m.driver)}), so the GPU kernels cannot be "
            f"compiled: pip install {nvrtc.wheel(m.driver)}"
        )
    return found


def _pair(text: str) -> Version:
    major, _, minor = text.partition(".")
    return int(major), int(minor.split(".")[0] or 0)


def _dotted(v: Version) -> str:
    return f"{v[0]}.{v[1]}"
