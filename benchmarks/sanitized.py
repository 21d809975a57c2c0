"""Kernels as programs under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

KERNELS = Path(__file__).parent.parent / "kernels"
FLAGS = (
    "-std=c++17",
    "-O1",
    "-g1",
    "-ffp-contract=off",
    "-D_GLIBCXX_ASSERTIONS",
    "-I",
    str(KERNELS),
    "-fsanitize=address,undefined,float-cast-overflow",
    "-fno-sanitize-recover=all",
)


def program(sources: Sequence[Path], folder: Path) -> Path:
    """A program of these sources, compiled into a folder.

    Raises:
        RuntimeError: when they do not compile.
    """
    objects = [folder / f"{source.stem}.o" for source in sources]
    running = [
        subprocess.Popen(["g++", *FLAGS, "-c", str(source), "-o", str(out)])
        for source, out in zip(sources, objects, strict=True)
    ]
    if any(process.wait() for process in running):
        raise RuntimeError("the kernels do not compile under sanitizers")
    subprocess.run(["g++", *FLAGS, *map(str, objects), "-o", str(folder / "run")], check=True)
    return folder / "run"
