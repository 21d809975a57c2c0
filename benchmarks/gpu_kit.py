"""Everything that a machine with an NVIDIA GPU can tell about fastaug, best first, within six minutes.

Run: make gpu, or python benchmarks/gpu_kit.py [--only STEP ...] [--output FOLDER]. The Python that runs it
needs torch, CuPy, pytest, pip and setuptools; Kornia and DALI are used where they are installed. It builds
fastaug in place, then takes the steps in order, each under a time limit of its own, and goes on after a
failure. What came of them is kept as DATE-CARD.json and .md in benchmarks/results/gpu/, with the whole output
in .log; --only replaces the same day's. Without a GPU every step is rehearsed as far as it goes. The exit
status is 0 when nothing failed, else 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "gpu"
BUDGET = 350  # seconds in all
NO_GPU, REPORTED = 3, 9  # exit statuses: of gpu.py without a GPU, of compute-sanitizer with a finding
PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "cupy-cuda13x",
    "cupy-cuda12x",
    "kornia",
    "nvidia-dali-cuda120",
    "nvidia-dali-cuda130",
)
FACTS = """
import json, torch
there = torch.cuda.is_available()
p = torch.cuda.get_device_properties(0) if there else None
print(json.dumps({"gpu": there, "card": p.name if there else "no GPU", "cuda": torch.version.cuda,
    "capability": f"sm_{p.major}{p.minor}" if there else None,
    "memory_GiB": p.total_memory / 2**30 if there else None,
    "multiprocessors": p.multi_processor_count if there else None}))
"""


@dataclass(frozen=True)
class Step:
    """Something to run.

    Attributes:
        name: what the record calls it.
        seconds: its time limit.
        command: the program and its arguments; "python" is the Python that runs this.
        tool: compute-sanitizer's tool that watches it, or "".
        passes: the exit status that it has to end with.
        figures: whether it is a part of gpu.py, which leaves its figures in a file.
    """

    name: str
    seconds: int
    command: tuple[str, ...]
    tool: str = ""
    passes: int = 0
    figures: bool = False


@dataclass
class Outcome:
    """What came of a step.

    Attributes:
        step: its name.
        status: "passed", "failed", "no GPU", "timed out", "not installed" or "out of time".
        commit: what it ran on.
        seconds: what it took.
        tail: its last lines, unless it passed.
        figures: what it measured.
    """

    step: str
    status: str
    commit: str
    seconds: float = 0.0
    tail: list[str] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)


def gpu_tests(*names: str, only: str = "") -> tuple[str, ...]:
    """Modules of tests/gpu; what needs DALI or Kornia is skipped without them."""
    command = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    return (*command, *(f"tests/gpu/test_{name}.py" for name in names), *(("-k", only) if only else ()))


def part(name: str, seconds: int) -> Step:
    """A part of gpu.py."""
    return Step(name, seconds, ("python", "benchmarks/gpu.py", name), figures=True)


BUILD = Step(
    "build",
    60,
    ("python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", "."),
)
STEPS = (
    BUILD,
    Step("bytes", 120, gpu_tests("kernels")),
    Step("batches", 90, gpu_tests("streams", "decode")),
    Step("planted overrun", 30, ("python", "benchmarks/gpu.py", "overrun"), "memcheck", REPORTED),
    Step("memcheck", 80, gpu_tests("kernels", only="small"), "memcheck"),
    Step("racecheck", 40, gpu_tests("kernels", only="small and (operation or policies)"), "racecheck"),
    Step("synccheck", 30, gpu_tests("kernels", only="small and (operation or policies)"), "synccheck"),
    Step(
        "initcheck", 40, gpu_tests("kernels", only="small and (operation or policies or uint8)"), "initcheck"
    ),
    part("kernels", 60),
    part("stage", 40),
    part("policies", 50),
    part("jpeg", 30),
    part("loader", 40),
    part("train", 40),
)


def run(step: Step, limit: float, known: dict[str, Any], log: IO[bytes]) -> Outcome:
    """Takes a step, and says what came of it."""
    command = [sys.executable if word == "python" else word for word in step.command]
    if step.tool and known["gpu"]:
        if shutil.which("compute-sanitizer") is None:
            return Outcome(step.name, "not installed", known["commit"])
        command = [
            "compute-sanitizer",
            "--tool",
            step.tool,
            "--error-exitcode",
            str(REPORTED),
            "--print-limit",
            "20",
            *command,
        ]
    # torch's cache off: memcheck sees past a tensor's end only where each has an allocation of its own.
    environment = {**os.environ, **({"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"} if step.tool else {})}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        file = Path(folder) / "figures.json"
        command += ["--json", str(file)] if step.figures else []
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        text = output.read()
        figures = json.loads(file.read_text()) if file.exists() else []
    log.write(f"##### {step.name}: {' '.join(command)}\n".encode() + text + b"\n")
    log.flush()
    status = status_of(step, code, known["gpu"])
    tail = [] if status == "passed" else text.decode(errors="replace").splitlines()[-30:]
    return Outcome(step.name, status, known["commit"], round(time.monotonic() - began, 1), tail, figures)


def status_of(step: Step, code: int | None, gpu: bool) -> str:
    """What an exit status means; None is a time limit that was passed."""
    if code is None:
        return "timed out"
    if step is BUILD:
        return "failed" if code else "passed"
    if not gpu:
        return "no GPU" if code in (0, NO_GPU) else "failed"
    return "passed" if code == step.passes else "failed"


def facts(commit: str | None) -> dict[str, Any]:
    """The machine and the software."""
    done = subprocess.run([sys.executable, "-c", FACTS], capture_output=True, text=True, timeout=120)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1]
        raise SystemExit(
            f"{sys.executable} has no torch that works ({said}); name another Python: make gpu PYTHON=..."
        )
    known: dict[str, Any] = json.loads(done.stdout)
    known |= {
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "driver": driver(),
        "cpu_cores": len(os.sched_getaffinity(0)),
        "commit": commit or git_commit(),
        "packages": {},
    }
    for name in PACKAGES:
        try:
            known["packages"][name] = version(name)
        except PackageNotFoundError:
            continue
    return known


def driver() -> str | None:
    """The GPU driver's version."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    if shutil.which(command[0]) is None:
        return None
    return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip() or None


