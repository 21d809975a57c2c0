"""Throughput of fastaug beside other loaders, on one machine, in one run.

Run: python benchmarks/run.py. Without --data, on a generated ImageNet-like set, made once. Every loader
runs in a process of its own, one at a time, in turns: R rounds of S seconds each, after a warm-up round
that also brings the files into the page cache. Prints a table for each workload; -o writes results.json,
results.md and results.png. Columns: median images/s with the interquartile range, ratio of fastaug's rate
to the row's, share of the decoder's ceiling, CPU milliseconds an image (all processes), peak memory (PSS).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import photos  # noqa: E402
from workloads import WORKLOADS, Job, Unsupported  # noqa: E402

PEERS = (
    "ours",
    "ours_rows",
    "ours_tiles",
    "torchvision_pil",
    "torchvision_v2",
    "timm_loader",
    "dali_stock",
    "kornia_dali",
    "spdl_loader",
    "ffcv_loader",
    "ceiling",
)
PACKAGES = (
    "fastaug",
    "torch",
    "torchvision",
    "pillow",
    "nvidia-dali-cuda120",
    "nvidia-dali-cuda130",
    "kornia",
    "timm",
    "spdl",
    "ffcv",
    "numpy",
)


# ---- a loader in a process of its own ----


def child(peer: str, job: Job, seconds: float) -> None:
    """Answers each line on stdin with one round's result on stdout, as JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    title = peer
    try:
        module = importlib.import_module(f"peers.{peer}")
        title = module.TITLE
        loader = module.make(job)
    except (Unsupported, ImportError) as reason:
        print(json.dumps({"unsupported": str(reason), "title": title}), file=answers, flush=True)
        return
    print(json.dumps({"title": module.TITLE}), file=answers, flush=True)
    for _ in sys.stdin:
        begin, cpu, count, done = time.perf_counter(), cpu_seconds(), 0, False
        while not done:  # whole epochs: loaders that prefetch across them gain nothing
            for images, _ in loader:
                count += len(images)
            done = time.perf_counter() - begin >= seconds
        spent = time.perf_counter() - begin
        print(
            json.dumps(
                {
                    "rate": count / spent,
                    "cpu_ms": (cpu_seconds() - cpu) / count * 1e3,
                    "memory": memory(),
                    "images": count,
                }
            ),
            file=answers,
            flush=True,
        )


