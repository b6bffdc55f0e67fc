"""Draws what throughput.py has written: `plot.py results/latest.json results/latest.svg`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # else it may ask for a display

import matplotlib.pyplot as plt

_OURS, _OTHERS = "#1f6fb4", "#b8bec6"


def _draw(rows: list[dict[str, Any]], axes: Any) -> None:
    rows = sorted(rows, key=lambda row: row["contacts_per_second"])
    colours = [_OURS if row["label"].startswith("ours") else _OTHERS for row in rows]
    speeds = [row["contacts_per_second"] / 1e3 for row in rows]
    bars = axes.barh([row["label"] for row in rows], speeds, color=colours)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
    axes.set_title(rows[0]["columns"], loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.margins(x=0.1)


def main() -> None:
    """Draw a bar for each contestant, one panel for each file."""
    found = json.loads(Path(sys.argv[1]).read_text())
    panels = [
        [row for row in found["throughput"] if row["columns"] == columns]
        for columns in dict.fromkeys(row["columns"] for row in found["throughput"])
    ]
    heights = [len(panel) for panel in panels]
    size = (9, 1.2 + 0.32 * sum(heights))
    figure, axes = plt.subplots(
        len(panels), 1, figsize=size, height_ratios=heights, squeeze=False, layout="constrained"
    )
    for panel, place in zip(panels, axes[:, 0], strict=True):
        _draw(panel, place)
    where = found["machine"]
    axes[-1, 0].set_xlabel("thousand contacts per second", fontsize=8)
    figure.suptitle(
        f"{found['rows']:,} contacts, {found['contacts_a_call']:,} a call, {where['processors']} processors,"
        f" Python {where['python']}",
        fontsize=10,
    )
    figure.savefig(sys.argv[2])


if __name__ == "__main__":
    main()
