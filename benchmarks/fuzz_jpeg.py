"""Mutated JPEGs and entropy indices, cut and random ones through the box decoder, built with
AddressSanitizer and UndefinedBehaviorSanitizer: no crash, no read outside the file, time that grows with its
length.

Run: python benchmarks/fuzz_jpeg.py [--runs 500000]. Every run is a function of its number; fuzz_jpeg.cpp
makes it. A process that ends in an error ends this one, with what the sanitizers say.
"""

from __future__ import annotations

import argparse
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from jpegs import corpus
from sanitized import KERNELS, program

from fastaug.decode.jpeg import FAULTS

SOURCES = [KERNELS / name for name in ("jpeg.cpp", "jpeg_header.cpp", "scale.cpp", "warp.cpp")]
SOURCES += [Path(__file__).with_suffix(".cpp")]
SLOWEST = 2000  # ns for a byte or pixel, sanitizers included


def fuzz(runs: int, seed: int = 0, processes: int = 1) -> tuple[np.ndarray, float, int]:
    """Counts of each answer, int64 ``[16]``; the longest time of a byte or pixel in ns; and how many indices
    did not fit.

    Raises:
        RuntimeError: with what the sanitizers found.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, files = program(SOURCES, folder), folder / "corpus"
        with files.open("wb") as out:
            for _, data in corpus(seed, 200):
                out.write(struct.pack("<Q", len(data)) + data)
        commands = [
            [str(run), str(files), str(runs // processes), str(seed * processes + k)]
            for k in range(processes)
        ]
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for command in commands
        ]
        counts, slowest, misfits = np.zeros(16, np.int64), 0.0, 0
        for command, process in zip(commands, running, strict=True):
            out, errors = process.communicate()
            if process.returncode:
                raise RuntimeError(f"{command} ended with {process.returncode}:\n{errors}")
            first, second = out.splitlines()
            counts += np.array(first.split(), np.int64)
            slowest, misfits = max(slowest, float(second.split()[0])), misfits + int(second.split()[1])
    return counts, slowest, misfits


def main() -> None:
    """Fuzzes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    counts, slowest, misfits = fuzz(args.runs, args.seed, os.cpu_count() or 1)
    for count, reason in zip(counts, FAULTS, strict=False):
        print(f"{count:9}  {reason or 'decoded'}")
    print(f"{misfits:9}  indices that did not fit: decoded without")
    print(f"at most {slowest:.0f} ns for a byte or pixel, under sanitizers")
    if slowest > SLOWEST:
        sys.exit(f"that is more than {SLOWEST}")


if __name__ == "__main__":
    main()
