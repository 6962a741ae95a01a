"""How an answer changes over a recording: spells of one emotion, shares of time, a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.report import plots
from helpers.report.pages import embed_figure, render
from helpers.runs import atomic_write


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


def embed_timeline(windows: pd.DataFrame, classes: list[str], *, source: str) -> str:
    """The picture of one recording as HTML, with a player that jumps to where one clicks.

    ``source`` is the address of the recording, such as a ``data:`` one.
    """
    from matplotlib.figure import Figure  # not pyplot: no window, nothing to close

    figure = Figure(figsize=(7, 2.6), layout="constrained")
    ax = plot_timeline(windows, classes, ax=figure.subplots())
    figure.draw_without_rendering()  # until then, nobody knows where the axes are
    place, said = ax.get_position(), describe_spells(windows)
    picture = embed_figure(figure, width=700, alt=f"Emotions over time: {said}")
    facts = {"left": round(place.x0, 4), "right": round(place.x1, 4)}
    return render("timeline.html", picture=picture, source=source, title=f"{said}.", **facts)


def save_timelines(by_file: list[tuple[str, pd.DataFrame]], classes: list[str], path: Path) -> None:
    """Draw recordings into one file, which is a picture or a page with players.

    Parameters
    ----------
    by_file : list of (str, pd.DataFrame)
        Path of each recording, and its windows as
        :meth:`helpers.models.prediction.Predictor.follow_files` gives them.
    classes : list of str
    path : Path
        ``.html`` for the page, which plays the recordings from where they are.
    """
    from matplotlib.figure import Figure

    if path.suffix.lower() == ".html":
        embedded = []
        for name, rows in by_file:
            html = embed_timeline(rows, classes, source=Path(name).resolve().as_uri())
            embedded.append({"name": Path(name).name, "figure": html})
        page = render("timelines.html", timelines=embedded)
        with atomic_write(path) as temporary:
            # Bytes of a file name that are no UTF-8 are spelled out.
            temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
        return
    figure = Figure(figsize=(12, 3 * len(by_file)), layout="constrained")
    axes = figure.subplots(len(by_file), squeeze=False)[:, 0]
    for ax, (name, rows) in zip(axes, by_file, strict=True):
        plot_timeline(rows, classes, ax=ax, title=Path(name).name)
    with atomic_write(path) as temporary:
        figure.savefig(temporary)