def git_commit() -> str:
    """The commit of this tree, "+" behind it where files differ from it; "unknown" without git's folder."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "") or "unknown"
    except OSError:
        return "unknown"


def earlier(record: Path) -> dict[str, Outcome]:
    """The steps of a record that is there already."""
    if not record.exists():
        return {}
    return {step["step"]: Outcome(**step) for step in json.loads(record.read_text())["steps"]}


def markdown(known: dict[str, Any], outcomes: list[Outcome]) -> str:
    """The record for people."""
    versions = ", ".join(f"{name} {number}" for name, number in known["packages"].items())
    lines = [
        f"# {known['card']}, {known['date']}",
        "",
        f"Made by `make gpu`. Driver {known['driver'] or 'none'}, torch for CUDA {known['cuda']}, "
        f"{known['cpu_cores']} CPU cores, Python {known['python']}; {versions}.",
        "",
        "| step | came to | s | commit |",
        "|---|---|---|---|",
    ]
    lines += [f"| {o.step} | {o.status} | {o.seconds:.0f} | {o.commit[:10]} |" for o in outcomes]
    for o in outcomes:
        if o.figures:
            keys = list(dict.fromkeys(key for row in o.figures for key in row))
            lines += ["", f"## {o.step}", "", f"| {' | '.join(keys)} |", "|" + "---|" * len(keys)]
            lines += [f"| {' | '.join(cell(row.get(key)) for key in keys)} |" for row in o.figures]
    return "\n".join(lines) + "\n"


def cell(value: object) -> str:
    """A figure in a table, of three digits or more."""
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main() -> int:
    """Takes the steps, writes the record, prints what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="STEP",
        choices=[step.name for step in STEPS],
        help="these steps alone: " + ", ".join(repr(step.name) for step in STEPS),
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the record")
    parser.add_argument("--commit", help="the commit, where git's folder is not here")
    args = parser.parse_args()
    end = time.monotonic() + BUDGET
    known = facts(args.commit)
    card = re.sub(r"[^a-z0-9]+", "-", known["card"].lower()).strip("-")
    args.output.mkdir(parents=True, exist_ok=True)
    stem = args.output / f"{known['date']}-{card}"
    found = earlier(Path(f"{stem}.json")) if args.only else {}
    failed = False
    with open(f"{stem}.log", "ab" if args.only else "wb") as log:
        for step in STEPS:
            if args.only and step.name not in args.only:
                continue
            left = end - time.monotonic()
            if left > 5:
                outcome = run(step, min(step.seconds, left), known, log)
            else:
                outcome = Outcome(step.name, "out of time", known["commit"])
            found[step.name] = outcome
            failed |= outcome.status in ("failed", "timed out")
            print(f"{outcome.status:14}{outcome.seconds:6.1f} s  {step.name}", flush=True)
            for line in outcome.tail[-8:] if outcome.status in ("failed", "timed out") else []:
                print(f"{'':24}{line}")
            outcomes = [found[s.name] for s in STEPS if s.name in found]
            record = {**known, "steps": [asdict(o) for o in outcomes]}
            Path(f"{stem}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
            Path(f"{stem}.md").write_text(markdown(known, outcomes))
    print(f"{known['card']}: {stem}.json, .md, .log")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
