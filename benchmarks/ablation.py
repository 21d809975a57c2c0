"""The published table of augmentations in small: what each adds to crop and flip.

    python benchmarks/ablation.py --data cifar10-small

DATA holds train/ and test/ (or val/) of small images. Each recipe is trained from several seeds with
``fastaug train``; mean and standard error stand beside the gains that PaddleClas reports for ResNet-50 on
ImageNet (300 epochs). Mask sizes scale with the image, GridMask's ramp with the run. A run that was
stopped goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import statistics
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

from fastaug.files import replacing
from fastaug.train import Config, train

# Top-1 on ImageNet-1k, ResNet-50, as PaddleClas reports them.
PUBLISHED = {
    "standard": 77.31,
    "autoaugment": 77.95,
    "randaugment": 77.70,
    "mixup": 78.28,
    "cutmix": 78.39,
    "cutout": 78.01,
    "gridmask": 77.85,
    "random-erasing": 77.91,
    "hide-and-seek": 77.43,
}
Row = dict[str, float | str | int]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="a folder with train/ and test/")
    parser.add_argument("--recipes", nargs="+", default=list(PUBLISHED), choices=list(PUBLISHED))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--model", default="ResNet8")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--work", default="ablation", help="folder for the runs")
    parser.add_argument("-o", "--output", default="benchmarks/results", help="folder for table and plot")
    args = parser.parse_args()
    began = time.monotonic()
    accuracy: dict[str, list[float]] = {name: [] for name in args.recipes}
    for seed in range(args.seeds):  # seeds outside, so that a stopped run has something of each recipe
        for name in args.recipes:
            config = Config(
                data=[args.data],
                model=args.model,
                size=args.size,
                epochs=args.epochs,
                recipe=name,
                seed=seed,
                batch_size=args.batch_size,
                lr=args.lr,
                resume="auto",
                output=f"{args.work}/{name}-{seed}",
            )
            with redirect_stdout(io.StringIO()):  # the runs' own lines
                history = train(config)
            accuracy[name].append(100 * history[-1]["test_accuracy"])
            minutes = (time.monotonic() - began) / 60
            print(f"{name:15} seed {seed}  {accuracy[name][-1]:.2f} %  {minutes:.1f} minutes", flush=True)
    rows = [row(name, found, accuracy.get("standard")) for name, found in accuracy.items()]
    text = table(rows, args)
    print(text)
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    plot(rows, folder / "ablation.png")
    for name, content in (("ablation.md", text), ("ablation.json", json.dumps(rows, indent=1))):
        with replacing(folder / name) as file:
            file.write(f"{content}\n".encode())
    return 0


def row(name: str, found: list[float], base: list[float] | None) -> Row:
    """Mean, standard error, and gain over ``standard`` seed by seed."""
    published = PUBLISHED[name] - PUBLISHED["standard"]
    result: Row = {"recipe": name, "seeds": len(found), "published": published}
    result |= {"mean": statistics.fmean(found), "error": _error(found)}
    if base is not None:
        gains = [a - b for a, b in zip(found, base, strict=True)]
        result |= {"gain": statistics.fmean(gains), "gain_error": _error(gains)}
    return result


def _error(values: list[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def table(rows: list[Row], args: argparse.Namespace) -> str:
    lines = [
        f"{args.model}, {args.size} x {args.size} pixels, {args.epochs} epochs, {args.seeds} seeds "
        f"(mean ± standard error; gains over `standard`, seed by seed):",
        "",
        "| recipe | top-1, % | gain | published gain (ResNet-50, ImageNet, 300 epochs) |",
        "|---|---|---|---|",
    ]
    for r in rows:
        gain = (
            f"{r['gain']:+.2f} ± {r['gain_error']:.2f}" if r["recipe"] != "standard" and "gain" in r else "–"
        )
        published = f"{r['published']:+.2f}" if r["recipe"] != "standard" else "–"
        lines.append(f"| {r['recipe']} | {r['mean']:.2f} ± {r['error']:.2f} | {gain} | {published} |")
    return "\n".join(lines)


def plot(rows: list[Row], path: Path) -> None:
    """Gains measured and published, side by side."""
    from matplotlib.figure import Figure

    shown = [r for r in rows if r["recipe"] != "standard" and "gain" in r]
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    places = range(len(shown))
    errors = [r["gain_error"] for r in shown]
    gains = [r["gain"] for r in shown]
    axes.bar([p - 0.2 for p in places], gains, 0.4, yerr=errors, capsize=3, label="measured")
    axes.bar([p + 0.2 for p in places], [r["published"] for r in shown], 0.4, label="published (ImageNet)")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(places, [str(r["recipe"]) for r in shown], rotation=20)
    axes.set_ylabel("gain in top-1, points")
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
