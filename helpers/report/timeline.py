"""How an answer changes over a recording: spells of one emotion, shares of time, a picture."""

from __future__ import annotations

import numpy as np
import pandas as pd

from helpers.report import plots


def find_spells(windows: pd.DataFrame) -> pd.DataFrame:
    """Stretches of a recording in which the likeliest emotion stays the same, one row each.

    ``start_s end_s said``: an emotion, or why there is none. Windows overlap; a stretch ends where
    the next one begins.
    """
    said = windows["emotion"].where(windows["reason"] == "", windows["reason"])
    first = said != said.shift()
    spells = windows.loc[first, ["start_s"]].assign(said=said[first])
    spells["end_s"] = spells["start_s"].shift(-1, fill_value=windows["end_s"].iloc[-1])
    return spells[["start_s", "end_s", "said"]].reset_index(drop=True)


def describe_spells(windows: pd.DataFrame) -> str:
    """Shares of time and number of changes, in words.

    Examples
    --------
    >>> windows = pd.DataFrame({"start_s": [0, 1, 2], "end_s": [2, 3, 4], "reason": ""})
    >>> describe_spells(windows.assign(emotion=["sad", "sad", "happy"]))
    'sad 50%, happy 50% of 4 s; 1 changes'
    """
    spells = find_spells(windows)
    length_s = (spells["end_s"] - spells["start_s"]).groupby(spells["said"], sort=False).sum()
    shares = (length_s / length_s.sum()).sort_values(ascending=False, kind="stable")
    named = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return f"{named} of {length_s.sum():.0f} s; {len(spells) - 1} changes"


def plot_timeline(windows: pd.DataFrame, classes: list[str], *, ax=None, title: str = ""):
    """Probabilities over time, one above the other; white where nobody speaks."""
    ax = plots.new_axes(ax, figsize=(10, 3))
    edges = [*windows["start_s"], windows["end_s"].iloc[-1]]
    values = windows[[*classes]].to_numpy(float)
    tops = np.cumsum(np.vstack([values, values[-1:]]), axis=1)
    low = np.zeros(len(edges))
    for (name, color), top in zip(plots.emotion_colors(classes).items(), tops.T, strict=True):
        ax.fill_between(edges, low, top, step="post", color=color, linewidth=0, label=name)
        low = top
    ax.set(xlim=(edges[0], edges[-1]), ylim=(0, 1), title=title)
    ax.set(xlabel="time (s)", ylabel="probability")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return ax