def family() -> list[int]:
    """This process and all that it started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(entry.name))
    found, new = [], [os.getpid()]
    while new:
        found += new
        new = [child for pid in new for child in parents.get(pid, [])]
    return found


def cpu_seconds() -> float:
    """User and system time of the family so far."""
    total = 0
    for pid in family():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(v) for v in fields[11:15])  # own and waited-for children's
    return total / os.sysconf("SC_CLK_TCK")


def memory() -> int:
    """Bytes in use by the family, shared pages counted once."""
    total = 0
    for pid in family():
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
    return total


# ---- all of them ----


def measure(peers: list[str], job: Job, rounds: int, seconds: float) -> dict[str, dict[str, Any]]:
    """Results of each peer for one workload: rounds in turns, after a warm-up."""
    results: dict[str, dict[str, Any]] = {}
    children = {}
    for peer in peers:
        arguments = [
            sys.executable,
            str(HERE / "run.py"),
            "--child",
            peer,
            job.workload,
            str(job.data),
            str(job.batch),
            str(job.threads),
            job.device,
            str(seconds),
        ]
        process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
        )
        first = ask(process, None)
        results[peer] = {**first, "rounds": []}
        if "unsupported" not in first:
            children[peer] = process
    for turn in range(rounds + 1):
        for peer in list(children):
            answer = ask(children[peer], "go")
            if "unsupported" in answer:
                results[peer].update(answer)
                children.pop(peer).kill()
            elif turn:
                results[peer]["rounds"].append(answer)
    for process in children.values():
        process.stdin.close()
        process.wait(30)
    return results


def ask(process: subprocess.Popen[str], line: str | None) -> dict[str, Any]:
    """One answer of a child; a child that died says so."""
    assert process.stdin
    assert process.stdout
    try:
        if line:
            print(line, file=process.stdin, flush=True)
        return json.loads(process.stdout.readline())
    except (BrokenPipeError, ValueError):
        return {"unsupported": f"its process ended with {process.wait(30)}"}


def summary(result: dict[str, Any]) -> dict[str, float]:
    """Median and quartiles of the rounds."""
    rates = [r["rate"] for r in result["rounds"]]
    low, high = np.percentile(rates, [25, 75])
    return {
        "rate": median(rates),
        "low": float(low),
        "high": float(high),
        "cpu_ms": median(r["cpu_ms"] for r in result["rounds"]),
        "memory": max(r["memory"] for r in result["rounds"]),
    }


def table(results: dict[str, dict[str, Any]]) -> list[str]:
    """A workload's rows in Markdown, fastest first."""
    found = {peer: summary(r) for peer, r in results.items() if r["rounds"]}
    ours, ceiling = found.get("ours"), found.get("ceiling")
    lines = [
        "| loader | images/s | quartiles | fastaug is | of the ceiling | CPU ms an image | memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for peer, s in sorted(found.items(), key=lambda item: -item[1]["rate"]):
        ratio = f"{ours['rate'] / s['rate']:.2f} x" if ours and peer != "ours" else ""
        share = f"{s['rate'] / ceiling['rate']:.2f}" if ceiling else ""
        lines.append(
            f"| {results[peer]['title']} | {s['rate']:.0f} | {s['low']:.0f} – {s['high']:.0f} | {ratio} | "
            f"{share} | {s['cpu_ms']:.2f} | {s['memory'] / 2**20:.0f} MiB |"
        )
    lines += [
        f"| {r.get('title', peer)} | – | {r['unsupported']} | | | | |"
        for peer, r in results.items()
        if "unsupported" in r
    ]
    return lines


def environment(data: Path) -> dict[str, Any]:
    """What the figures belong to."""

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    models = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    git = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return {
        "date": date.today().isoformat(),
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "data": photos.fingerprint(data),
        "git": git.stdout.strip() or None,
        "packages": {name: v for name in PACKAGES if (v := installed(name))},
    }


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder in ImageFolder layout (default: a generated set)")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="of a round, at least; epochs are finished"
    )
    parser.add_argument("--images", type=int, default=1000, help="a smaller set is repeated to as many")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda where there is a GPU")
    parser.add_argument("--stages", action="store_true", help="fastaug alone, one stage more at a time")
    parser.add_argument("-o", "--output", type=Path, help="folder for results.json, .md and .png")
    args = parser.parse_args()
    if args.device != "cpu":
        import torch

        if not torch.cuda.is_available():
            sys.exit(f"--device {args.device}: torch sees no GPU; nothing was measured")
    with tempfile.TemporaryDirectory() as scratch:
        data = photos.repeated(args.data or photos.generated(), args.images, Path(scratch))
        record: dict[str, Any] = {
            "environment": environment(data),
            "threads": args.threads,
            "batch": args.batch,
            "device": args.device,
            "workloads": {},
        }
        lines = []
        if args.stages:
            import stages

            lines = stages.table(Job("mixed", data, args.batch, args.threads, args.device), args.rounds)
            print("\n".join(lines))
        else:
            for name in args.workloads:
                job = Job(name, data, args.batch, args.threads, args.device)
                results = measure(args.peers, job, args.rounds, args.seconds)
                record["workloads"][name] = results
                part = [f"**{name}**: {WORKLOADS[name]}", "", *table(results), ""]
                print("\n".join(part), flush=True)
                lines += part
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        (args.output / "results.json").write_text(json.dumps(record, indent=1))
        (args.output / "results.md").write_text("\n".join(lines) + "\n")
        if not args.stages:
            import chart

            chart.draw(record, summary, args.output / "results.png")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        peer, workload, data, batch, threads, device, seconds = sys.argv[2:]
        child(peer, Job(workload, Path(data), int(batch), int(threads), device), float(seconds))
    else:
        main()
