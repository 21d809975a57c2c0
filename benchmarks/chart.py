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
    """One panel a workload: median images/s, with the quartiles."""
    panels = {name: r for name, r in record["workloads"].items() if any(v["rounds"] for v in r.values())}
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(5.6 * columns, 3.2 * lines), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, (name, results) in zip(axes.flat, panels.items(), strict=False):
        rows = [(r["title"], summary(r), peer) for peer, r in results.items() if r["rounds"]]
        rows.sort(key=lambda row: row[1]["rate"])
        for k, (title, s, peer) in enumerate(rows):
            colour = {"ours": OURS, "ceiling": CEILING}.get(peer, OTHERS)
            spread = [[max(0, s["rate"] - s["low"])], [max(0, s["high"] - s["rate"])]]
            axis.barh([title], [s["rate"]], xerr=spread, color=colour, ecolor="#555", height=0.7)
            axis.text(max(s["rate"], s["high"]), k, f"  {s['rate']:.0f}", va="center", fontsize=8)
        axis.set_title(WORKLOADS[name], fontsize=9, loc="left")
        axis.set_xlim(0, max(s["high"] for _, s, _ in rows) * 1.15)
        axis.set_xlabel("images/s", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
