"""What is installed, what is missing and what is lost without it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from .batch.native import library

_PACKAGES = ("fastaug", "torch", "torchvision", "kornia", "numpy", "pillow")
_CHOICES = {"DALI": ("nvidia-dali-cuda120", "nvidia-dali-cuda130"), "CuPy": ("cupy-cuda12x", "cupy-cuda13x")}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def report() -> list[str]:
    """The lines that ``fastaug doctor`` prints."""
    lines = [f"Python {platform.python_version()} on {platform.machine()}"]
    lines += [f"{name} {_version(name) or 'not installed'}" for name in _PACKAGES]
    advice = []
    for title, packages in _CHOICES.items():
        found = [f"{name} {_version(name)}" for name in packages if _version(name)]
        lines.append(f"{title}: {', '.join(found) or 'not installed'}")
        if not found and title == "DALI":
            advice.append("Without DALI only uint8 arrays can be loaded, no image files: "
                          "pip install 'fastaug[cuda12]'")
    try:
        compiled = library() is not None
    except (ImportError, OSError) as error:
        compiled = False
        advice.append(f"The compiled kernels do not load: {error}")
    lines.append(f"CPU kernels: {'compiled' if compiled else 'not compiled'}")
    if not compiled:
        advice.append("Without the CPU kernels executor='kornia' serves: the same images, many times "
                      "slower. Install a C++ compiler (Debian: apt install g++) and run "
                      "pip install --force-reinstall --no-deps fastaug")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        lines.append(f"GPU: {', '.join(names)} (CUDA {torch.version.cuda}): batches are augmented there "
                     "with executor='kornia'; decoding is on the CPU")
    else:
        lines.append("GPU: none that torch can use; everything runs on the CPU")
    return lines + (["", *advice] if advice else ["Nothing is missing."])
