"""The results as a bar chart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from workloads import WORKLOADS

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OURS, OTHERS, CEILING = "#1b6ca8", "#b8c4ce", "#e8b04b"


def draw(record: dict[str, Any], summary: Callable[[dict[str, Any]], dict[str, float]], path: Path) -> None:
    """One panel a workload: images/s, with the quartiles."""
    panels = {name: r for name, r in record["workloads"].items() if any(v["rounds"] for v in r.values())}
    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.4), squeeze=False)
    for axis, (name, results) in zip(axes[0], panels.items(), strict=True):
        rows = sorted(
            ((r["title"], summary(r), peer) for peer, r in results.items() if r["rounds"]),
            key=lambda row: row[1]["rate"],
        )
        rates = [s["rate"] for _, s, _ in rows]
        colours = [OURS if p == "ours" else CEILING if p == "ceiling" else OTHERS for _, _, p in rows]
        spread = [[s["rate"] - s["low"] for _, s, _ in rows], [s["high"] - s["rate"] for _, s, _ in rows]]
        axis.barh(
            [title for title, _, _ in rows], rates, color=colours, xerr=spread, ecolor="#444", height=0.7
        )
        for k, rate in enumerate(rates):
            axis.text(rate, k, f" {rate:.0f}", va="center", fontsize=8)
        axis.set_title(f"{name}\n{WORKLOADS[name]}", fontsize=8, wrap=True)
        axis.set_xlim(0, max(rates) * 1.18)
        axis.set_xlabel("images/s", fontsize=8)
        axis.tick_params(labelsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
