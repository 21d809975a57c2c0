"""What the compiler makes of the CUDA kernels: registers, memory, loads, stores, and the time floor of each.

Run: python benchmarks/cuda_report.py [--arch 90] [-o benchmarks/cuda-kernels.md]. Needs NVRTC (a wheel of
CUDA 12 or 13) and cuobjdump (in Triton's wheel or a CUDA toolkit), no GPU.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile

from fastaug.machine import nvrtc

BANDWIDTH = 3.35e12  # bytes/s: an H100 SXM's memory, by its data sheet
BATCH, SIZE = 256, 224
WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2, "uint8": 1}


ACCESS = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16}  # bytes, by SASS suffix; else 4
THREADS = {75: 1024, 86: 1536, 87: 1536, 88: 1536, 89: 1536, 120: 1536, 121: 1536}  # of an SM; else 2048
CHAINS = 3  # AugMix's default


@dataclass(frozen=True)
class Kernel:
    """A kernel, compiled."""

    name: str
    registers: int
    stack: int
    local: int
    shared: int  # bytes a block
    loads: dict[int, int]  # from global memory: bytes a thread and instruction -> how many
    stores: dict[int, int]
    spills: int  # instructions that load from or store to local memory

    @property
    def bytes_per_pixel(self) -> int:
        """Read once and written once. The batch kernel: also the partner's, where all is mixed; policies:
        of the images that the kernel is launched for."""
        program, _, rest = self.name.partition("_")
        if program == "policy":
            return {"count": 3, "apply": 6, "apply_slanted": 6, "mix": 3 * (1 + CHAINS) + 3}[rest]
        return 3 * (2 if "_mix" in rest else 1) + 3 * WIDTHS[rest.split("_")[0]]

    @property
    def floor(self) -> float:
        """Seconds for a batch of 256 x 224 x 224 at an H100's memory bandwidth."""
        return BATCH * SIZE * SIZE * self.bytes_per_pixel / BANDWIDTH

    def blocks(self, architecture: int) -> int:
        """Blocks of 256 threads that a multiprocessor holds at once, by its registers and threads."""
        return min(65536 // (256 * -(-self.registers // 8) * 8), THREADS.get(architecture, 2048) // 256)


def cuobjdump() -> str | None:
    """The disassembler of Triton's wheel, or a toolkit's."""
    spec = find_spec("triton")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (found := Path(place) / "backends" / "nvidia" / "bin" / "cuobjdump").exists():
            return str(found)
    return shutil.which("cuobjdump")


def measure(architecture: int, program: str, lib: nvrtc.Nvrtc | None = None) -> list[Kernel]:
    """A program's kernels, compiled for sm_<architecture> by the options that the loader uses."""
    if (tool := cuobjdump()) is None:
        raise FileNotFoundError("cuobjdump is not here; pip install triton brings it")
    lib = lib or nvrtc.choose((99, 0), architecture)
    with NamedTemporaryFile(suffix=".cubin") as file:
        file.write(lib.compile(*nvrtc.source(program), architecture))
        file.flush()
        usages, sass = (
            subprocess.check_output([tool, flag, file.name], text=True) for flag in ("-res-usage", "-sass")
        )
    code = {part.split()[0]: part for part in sass.split("Function : ")[1:]}
    found = []
    for name, usage in re.findall(r"Function (\w+):\s*\n\s*(.*)", usages):
        number = {key: int(value) for key, value in re.findall(r"(\w+):(\d+)", usage)}
        spills = len(re.findall(r"\b(?:LDL|STL)\b", code[name]))
        found.append(
            Kernel(
                name,
                number["REG"],
                number["STACK"],
                number["LOCAL"],
                number["SHARED"],
                accesses(code[name], "LDG"),
                accesses(code[name], "STG"),
                spills,
            )
        )
    return sorted(found, key=lambda k: ([w in k.name.split("_") for w in WIDTHS][::-1], len(k.name), k.name))


def accesses(code: str, instruction: str) -> dict[int, int]:
    """How many bytes a thread moves by an instruction -> how often it stands in the code; widest first."""
    suffixes = re.findall(rf"\b{instruction}\.E([.\w]*)", code)
    widths = Counter(next((ACCESS[s] for s in text.split(".") if s in ACCESS), 4) for text in suffixes)
    return dict(sorted(widths.items(), reverse=True))


def table(kernels: list[Kernel], architecture: int) -> str:
    """Markdown."""
    version = ".".join(map(str, nvrtc.choose((99, 0), architecture).version))

    def listed(widths: dict[int, int]) -> str:
        return ", ".join(f"{count} x {width} B" for width, count in widths.items())

    lines = [
        f"# The CUDA kernels as compiled for sm_{architecture} by NVRTC {version}",
        "",
        f"Options: `{' '.join(nvrtc.OPTIONS)}`. Blocks: how many of 256 threads a multiprocessor holds at "
        "once. Loads and stores: instructions on global memory by width; beside wide ones, the narrow ones "
        "serve images whose address or size is no multiple of four, and neighbours that an operation looks "
        "at. Bytes a pixel: crops read once (twice where every sample is mixed), output written once; "
        f"policies: of those images that a kernel is launched for, policy_mix with {CHAINS} chains. Floor: "
        f"{BATCH} images of {SIZE} x {SIZE} at {BANDWIDTH / 1e12:.2f} TB/s; computed, not measured.",
        "",
        "| kernel | registers | stack | spills | shared, B | blocks | loads | stores | bytes a pixel "
        "| floor, µs |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for k in kernels:
        lines.append(
            f"| `{k.name}` | {k.registers} | {k.stack} | {k.spills} | {k.shared} "
            f"| {k.blocks(architecture)} | {listed(k.loads)} | {listed(k.stores)} "
            f"| {k.bytes_per_pixel} | {k.floor * 1e6:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Prints the table, or writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", type=int, default=90, help="90 for sm_90 (default)")
    parser.add_argument("-o", "--output", help="a file to write instead of the screen")
    args = parser.parse_args()
    kernels = [k for program in nvrtc.PROGRAMS for k in measure(args.arch, program)]
    text = table(kernels, args.arch)
    if args.output:
        Path(args.output).write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
