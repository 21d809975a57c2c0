"""What the compiler makes of the CUDA kernels: registers, stack, stores, and the time floor of each.

Run: python benchmarks/cuda_report.py [--arch 90] [-o benchmarks/cuda-kernels.md]. Needs NVRTC (a wheel of
CUDA 12 or 13) and cuobjdump (in Triton's wheel or a CUDA toolkit), no GPU.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fastaug import nvrtc

BANDWIDTH = 3.35e12  # bytes/s: an H100 SXM's memory, by its data sheet
BATCH, SIZE = 256, 224
WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2, "uint8": 1}


@dataclass(frozen=True)
class Kernel:
    """One variant of the batch kernel, compiled."""

    name: str
    registers: int
    stack: int
    local: int
    stores: dict[int, int]  # bytes a thread and instruction -> how many
    spills: int  # instructions that load from or store to local memory

    @property
    def bytes_per_pixel(self) -> int:
        """Read once: a crop's 3 bytes, the partner's too where all is mixed; written once."""
        return 3 * (2 if "_mix" in self.name else 1) + 3 * WIDTHS[self.name.split("_")[1]]

    @property
    def floor(self) -> float:
        """Seconds for a batch of 256 x 224 x 224 at an H100's memory bandwidth."""
        return BATCH * SIZE * SIZE * self.bytes_per_pixel / BANDWIDTH


def cuobjdump() -> str | None:
    """The disassembler of Triton's wheel, or a toolkit's."""
    spec = find_spec("triton")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (found := Path(place) / "backends" / "nvidia" / "bin" / "cuobjdump").exists():
            return str(found)
    return shutil.which("cuobjdump")


def measure(architecture: int) -> list[Kernel]:
    """Every variant, compiled for sm_<architecture> by the options that the loader uses."""
    tool, file = cuobjdump(), str(nvrtc.cubin("batch", 99000, divmod(architecture, 10)))
    if tool is None:
        raise FileNotFoundError("cuobjdump is not here; pip install triton brings it")

    def dump(flag: str) -> str:
        return subprocess.run([tool, flag, file], check=True, capture_output=True, text=True).stdout

    code = {}
    for part in dump("-sass").split("Function : ")[1:]:
        name, _, body = part.partition("\n")
        code[name.strip()] = body
    found = []
    for name, usage in re.findall(r"Function (batch_\w+):\s*\n\s*(.*)", dump("-res-usage")):
        number = {key: int(value) for key, value in re.findall(r"(\w+):(\d+)", usage)}
        stores: dict[int, int] = {}
        for bits in re.findall(r"\bSTG\.E(?:\.[A-Z]+)*(?:\.(U8|U16|64|128))?\b", code[name]):
            width = {"U8": 1, "U16": 2, "": 4, "64": 8, "128": 16}[bits]
            stores[width] = stores.get(width, 0) + 1
        spills = len(re.findall(r"\b(?:LDL|STL)\b", code[name]))
        found.append(Kernel(name, number["REG"], number["STACK"], number["LOCAL"], stores, spills))
    return sorted(found, key=lambda k: (list(WIDTHS).index(k.name.split("_")[1]), len(k.name), k.name))


def table(kernels: list[Kernel], architecture: int) -> str:
    """Markdown."""
    version = ".".join(map(str, nvrtc.choose((99, 0), architecture).version))
    lines = [
        f"# The CUDA kernels as compiled for sm_{architecture} by NVRTC {version}", "",
        f"Options: `{' '.join(nvrtc.OPTIONS)}`. Bytes a pixel: crops read once (twice where every sample is "
        f"mixed), output written once. Floor: {BATCH} images of {SIZE} x {SIZE} at "
        f"{BANDWIDTH / 1e12:.2f} TB/s. Wide stores are what a thread writes to a plane at once; the narrow "
        "ones serve sizes whose planes are not aligned.", "",
        "| kernel | registers | stack | spills | wide stores | bytes a pixel | floor, µs |",
        "|---|---|---|---|---|---|---|"]  # fmt: skip
    for k in kernels:
        wide = max(k.stores)
        lines.append(f"| `{k.name}` | {k.registers} | {k.stack} | {k.spills} | {k.stores[wide]} x {wide} B "
                     f"| {k.bytes_per_pixel} | {k.floor * 1e6:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Prints the table, or writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", type=int, default=90, help="90 for sm_90 (default)")
    parser.add_argument("-o", "--output", help="a file to write instead of the screen")
    args = parser.parse_args()
    text = table(measure(args.arch), args.arch)
    if args.output:
        Path(args.output).write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
